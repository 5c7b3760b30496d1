"""What attention over depth does in GradAttn heads."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from studies import table
from studies.reading import (
    Experiment,
    dataset_title,
    datasets_of,
    is_standard_or_control,
    mark,
    network_title,
    of,
    recipe_name,
    recipe_title,
    remark_lines,
)

PICTURE = "attention.png"


def _name(runs: list[Experiment]) -> str:
    first = runs[0]
    words = network_title(first), recipe_title(first), f"seed {of(first, 'seed')}"
    return ", ".join(words) + mark(runs)


def _moves(runs: list[Experiment]) -> str:
    """Movement of each block, mean over heads."""
    blocks = runs[0]["attention"]["movement"]
    return " / ".join(f"{100 * sum(heads) / len(heads):.1f}" for heads in blocks)


def _share(index: int) -> Callable[[list[Experiment]], str]:
    def cell(runs: list[Experiment]) -> str:
        attention = runs[0]["attention"]
        mean = attention["depth_share"][-1][index]
        deviation = attention["depth_share_deviation"][-1][index]
        return f"{100 * mean:.1f} ± {100 * deviation:.1f}"

    return cell


def text(experiments: Sequence[Experiment]) -> str:
    """How far maps move with the image, and what each depth gives."""
    chosen = _chosen(experiments)
    if not chosen:
        return ""
    parts = []
    for dataset in datasets_of(chosen):
        runs = [e for e in chosen if of(e, "dataset") == dataset]
        stages = runs[0]["attention"]["stages"]
        columns = {
            "": _name,
            "moves, % by block": _moves,
            **{f"{stage}, %": _share(i) for i, stage in enumerate(stages)},
        }
        parts += [
            f"### {dataset_title(runs[0])}: attention",
            table.tabulate(columns, table.each(runs)),
            *filter(None, remark_lines(runs)),
        ]
    return table.section(
        "What attention over depth does",
        "How far an image's attention map lies from the mean map (half the sum of "
        "absolute differences of a row, averaged over heads: 0 is a fixed weighing, "
        "100 a wholly different one), block by block; and what each depth gives in "
        "the last block, mean and standard deviation over test images. *Static* "
        "weighs by learned numbers that no image changes, *equal* by a plain mean.",
        *parts,
        f"![Mean attention over depth by network and block](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Mean maps, a row of blocks for each run."""
    runs = _chosen(experiments)
    if not runs:
        return
    from matplotlib.figure import Figure

    # Over heads: (block, query, key) of each run.
    maps = [np.mean(e["attention"]["mean"], axis=1) for e in runs]
    blocks = max(map(len, maps))
    rows = math.ceil(len(runs) / 2)
    figure = Figure(figsize=(4.4 * blocks + 1, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, 2 * blocks, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    largest = max(map(np.max, maps))
    for index, (e, mean) in enumerate(zip(runs, maps, strict=True)):
        stages = e["attention"]["stages"]
        for block, values in enumerate(mean):
            axes = panels[index % rows][index // rows * blocks + block]
            axes.axis("on")
            picture = axes.imshow(values, vmin=0, vmax=largest, cmap="viridis")
            axes.set_xticks(range(len(stages)), stages, rotation=45, fontsize=7)
            axes.set_yticks(range(len(stages)), stages, fontsize=7)
            axes.set_title(
                f"{network_title(e)}, {dataset_title(e)}\n"
                f"{recipe_title(e)}, block {block + 1}",
                fontsize=7,
            )
    figure.colorbar(
        picture,
        ax=panels,
        label="attention, mean over heads and images",
        location="bottom",
        shrink=0.4,
        aspect=40,
    )
    figure.savefig(folder / PICTURE, dpi=120)


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [
        e for e in experiments if e.get("attention") and is_standard_or_control(e)
    ]
    order = {name: index for index, name in enumerate(datasets_of(chosen))}
    return sorted(
        chosen,
        key=lambda e: (order[of(e, "dataset")], network_title(e), recipe_name(e)),
    )
