"""Writes `RESULTS_HARDER_DATA.md` from the JSONs: `python -m studies.harder_data`."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from studies.cells import BLOCKS, SEEDS, Cell
from studies.comparisons import COMPARISONS, Comparison, Difference, difference
from studies.earlier_attention import earlier_section
from studies.markdown import table
from studies.slow_attention_table import slow_attention_section

HERE = pathlib.Path(__file__).parent
_SETTINGS = [block for block in BLOCKS if block.startswith("D ")]
_TITLES = {
    "A": "A. Tiny ImageNet at 32 px, modern training",
    "B": "B. CIFAR-10 as released, pixels broken and repaired",
    "C": "C. Tiny ImageNet at 64 px, as released and as described",
    **{block: f"D2. {block.removeprefix('D ').capitalize()}" for block in _SETTINGS},
}
_PUBLISHED = (
    ("Tiny ImageNet", "33.21", "33.39", "34.85", "38.28", "C"),
    ("CIFAR-10", "14.07", "12.12", "13.68", "12.51", "B"),
)

# Cell -> results by seed.
Runs = dict[Cell, dict[int, dict[str, Any]]]


def read_runs(folder: pathlib.Path) -> Runs:
    """The results of every cell that stand in a folder."""
    return {
        cell: {
            seed: json.loads(path.read_text(encoding="utf-8"))
            for seed in SEEDS
            if (path := folder / f"{cell.name(seed)}.json").exists()
        }
        for cells in BLOCKS.values()
        for cell in cells
    }


def report(folder: pathlib.Path) -> str:
    """The page of results."""
    runs = read_runs(folder)
    compared = {
        block: [(c, _compare(c, runs, len(entries))) for c in entries]
        for block, entries in COMPARISONS.items()
    }
    parts = [_opening(runs, compared)]
    for block, title in _TITLES.items():
        if not any(runs[cell] for cell in runs if cell.block.startswith(block)):
            continue
        parts += [f"## {title}", _cells_table(runs, block)]
        parts.append(_comparisons_table(compared[block]))
        if block == "A":
            parts.append(_frozen_table(runs))
    parts += [_published(compared), slow_attention_section(folder)]
    parts.append(earlier_section(folder))
    parts += [_missing(runs), _RUNNING]
    return "\n\n".join(part for part in parts if part) + "\n"


def _compare(comparison: Comparison, runs: Runs, comparisons: int) -> Difference:
    first, second = (
        _top1(runs, comparison.blocks, *side)
        for side in (comparison.first, comparison.second)
    )
    return difference(first, second, comparisons, len(SEEDS))


def _top1(
    runs: Runs, blocks: tuple[str, ...], network: str, recipe: str
) -> list[float]:
    return [
        100 * run["metrics"]["top1"]
        for cell, by_seed in runs.items()
        if cell.block in blocks and (cell.network, cell.recipe) == (network, recipe)
        for run in by_seed.values()
    ]


def _opening(runs: Runs, compared: dict[str, list]) -> str:
    done = sum(map(len, runs.values()))
    sentences = [
        _sentence(comparison, found)
        for entries in compared.values()
        for comparison, found in entries
        if found.mean is not None
    ] or [
        "Nothing is decided yet: no two networks that are to be compared have "
        "finished. What there is stands under D1 and under the earlier runs."
    ]
    lines = [
        "# The study on harder data",
        "Made by `python -m studies.harder_data` from `studies/runs_harder_data`. "
        "Questions, sizes and rules were written before the runs: "
        "[PROTOCOL.md](PROTOCOL.md).",
        f"**{done} of {len(runs) * len(SEEDS)} runs are finished. All are short**: a "
        "quarter of the published width and 3 to 5 epochs. They compare networks at "
        "equal length, and say nothing certain about the published size.",
        "## In short",
    ]
    return "\n\n".join([*lines, "\n".join(sentences)])


_WORDS = {
    "better": "is better",
    "worse": "is worse",
    "alike": "is alike within one point",
    "open": "is open: the interval holds zero and more than one point",
    "not decided": "is not decided: fewer than three seeds",
}


def _sentence(comparison: Comparison, found: Difference) -> str:
    return f"* {comparison.title}: {found.mean:+.2f} points, {_WORDS[found.verdict]}."


def _cells_table(runs: Runs, block: str) -> str:
    rows = []
    for cell, by_seed in runs.items():
        if not cell.block.startswith(block):
            continue
        found = list(by_seed.values())
        best = [max(run["history"]["val_accuracy"]) for run in found]
        rows.append(
            (
                cell.network,
                cell.recipe.replace("_", " "),
                f"{len(found)} of {len(SEEDS)}",
                _mean([100 * run["metrics"]["top1"] for run in found]),
                _mean([100 * value for value in best]),
                _mean([run["history"]["loss"][-1] for run in found], 3),
                f"{found[0]['parameters']:,}" if found else "",
            )
        )
    header = ("Network", "Recipe", "Seeds", "Test top-1, %", "Best validation, %")
    return table((*header, "Last training loss", "Parameters"), rows)


def _mean(values: Sequence[float], digits: int = 2) -> str:
    if not values:
        return "not run"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) > 1:
        text += f" ± {np.std(values, ddof=1):.{digits}f}"
    return text


def _comparisons_table(entries: list[tuple[Comparison, Difference]]) -> str:
    level = 100 * (1 - 0.05 / len(entries))
    rows = [
        (
            comparison.title,
            "" if found.mean is None else f"{found.mean:+.2f}",
            "" if found.low is None else f"{found.low:+.2f} to {found.high:+.2f}",
            found.verdict,
        )
        for comparison, found in entries
    ]
    header = (
        "Difference of test top-1",
        "Points",
        f"{level:.4g} % interval",
        "Verdict",
    )
    return table(header, rows)


def _frozen_table(runs: Runs) -> str:
    rows = []
    for cell, by_seed in runs.items():
        for seed, run in by_seed.items():
            frozen = run.get("pathways", {}).get("frozen_top1")
            if frozen is None:
                continue
            moved = np.concatenate(list(run["pathways"]["movement"].values()))
            rows.append(
                (
                    f"{cell.network}, seed {seed}",
                    f"{100 * run['metrics']['top1']:.2f}",
                    f"{100 * frozen:.2f}",
                    f"{np.nanmean(moved):.3f}",
                )
            )
    if not rows:
        return ""
    header = ("Run", "Test top-1, %", "Weights frozen, %", "Movement")
    told = (
        "What the trained networks owe to weights that follow the image: the same "
        "network with its mixing weights frozen to their mean over training images. "
        "Movement is the share of the weight that is elsewhere for a single image."
    )
    return f"{told}\n\n{table(header, rows)}"


def _published(compared: dict[str, list]) -> str:
    rows = []
    for dataset, *figures, block in _PUBLISHED:
        found = [found for _, found in compared[block]]
        if all(difference.mean is None for difference in found):
            told = f"not run: block {block} waits in the queue"
        elif all(difference.verdict == "not decided" for difference in found):
            told = f"not decided: block {block} has fewer than three seeds"
        else:
            told = f"see block {block}; short, so neither reproduced nor refuted"
        rows.append((dataset, *figures, told))
    header = ("Published test top-1, %", "ResNet-18", "V1", "V2", "V3", "Verdict")
    return "## Beside the published table\n\n" + table(header, rows)


def _missing(runs: Runs) -> str:
    rows = []
    for block, cells in BLOCKS.items():
        absent = {
            f"{cell.network} ({cell.recipe.replace('_', ' ')})": [
                str(seed) for seed in SEEDS if seed not in runs[cell]
            ]
            for cell in cells
        }
        for seeds in sorted({tuple(seeds) for seeds in absent.values() if seeds}):
            names = [name for name, found in absent.items() if tuple(found) == seeds]
            rows.append((block, "; ".join(names), ", ".join(seeds)))
    if not rows:
        return ""
    told = "Not run yet, or still running when this page was made:"
    header = ("Block", "Network and recipe", "Seeds")
    return f"## What is missing\n\n{told}\n\n{table(header, rows)}"


_RUNNING = """Corruptions, early exit and fine-tuning (block D2 of the protocol) have no
runs yet.

## How to go on

    KERAS_BACKEND=torch setsid python -m studies.queue \\
        --data-dir DATA --results RESULTS --cores 0 1

finishes what is missing and skips what is there. Copy the JSONs to
`studies/runs_harder_data` and make this page again."""


def main(arguments: list[str] | None = None) -> int:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m studies.harder_data")
    parser.add_argument("--runs", type=pathlib.Path, default=HERE / "runs_harder_data")
    parser.add_argument(
        "--output", type=pathlib.Path, default=HERE / "RESULTS_HARDER_DATA.md"
    )
    options = parser.parse_args(arguments)
    options.output.write_text(report(options.runs), encoding="utf-8")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
