"""A section of the report: what the mixing weights of pathways do."""

import itertools
import math
from pathlib import Path
from typing import Any

from keras_gradattn import datasets
from keras_gradattn.training.comparison import group_by_seed, table
from studies.reading import (
    Experiment,
    is_standard_or_control,
    network_title,
    of,
    recipe_title,
)

_COLUMNS = 3


def pathways_section(experiments: list[Experiment], path: Path) -> str:
    """How far mixing weights move with the image, and what freezing them costs.

    Args:
        experiments: All runs.
        path: Where to draw which depth feeds which block.

    Returns:
        Markdown, empty without a run of a pathways network.
    """
    chosen = [e for e in experiments if e.get("pathways") and is_standard_or_control(e)]
    if not chosen:
        return ""
    chosen.sort(key=lambda e: (of(e, "dataset"), recipe_title(e), network_title(e)))
    blocks = list(chosen[0]["pathways"]["movement"])
    rows = []
    for e in chosen:
        pathways, top1 = e["pathways"], 100 * e["metrics"]["top1"]
        frozen = pathways.get("frozen_top1")
        rows.append(
            (
                datasets.spec(of(e, "dataset")).title,
                network_title(e),
                recipe_title(e),
                str(of(e, "seed")),
                *(_percent(pathways["movement"][block]) for block in blocks),
                f"{top1:.2f}",
                "" if frozen is None else f"{100 * frozen:.2f}",
                "" if frozen is None else f"{100 * frozen - top1:+.2f}",
                "short" if e["short"] else "",
            )
        )
    _draw_mixing(chosen, path)
    header = (
        "data set", "", "recipe", "seed", *(f"{block}, %" for block in blocks),
        "test accuracy %", "frozen %", "difference", "",
    )  # fmt: skip
    return "\n".join(
        [
            "## What the mixing weights of pathways do",
            "",
            "Share of a block's mixing weights that moves with the image (mean over "
            "heads of half the sum of absolute differences from the mean weights), "
            "and the test accuracy of the same trained network with its weights "
            "frozen to their mean over the training images.",
            "",
            table(header, rows, "markdown"),
            "",
            f"![Which depth feeds which block]({path.parent.name}/{path.name})",
        ]
    )


def _learns_weights(experiment: Experiment) -> bool:
    return of(experiment, "model_options").get("weights") not in ("prior", "equal")


def _percent(heads: list[float]) -> str:
    return f"{100 * sum(heads) / len(heads):.1f}"


def _draw_mixing(chosen: list[Experiment], path: Path) -> None:
    """Draw one panel for runs that differ in nothing but their seed.

    Weights that nothing changes are left out where there are others.
    """
    from matplotlib.figure import Figure

    groups = group_by_seed([e for e in chosen if _learns_weights(e)] or chosen)
    columns = min(_COLUMNS, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure = Figure(figsize=(4.2 * columns + 1, 3.8 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes, runs in itertools.zip_longest(panels.flat, groups):
        if runs is None:
            axes.axis("off")
            continue
        blocks, sources, values = _mean_weights(runs)
        picture = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axes.set_xticks(range(len(sources)), sources, rotation=90, fontsize=7)
        axes.set_yticks(range(len(blocks)), blocks, fontsize=7)
        axes.set_title(
            f"{network_title(runs[0])}\n{datasets.spec(of(runs[0], 'dataset')).title}, "
            f"{recipe_title(runs[0])}, n={len(runs)}",
            fontsize=8,
        )
    figure.supxlabel("source")
    figure.supylabel("fed block")
    figure.colorbar(
        picture,
        ax=panels,
        label="weight, mean over heads, images and seeds",
        shrink=0.6,
    )
    figure.savefig(path, dpi=120)


def _mean_weights(runs: list[Experiment]) -> tuple[list[str], list[str], Any]:
    """Fed blocks, their sources, and an array (block, source), NaN where none leads."""
    import numpy as np

    means = [e["pathways"]["mean"] for e in runs]
    blocks = list(means[0])
    sources = list(dict.fromkeys(source for row in means[0].values() for source in row))
    values = np.full((len(blocks), len(sources)), np.nan)
    for row, block in enumerate(blocks):
        for source in means[0][block]:
            over_heads_and_seeds = np.mean([mean[block][source] for mean in means])
            values[row, sources.index(source)] = over_heads_and_seeds
    return blocks, sources, values
