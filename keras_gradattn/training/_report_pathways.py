"""A section of the report: what the mixing weights of pathways do."""

from pathlib import Path

from keras_gradattn import datasets
from keras_gradattn.training._reading import (
    Experiment,
    is_standard_or_control,
    network_title,
    of,
    recipe_title,
)
from keras_gradattn.training.comparison import table


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


def _percent(heads: list[float]) -> str:
    return f"{100 * sum(heads) / len(heads):.1f}"


def _draw_mixing(chosen: list[Experiment], path: Path) -> None:
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(chosen), 4.2), layout="constrained")
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    for axes, e in zip(panels, chosen, strict=True):
        mean = e["pathways"]["mean"]
        sources = list(dict.fromkeys(s for row in mean.values() for s in row))
        values = np.full((len(mean), len(sources)), np.nan)
        for row, by_source in enumerate(mean.values()):
            for source, heads in by_source.items():
                values[row, sources.index(source)] = np.mean(heads)
        picture = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        axes.set_xticks(range(len(sources)), sources, rotation=90, fontsize=7)
        axes.set_yticks(range(len(mean)), list(mean), fontsize=7)
        axes.set_xlabel("source")
        axes.set_title(
            f"{network_title(e)}\n{datasets.spec(of(e, 'dataset')).title}", fontsize=8
        )
    panels[0].set_ylabel("fed block")
    figure.colorbar(picture, ax=list(panels), label="weight, mean over heads, images")
    figure.savefig(path, dpi=120)
