"""What the mixing weights of pathways do."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from keras_gradattn.training.comparison import group_by_seed
from studies import pictures, table
from studies.reading import (
    Experiment,
    dataset_title,
    datasets_of,
    is_standard_or_control,
    mark,
    network_title,
    of,
    options_of,
    over_seeds,
    recipe_title,
    top1,
    trunk_title,
)
from studies.rounding import percent, written

PICTURE = "pathways.png"
_PANELS_A_ROW = 3


def _moves(runs: list[Experiment]) -> str:
    """Movement of each block's weights, mean over heads."""
    blocks = runs[0]["pathways"]["movement"].values()
    means = [100 * sum(heads) / len(heads) for heads in blocks]
    return " / ".join(f"{mean:.1f}" for mean in means) if any(means) else "nothing"


def _frozen(runs: list[Experiment], *, minus_test: bool = False) -> str:
    frozen = runs[0]["pathways"].get("frozen_top1")
    if frozen is None:
        return ""
    (value,) = percent([frozen])
    if not minus_test:
        return written(value)
    return written(value - top1(runs)[0], sign=True)


_COLUMNS: table.Columns = {
    "": lambda runs: network_title(runs[0]),
    "recipe": lambda runs: recipe_title(runs[0]) + mark(runs),
    "seed": lambda runs: str(of(runs[0], "seed")),
    "moves, % by block": _moves,
    "test accuracy %": lambda runs: over_seeds(top1(runs)),
    "frozen %": _frozen,
    "difference": lambda runs: _frozen(runs, minus_test=True),
}


def text(experiments: Sequence[Experiment]) -> str:
    """How far mixing weights move with the image, and what freezing them costs."""
    chosen = _chosen(experiments)
    if not chosen:
        return ""
    parts = []
    for dataset in datasets_of(chosen):
        runs = [e for e in chosen if of(e, "dataset") == dataset]
        blocks = ", ".join(runs[0]["pathways"]["movement"])
        parts += [
            f"### {dataset_title(runs[0])}: mixing weights",
            f"Blocks: {blocks}.",
            table.tabulate(_COLUMNS, table.each(runs)),
        ]
    return table.section(
        "What the mixing weights of pathways do",
        "Do the weights of pathways follow the image, and does the trained network "
        "need that?",
        "* *Moves* is the share of a block's weights that changes with the image. (It "
        "is half the sum of absolute differences from the mean weights, averaged over "
        "heads.)\n"
        "* *Frozen* is the test accuracy of the same trained network after its weights "
        "were set to their mean over the training images.",
        *parts,
        "In the picture 2.1 is the first block of stage 2, and *n* counts seeds. A row "
        "shows from which depths a block draws.",
        f"![Which depth feeds which block](figures/{PICTURE})",
    )


def draw(experiments: Sequence[Experiment], folder: Path) -> None:
    """One panel for runs that differ in nothing but their seed.

    Weights that nothing changes are left out where there are others.
    """
    chosen = _chosen(experiments)
    if not chosen:
        return
    groups = group_by_seed([e for e in chosen if _learns_weights(e)] or chosen)
    columns = min(_PANELS_A_ROW, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure = pictures.new_figure(3.1 * rows + 0.8)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, runs in itertools.zip_longest(panels.flat, groups):
        if runs is None:
            axes.axis("off")
            continue
        blocks, sources, values = _mean_weights(runs)
        picture = axes.imshow(values, vmin=0, vmax=1, cmap=pictures.HEAT)
        axes.set_xticks(
            range(len(sources)), map(_short, sources), rotation=90, fontsize=7
        )
        axes.set_yticks(range(len(blocks)), map(_short, blocks), fontsize=7)
        axes.set_title(
            f"{trunk_title(runs[0])}\n{recipe_title(runs[0])}\n"
            f"{dataset_title(runs[0])}, n={len(runs)}",
            fontsize=pictures.SMALL,
        )
    figure.supxlabel("source", fontsize="medium")
    figure.supylabel("fed block", fontsize="medium")
    figure.colorbar(
        picture,
        ax=panels,
        label="weight, mean over heads, images and seeds",
        location="top",
        shrink=0.4,
        aspect=40,
    )
    pictures.save(figure, folder / PICTURE)


def _short(name: str) -> str:
    """`stage2_block1` as `2.1`, `stage2` as `stage 2`."""
    stage, _, block = name.removeprefix("stage").partition("_block")
    return f"{stage}.{block}" if block else name.replace("stage", "stage ")


def _chosen(experiments: Sequence[Experiment]) -> list[Experiment]:
    chosen = [e for e in experiments if e.get("pathways") and is_standard_or_control(e)]
    order = {name: index for index, name in enumerate(datasets_of(chosen))}
    return sorted(
        chosen,
        key=lambda e: (order[of(e, "dataset")], recipe_title(e), network_title(e)),
    )


def _learns_weights(experiment: Experiment) -> bool:
    return options_of(experiment).get("mixing") not in ("prior", "equal")


def _mean_weights(runs: list[Experiment]) -> tuple[list[str], list[str], Any]:
    """Fed blocks, their sources, and an array (block, source), NaN where none leads."""
    means = [e["pathways"]["mean"] for e in runs]
    blocks = list(means[0])
    sources = list(dict.fromkeys(source for row in means[0].values() for source in row))
    values = np.full((len(blocks), len(sources)), np.nan)
    for row, block in enumerate(blocks):
        for source in means[0][block]:
            over_heads_and_seeds = np.mean([mean[block][source] for mean in means])
            values[row, sources.index(source)] = over_heads_and_seeds
    return blocks, sources, values
