"""The picture of the published analysis."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gradattn.gradients.plots import (
    _THRESHOLD,
    _THRESHOLDS,
    COLOURS,
    _figure,
    _finish,
    _layer_ticks,
    _positive,
    _range,
    _style,
)
from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_published(
    analysis: Any, path: str | os.PathLike[str] | None = None
) -> "Figure":
    """The published four panels.

    Args:
        analysis: A `PublishedAnalysis`.
        path: Where to save the picture, or `None`.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    from matplotlib.colors import LogNorm

    figure, axes = _figure(2, 2, size=(10.0, 8.0))
    norms, mean = analysis.norms, analysis.mean_norm
    index = np.arange(len(mean))

    bars = axes[0, 0]
    bars.errorbar(
        index, _positive(mean), yerr=norms.std(axis=0), fmt="o", markersize=3.5,
        color=COLOURS[0], ecolor="#888888", elinewidth=1, capsize=2,
    )  # fmt: skip
    bars.set_yscale("log")
    for value, label in _THRESHOLDS:
        bars.axhline(value, label=f"{label} ({value:g})", **_THRESHOLD)
        bars.annotate(
            f"{label} {value:g}", (0, value), xytext=(2, 3), fontsize=8,
            textcoords="offset points",
        )  # fmt: skip
    low, high = _range(mean)
    bars.set_ylim(min(VANISHING, low) / 10, max(EXPLODING, high) * 10)
    _style(bars, "Norm by layer (mean and std over batches)", "", "|g| whole batch")
    _layer_ticks(bars, analysis.layers)

    heat = axes[0, 1]
    mesh = heat.pcolormesh(
        np.arange(len(norms) + 1) - 0.5,
        np.arange(len(mean) + 1) - 0.5,
        np.ma.masked_less_equal(norms.T, 0),
        norm=LogNorm(*_range(norms)),
        cmap="cividis",
        rasterized=True,
    )
    heat.invert_yaxis()
    figure.colorbar(mesh, ax=heat, pad=0.02).set_label("|g| whole batch", fontsize=9)
    _style(heat, "Norm by layer and batch", "batch", "layer, in registration order")

    histogram = axes[1, 0]
    logs = np.log10(norms[norms > 0])
    histogram.hist(logs, bins=40, color=COLOURS[0])
    for value, label in _THRESHOLDS:
        histogram.axvline(np.log10(value), **_THRESHOLD)
        histogram.annotate(
            f"{label} {value:g}", (np.log10(value), 1), xytext=(3, -4), fontsize=8,
            xycoords=("data", "axes fraction"), textcoords="offset points",
            rotation=90, va="top",
        )  # fmt: skip
    zeros = int((norms == 0).sum())
    _style(
        histogram,
        "Distribution of norms" + (f" ({zeros} exact zeros left out)" if zeros else ""),
        "log10 |g|",
        "layers x batches",
    )

    depth = axes[1, 1]
    depth.plot(index, _positive(mean), color=COLOURS[1], marker="o", markersize=3.5)
    depth.set_yscale("log")
    _style(
        depth,
        f"Norm by depth (health {analysis.health():.1%})",
        "layer, in registration order",
        "mean |g| whole batch",
    )
    title = f"Published gradient analysis: {analysis.name}"
    figure.suptitle(title, fontsize=12, parse_math=False)
    return _finish(figure, path)
