"""The picture of a network's pathways (matplotlib, an optional extra)."""

from typing import Any

import numpy as np

# Narrow columns of names; more than these would run together.
_MOST_LABELS = 40
_DPI = 150


def draw_pathways(weights: Any, path, images, titles):
    """Heat maps of blocks by sources: the mean, and how single images differ from it.

    Args:
        weights: A `PathwayWeights`.
        path: Where to save the picture, or `None`.
        images: Indices of the images to draw.
        titles: One per image, or `None`.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ImportError: Without matplotlib.
        ValueError: If there are not as many titles as images.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install 'keras-gradattn[plots]'."
        ) from error
    images = list(images)
    titles = [f"image {i}" for i in images] if titles is None else list(titles)
    if len(titles) != len(images):
        raise ValueError(
            "Give one title per image. "
            f"Received: {len(titles)} titles for {len(images)} images"
        )
    mean = weights.mean.mean(axis=1)
    width = 1.6 + min(0.32 * len(weights.sources), 9)
    height = 1.6 + min(0.32 * len(weights.blocks), 9)
    # Not registered with pyplot: nothing stays open when many are drawn.
    figure = Figure(figsize=(width * (1 + len(images)), height), layout="constrained")
    panels = figure.subplots(1, 1 + len(images), squeeze=False)[0]
    shown = _draw(panels[0], mean, "cividis", 0, 1, weights)
    panels[0].set_title(
        f"mean of {len(weights.values)} images", loc="left", fontweight="bold"
    )
    figure.colorbar(shown, ax=panels[0], label="weight, mean over heads")
    if not images:
        return _saved(figure, path)
    by_image = weights.values[images].mean(axis=2) - mean
    largest = max(float(np.nanmax(np.abs(by_image))), 0.01)
    for panel, difference, title in zip(panels[1:], by_image, titles, strict=True):
        shown = _draw(panel, difference, "RdBu_r", -largest, largest, weights)
        panel.set_title(title, loc="left", fontweight="bold")
    figure.colorbar(shown, ax=panels[1:], label="difference from the mean")
    return _saved(figure, path)


def _draw(panel, values, colours, low, high, weights):
    shown = panel.imshow(
        np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto"
    )
    # What a block cannot draw from stays grey.
    panel.set_facecolor("#DDDDDD")
    for axis, names in ((panel.xaxis, weights.sources), (panel.yaxis, weights.blocks)):
        every = -(-len(names) // _MOST_LABELS)
        axis.set_ticks(range(0, len(names), every), names[::every])
    panel.tick_params(labelsize=7)
    panel.tick_params(axis="x", rotation=90)
    panel.set_xlabel("source")
    panel.set_ylabel("what is fed")
    return shown


def _saved(figure, path):
    if path is not None:
        figure.savefig(path, dpi=_DPI)
    return figure
