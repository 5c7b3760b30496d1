"""What attention over depth does in GradAttn heads."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from studies import pictures, table
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
_RUNS_A_ROW = 2


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
        "Do the weights of depths follow the image? *Moves* tells, block by block. It "
        "is 0 if every image has the same weights, and 100 if an image's weights have "
        "nothing in common with the mean. (It is half the sum of absolute differences "
        "of a row from the mean map, averaged over heads.)",
        "The other columns show how much each depth gives in the last block: mean and "
        "standard deviation over test images. *Static* networks have learned weights "
        "that no image changes. *Equal* ones take a plain mean.",
        *parts,
        "In the picture each run has a row of three blocks. A row of a block shows "
        "from which depths the token of one depth takes: the stem and the stages 1 to "
        "4.",
        f"![Mean attention over depth by network and block](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """Mean maps, a row of blocks for each run."""
    runs = _chosen(experiments)
    if not runs:
        return
    # Over heads: (block, query, key) of each run.
    maps = [np.mean(e["attention"]["mean"], axis=1) for e in runs]
    blocks = max(map(len, maps))
    rows = math.ceil(len(runs) / _RUNS_A_ROW)
    figure = pictures.new_figure(1.9 * rows + 0.8)
    above, below = figure.subfigures(2, 1, height_ratios=(1.9 * rows, 0.8))
    grid = above.subfigures(rows, _RUNS_A_ROW, squeeze=False)
    largest = max(map(np.max, maps))
    for place, e, mean in zip(grid.T.flat, runs, maps, strict=False):
        place.suptitle(
            f"{network_title(e)}, {dataset_title(e)}, {recipe_title(e)}",
            fontsize=pictures.SMALL,
        )
        stages = [stage.removeprefix("stage") for stage in e["attention"]["stages"]]
        for block, axes in enumerate(place.subplots(1, blocks, squeeze=False)[0]):
            picture = axes.imshow(mean[block], vmin=0, vmax=largest, cmap=pictures.HEAT)
            axes.set_xticks(range(len(stages)), stages, fontsize=7)
            axes.set_yticks(range(len(stages)), [] if block else stages, fontsize=7)
    below.colorbar(
        picture,
        cax=below.subplots(),
        label="attention, mean over heads and images",
        orientation="horizontal",
    )
    pictures.save(figure, folder / PICTURE)


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [
        e for e in experiments if e.get("attention") and is_standard_or_control(e)
    ]
    order = {name: index for index, name in enumerate(datasets_of(chosen))}
    return sorted(
        chosen,
        key=lambda e: (order[of(e, "dataset")], network_title(e), recipe_name(e)),
    )
