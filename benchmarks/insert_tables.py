"""Puts tables into `benchmarks/README.md`, so that none drifts from its JSON.

    python -m benchmarks.insert_tables [--check]

A table stands between markers that a reader does not see. The first names the JSONs,
from this folder on, and how the names of the contenders begin that are shown:

    <!-- table: steps/v1_training_28_32_*.json only=keras -->
    <!-- /table -->
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.table import table

README = Path(__file__).parent / "README.md"
_MARKED = re.compile(
    r"(<!-- table: (\S+)(?: only=(\S+))? -->\n).*?(<!-- /table -->)", re.DOTALL
)


def inserted(text: str, folder: Path = README.parent) -> str:
    """The text with its tables as the JSONs in a folder have them."""
    if text.count("<!-- table:") != len(_MARKED.findall(text)):
        raise ValueError("A table must be closed with `<!-- /table -->`.")
    return _MARKED.sub(lambda match: _filled(match, folder), text)


def _filled(match: re.Match[str], folder: Path) -> str:
    begin, pattern, only, end = match.groups()
    files = sorted(folder.glob(pattern))
    if not files:
        raise ValueError(f"A table needs a JSON. Received: {pattern}")
    results = [r for file in files for r in json.loads(file.read_text())["results"]]
    # Of the same label together, and each kind in the order of its files.
    labels = list(dict.fromkeys(result["label"] for result in results))
    results.sort(key=lambda result: labels.index(result["label"]))
    kinds = dict.fromkeys(tuple(result["columns"]) for result in results)
    alike = ([r for r in results if tuple(r["columns"]) == kind] for kind in kinds)
    return "\n".join([begin, *(f"{table(some, only or '')}\n" for some in alike), end])


def main(arguments: Sequence[str] | None = None) -> int:
    """Insert the tables, or with `--check` only say whether one has drifted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.insert_tables")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    before = README.read_text("utf-8")
    after = inserted(before)
    if not options.check:
        README.write_text(after, "utf-8")
    elif before != after:
        print(f"{README.name}: a table says something else than its JSON")
    return int(options.check and before != after)


if __name__ == "__main__":
    sys.exit(main())
