"""Writes the report from the JSONs of the runs and from nothing else.

    python -m studies.report [--check]

`studies/README.md` is the first page: written by hand, its figures are inserted.
`studies/details.md`, `studies/runs.md` and their pictures are written whole.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from keras_gradattn.training.results import read_results
from studies import insert_figures
from studies.reading import Experiment
from studies.sections import (
    accuracy,
    attention,
    decay,
    defects,
    depth,
    equal_length,
    every_run,
    gradient_health,
    not_run,
    pathways,
    variants,
)

FOLDER = Path(__file__).parent
# Pages and their sections, in the order of a reader's questions.
PAGES = {
    "details.md": (
        accuracy,
        equal_length,
        defects,
        gradient_health,
        decay,
        attention,
        pathways,
        depth,
        variants,
        not_run,
    ),
    "runs.md": (every_run,),
}
PICTURES = (defects, gradient_health, decay, attention, pathways, depth)
_TITLES = {"details.md": "# Results in detail", "runs.md": "# Runs"}


def texts(experiments: Sequence[Experiment]) -> dict[str, str]:
    """The pages that are written whole: file name -> Markdown."""
    pages = {}
    for name, sections in PAGES.items():
        parts = [part.text(experiments) for part in sections]
        whole = [_TITLES[name], _introduction(experiments), *filter(None, parts)]
        pages[name] = "\n\n".join(whole) + "\n"
    return pages


def write(folder: str | Path = FOLDER) -> list[Path]:
    """Write the pages and their pictures.

    Args:
        folder: Folder whose `runs` are read, and where the report goes.

    Returns:
        Paths of the pages.

    Raises:
        ValueError: If there is no finished experiment.
    """
    folder = Path(folder)
    experiments = read_results(folder / "runs")
    figures = folder / "figures"
    figures.mkdir(exist_ok=True)
    for part in PICTURES:
        part.draw(experiments, figures)
    written = []
    for name, text in texts(experiments).items():
        path = folder / name
        insert_figures.write_text(path, text)
        written.append(path)
    return written


def drifted(folder: str | Path = FOLDER) -> list[Path]:
    """Pages that say something else than the runs do."""
    folder = Path(folder)
    pages = texts(read_results(folder / "runs"))
    return [
        folder / name
        for name, text in pages.items()
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != text
    ]


def _introduction(experiments: Sequence[Experiment]) -> str:
    backends = ", ".join(sorted({e["backend"] for e in experiments}))
    hardware = ", ".join(sorted({every_run.hardware(e) for e in experiments}))
    short = sum(e["short"] for e in experiments)
    return (
        f"This page holds {len(experiments)} runs on {backends} ({hardware}). "
        "`python -m studies.report` writes it from the JSON files in `runs/`.\n\n"
        "How to read the tables:\n\n"
        "* Figures are accuracies on test images, in percent.\n"
        "* With several seeds you see their mean ± sample standard deviation, and "
        "`n`, the number of seeds.\n"
        "* Without a deviation the figure is one seed. Two single seeds do not tell "
        "which network is better.\n"
        f"* *short* means that a run was ended before its recipe would have ended it. "
        f"{short} runs are short.\n"
        "* *published* are the figures of Ghoshal and Buckchash (2026), one seed."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report, or say where it has drifted."""
    parser = argparse.ArgumentParser(prog="python -m studies.report")
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    first_page = [FOLDER / "README.md"]
    if not options.check:
        paths = write()
        insert_figures.insert(first_page)
        print(*paths, *first_page, sep="\n")
        return 0
    found = drifted()
    for path in found:
        print(f"{path} has drifted from the runs: run `python -m studies.report`.")
    return int(bool(found) | bool(insert_figures.check(first_page)))


if __name__ == "__main__":
    sys.exit(main())
