"""Inserts figures into texts, so that none drifts from the runs.

    python -m studies.insert_figures [--check] [FILE ...]

A Markdown text has a marker before and after each figure, which a reader does not see:

    <!-- figure: top1 fashion_mnist/resnet18/as_described -->92.93<!-- / -->

`studies/figure_expressions.py` has the language. A text may name what it often says,
`<!-- name: short = modern,stem=imagenet,epochs=10 -->`, and write `{short}` for it.
Code blocks are left alone.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from keras_gradattn.training._files import replace_file
from studies.figure_expressions import figure

ROOT = Path(__file__).parents[1]
TEXTS = ("README.md", "studies/*.md", "docs/**/*.md", "benchmarks/README.md")
_MARKED = re.compile(r"(<!-- figure: (.+?) -->)(.*?)(<!-- / -->)")
_OPEN = re.compile(r"<!-- figure:")
_NAME = re.compile(r"<!-- name: (\w+) = (\S+) -->")
_FENCE = re.compile(r"\s*(```|~~~)")


def inserted(text: str, root: Path = ROOT) -> str:
    """A text with all its figures as the JSONs have them.

    Args:
        text: Markdown with markers.
        root: The repository.

    Raises:
        ValueError: If a marker cannot be read or is not closed on its line.
    """
    names: dict[str, str] = {}
    lines = text.splitlines(keepends=True)
    for index in _outside_code(lines):
        names.update(_NAME.findall(lines[index]))
        line, count = _MARKED.subn(lambda m: _filled(m, names, root), lines[index])
        if count != len(_OPEN.findall(line)):
            raise ValueError(
                "A figure must be closed with `<!-- / -->` on its line. "
                f"Received: line {index + 1}: {line.strip()}"
            )
        lines[index] = line
    return "".join(lines)


def insert(paths: Sequence[Path], root: Path = ROOT) -> list[Path]:
    """Bring texts up to date; returns those that had drifted."""
    drifted = check(paths, root)
    for path in drifted:
        write_text(path, inserted(path.read_text("utf-8"), root))
    return drifted


def check(paths: Sequence[Path], root: Path = ROOT) -> list[Path]:
    """Texts that say something else than the JSONs, which is told."""
    drifted = []
    for path in paths:
        before = path.read_text("utf-8")
        try:
            after = inserted(before, root)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if before != after:
            drifted.append(path)
            _tell(path, before, after)
    return drifted


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    data = text.encode()

    def write(file: BinaryIO) -> None:
        file.write(data)

    replace_file(path, write)


def _filled(match: re.Match[str], names: dict[str, str], root: Path) -> str:
    begin, expression, _, end = match.groups()
    for name, meaning in names.items():
        expression = expression.replace(f"{{{name}}}", meaning)
    return f"{begin}{figure(expression, root)}{end}"


def _outside_code(lines: Sequence[str]) -> Iterator[int]:
    inside = False
    for index, line in enumerate(lines):
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            yield index


def _tell(path: Path, before: str, after: str) -> None:
    lines = zip(before.splitlines(), after.splitlines(), strict=True)
    for number, (old, new) in enumerate(lines, 1):
        figures = zip(_MARKED.findall(old), _MARKED.findall(new), strict=False)
        for (_, expression, says, _), (_, _, found, _) in figures:
            if says != found:
                print(f"{path}:{number}: {says!r} is {found!r} ({expression})")


def main(arguments: Sequence[str] | None = None) -> int:
    """Insert the figures, or with `--check` only say which have drifted."""
    parser = argparse.ArgumentParser(prog="python -m studies.insert_figures")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args(arguments)
    paths = options.files or sorted({p for text in TEXTS for p in ROOT.glob(text)})
    try:
        drifted = (check if options.check else insert)(paths)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return int(options.check and bool(drifted))


if __name__ == "__main__":
    sys.exit(main())
