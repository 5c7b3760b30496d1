"""The picture of how a network weighs its depths (matplotlib, an optional extra)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

# A page's width, inches. Text of 7 points stays readable there.
_WIDTH = 7.2
_POINTS = 7
_DPI = 200
_PANELS_IN_A_ROW = 3
_ROW_HEIGHT = 0.16
_TALLEST = 8.0
# Both can be told apart by colour-blind readers and in grey.
_SHARES, _DIFFERENCES = "cividis", "PuOr"


def draw_depth_weights(
    weights: Any,
    path: str | os.PathLike[str] | None,
    images: Sequence[int],
    titles: Sequence[str] | None,
) -> Any:
    """Heat maps of targets by sources: the mean, and how single images differ from it.

    Args:
        weights: A `DepthWeights`.
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
    mean = _mean_over_groups(weights.mean)
    differences = [_mean_over_groups(weights.values[i]) - mean for i in images]
    rows = -(-(1 + len(images)) // _PANELS_IN_A_ROW)
    columns = min(1 + len(images), _PANELS_IN_A_ROW)
    tall = min(_ROW_HEIGHT * len(weights.targets), _TALLEST)
    # Not registered with pyplot: nothing stays open when many are drawn.
    figure = Figure(figsize=(_WIDTH, rows * (1.6 + tall)), layout="constrained")
    panels: Any = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    shown = _draw(panels[0], mean, _SHARES, 0, float(np.nanmax(mean)))
    panels[0].set_title(f"mean of {len(weights.values)} images", **_TITLE)
    _name(panels[: 1 + len(images)], columns, weights)
    _colorbar(figure, shown, panels[0], "weight")
    if images:
        largest = max(float(np.nanmax(np.abs(differences))), 0.01)
        shown_panels = panels[1 : 1 + len(images)]
        for panel, values, title in zip(shown_panels, differences, titles, strict=True):
            shown = _draw(panel, values, _DIFFERENCES, -largest, largest)
            panel.set_title(title, **_TITLE)
        _colorbar(figure, shown, list(shown_panels), "difference from the mean")
    for panel in panels[1 + len(images) :]:
        panel.set_axis_off()
    if path is not None:
        figure.savefig(path, dpi=_DPI)
    return figure


_TITLE: dict[str, Any] = {
    "loc": "left",
    "fontsize": _POINTS + 1,
    "fontweight": "bold",
    "parse_math": False,
}


def _mean_over_groups(values: np.ndarray) -> np.ndarray:
    """Mean of `(target, group, source)` over the groups that there are."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _draw(panel: Any, values: np.ndarray, colours: str, low: float, high: float) -> Any:
    shown = panel.imshow(
        np.ma.masked_invalid(values), cmap=colours, vmin=low, vmax=high, aspect="auto"
    )
    # What a target cannot draw from stays grey.
    panel.set_facecolor("#DDDDDD")
    panel.tick_params(labelsize=_POINTS)
    panel.tick_params(axis="x", rotation=90)
    return shown


def _name(panels: Any, columns: int, weights: Any) -> None:
    """Names at the left and below; not every one where they would run together."""
    narrow = (_WIDTH - 1.8) / columns
    below = _spaced(weights.sources, narrow)
    beside = _spaced(weights.targets, _TALLEST)
    for place, panel in enumerate(panels):
        # A dollar in a layer's name begins no formula.
        panel.set_xticks(*below, parse_math=False)
        panel.set_yticks(*beside, parse_math=False)
        panel.set_xlabel("source", fontsize=_POINTS)
        if place % columns == 0:
            panel.set_ylabel("what is fed", fontsize=_POINTS)


def _spaced(names: Sequence[str], inches: float) -> tuple[range, Sequence[str]]:
    """Places and names of the ticks that a length has room for."""
    every = -(-len(names) * (_POINTS + 1) // int(72 * inches))
    return range(0, len(names), every), names[::every]


def _colorbar(figure: Any, shown: Any, panels: Any, label: str) -> None:
    bar = figure.colorbar(shown, ax=panels, location="bottom", aspect=30, pad=0.02)
    bar.set_label(label, fontsize=_POINTS)
    bar.ax.tick_params(labelsize=_POINTS)
