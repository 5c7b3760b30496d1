"""Pictures of gradients (matplotlib, an optional extra)."""

import itertools
import os

import numpy as np

from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING

# Okabe & Ito (2008): distinguishable with every common colour blindness.
_COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_THRESHOLD = {"color": "#444444", "linestyle": "--", "linewidth": 1.0}
_THRESHOLDS = ((VANISHING, "vanishing"), (EXPLODING, "exploding"))
# 8 inches at 100 dots: legible at the width of a README page.
_DPI = 150


def _pyplot():
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install 'keras-gradattn[plots]'."
        ) from error
    return pyplot


def _finish(figure, path: str | os.PathLike | None):
    if path is not None:
        figure.savefig(path, dpi=_DPI)
    return figure


def _figure(rows=1, columns=1, size=(8.0, 4.2), **arguments):
    from matplotlib.figure import Figure

    _pyplot()
    # Not registered with pyplot: nothing stays open when many are drawn.
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **arguments)


def _style(axes, title, x, y):
    axes.set_title(title, fontsize=11, loc="left", fontweight="bold")
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def plot_training(record, path=None, *, kind: str = "heatmap"):
    """Norms by depth over the steps of training.

    Args:
        record: A `GradientRecord`.
        path: Where to save the picture, or `None`.
        kind: `"heatmap"` or `"lines"`.

    Returns:
        The `matplotlib.figure.Figure`.

    Raises:
        ValueError: For another kind, or where nothing was recorded.
    """
    if kind not in ("heatmap", "lines"):
        raise ValueError(
            f"`kind` must be 'heatmap' or 'lines'. Received: kind={kind!r}"
        )
    if not len(record):
        raise ValueError("Nothing is recorded, so there is nothing to draw.")
    draw = _heatmap if kind == "heatmap" else _lines
    return _finish(draw(record), path)


def _heatmap(record):
    from matplotlib.colors import LogNorm

    height = min(max(2.6, 1.4 + 0.32 * len(record.groups)), 14)
    figure, axes = _figure(size=(8.0, height))
    rms = np.where(np.isfinite(record.rms) & (record.rms > 0), record.rms, np.nan)
    rms, edges = _binned(rms, record)
    low, high = _range(rms)
    _style(
        axes,
        f"Gradient by depth during training: {record.name}",
        "training step",
        "depth (input at the top)",
    )
    colours = _pyplot().get_cmap("cividis").with_extremes(bad="#CC3311")
    mesh = axes.pcolormesh(
        edges,
        np.arange(len(record.groups) + 1),
        np.ma.masked_invalid(rms.T),
        norm=LogNorm(low, high),
        cmap=colours,
        rasterized=True,
    )
    axes.invert_yaxis()
    axes.set_yticks(np.arange(len(record.groups)) + 0.5, record.groups)
    if len(record.groups) > 30:
        axes.tick_params(axis="y", labelsize=5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015)
    bar.set_label("RMS per gradient element", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    notes = _hatch_beyond_thresholds(axes, record)
    if np.isnan(rms).any():
        notes.insert(0, "red: exactly zero or not finite")
    if notes:
        axes.set_xlabel(f"training step ({'; '.join(notes)})", fontsize=10)
    return figure


def _hatch_beyond_thresholds(axes, record):
    """Hatch where a group's |g| is beyond a threshold, which its RMS cannot tell."""
    norm, edges = _binned(np.where(record.norm > 0, record.norm, np.nan), record)
    notes = []
    for beyond, hatch, note in (
        (norm < VANISHING, "///", f"///: |g| below {VANISHING:g}"),
        (norm > EXPLODING, "xxx", f"xxx: |g| above {EXPLODING:g}"),
    ):
        if beyond.any():
            axes.pcolor(
                edges,
                np.arange(len(record.groups) + 1),
                np.ma.masked_where(~beyond.T, np.zeros(beyond.T.shape)),
                hatch=hatch, alpha=0.0,
            )  # fmt: skip
            notes.append(note)
    return notes


def _binned(values, record, most=400):
    """At most `most` columns of geometric means, and their edges in steps."""
    # A second `fit` after compiling anew counts from zero again: number the rows then.
    steps = record.step
    if np.any(np.diff(steps) <= 0):
        steps = np.arange(len(steps))
    stride = record.kept_every
    if len(values) <= most:
        return values, np.append(steps, steps[-1] + stride)
    cuts = np.linspace(0, len(values), most + 1).astype(int)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    binned = [logs[a:b].mean(axis=0) for a, b in itertools.pairwise(cuts)]
    return np.exp(binned), np.append(steps[cuts[:-1]], steps[-1] + stride)


def _range(values):
    usable = values[np.isfinite(values) & (values > 0)]
    if not len(usable):
        return 1e-12, 1.0
    low, high = float(usable.min()), float(usable.max())
    return (low, high) if high > low else (low / 2, high * 2)


def _lines(record):
    figure, axes = _figure()
    values, edges = _binned(np.where(record.norm > 0, record.norm, np.nan), record)
    for i, group in enumerate(record.groups):
        axes.plot(edges[:-1], values[:, i], label=group, linewidth=1.4, **_look(i))
    axes.set_yscale("log")
    _thresholds(axes)
    _style(
        axes,
        f"Gradient norm during training: {record.name}",
        "training step",
        "L2 norm of the group's gradient",
    )
    _legend(axes, len(record.groups))
    return figure


def _look(i):
    styles = ("-", "--", ":", "-.")
    return {
        "color": _COLOURS[i % len(_COLOURS)],
        "linestyle": styles[(i // len(_COLOURS)) % len(styles)],
    }


def _legend(axes, entries):
    if entries <= 28:
        axes.legend(
            fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0),
            ncols=1 + entries // 15,
        )  # fmt: skip


def plot_flow(flow, path=None):
    """Gradient and forward signal at layer outputs, by depth.

    Args:
        flow: A `GradientFlow`.
        path: Where to save the picture, or `None`.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    figure, (top, bottom) = _figure(2, 1, size=(8.0, 6.4), sharex=True)
    depth = np.arange(len(flow.layers))
    for i, (key, label) in enumerate(
        (
            ("product", "|a||g| per sample (compare across layers)"),
            ("rms", "RMS per element"),
            ("norm", "|g| whole batch (published)"),
        )
    ):
        values = flow.mean(key)
        top.plot(
            depth, np.where(values > 0, values, np.nan), label=label, markersize=3.5,
            marker=_MARKERS[i], color=_COLOURS[i], linewidth=1.4,
        )  # fmt: skip
    top.set_yscale("log")
    _thresholds(top, of=" of |g|")
    if flow.dead.any():
        for x in depth[flow.dead]:
            top.axvline(x, color="#CC3311", linewidth=1, alpha=0.6)
        top.axvline(np.nan, color="#CC3311", label="dead (exactly zero)")
    top.legend(fontsize=8, frameon=False, ncols=2)
    _style(top, f"Gradient of the loss at layer outputs: {flow.name}", "", "gradient")
    for i, (key, label) in enumerate(
        (("variance", "channel variance"), ("mean_square", "mean squared channel mean"))
    ):
        values = flow.mean(key)
        bottom.plot(
            depth, np.where(values > 0, values, np.nan), label=label, markersize=3.5,
            marker=_MARKERS[i], color=_COLOURS[i], linewidth=1.4,
        )  # fmt: skip
    bottom.set_yscale("log")
    bottom.legend(fontsize=8, frameon=False)
    _style(bottom, "Forward signal", "", "activation")
    _layer_ticks(bottom, flow.layers)
    return _finish(figure, path)


def _thresholds(axes, of=""):
    """Draw the published thresholds; far ones in words, not to flatten the curves.

    `of` names the curve they hold for, where there are several.
    """
    low, high = axes.get_ylim()
    far = []
    for value, label in _THRESHOLDS:
        if low / 100 <= value <= high * 100:
            axes.axhline(value, **_THRESHOLD)
            axes.annotate(
                f"{label} {value:g}{of}", (0.005, value), xytext=(0, 2), fontsize=8,
                xycoords=("axes fraction", "data"), textcoords="offset points",
                color=_THRESHOLD["color"],
            )  # fmt: skip
        else:
            where = "below" if value < low else "above"
            far.append(f"{label} ({value:g}{of}) lies {where} this range")
    if far:
        axes.annotate(
            "; ".join(far), (1.0, 1.0), xytext=(0, 3), fontsize=8, ha="right",
            xycoords="axes fraction", textcoords="offset points",
            color=_THRESHOLD["color"],
        )  # fmt: skip


def _layer_ticks(axes, layers):
    stride = 1 + len(layers) // 40
    axes.set_xticks(
        np.arange(len(layers))[::stride], [_short(name) for name in layers[::stride]],
        rotation=90, fontsize=6.5 if len(layers) > 24 else 8,
    )  # fmt: skip


def _short(name, most=26):
    return name if len(name) <= most else "..." + name[3 - most :]


def plot_comparison(comparison, path=None):
    """Several runs on one axis, by relative depth.

    Args:
        comparison: A `GradientComparison`.
        path: Where to save the picture, or `None`.

    Returns:
        The `matplotlib.figure.Figure`.
    """
    figure, axes = _figure()
    runs = list(dict.fromkeys(line["run"] for line in comparison.lines))
    trained = any(line["first"] != line["last"] for line in comparison.lines)
    for run, look in zip(runs, _looks_of_runs(runs), strict=True):
        own = [line for line in comparison.lines if line["run"] == run]
        depth = [line["depth"] for line in own]
        if trained:
            axes.plot(
                depth, _positive([line["first"] for line in own]), alpha=0.8,
                **{**look, "linestyle": ":", "marker": ""},
            )  # fmt: skip
        axes.plot(depth, _positive([line["last"] for line in own]), label=run, **look)
    if trained:
        axes.plot([], [], color="#444444", linestyle=":", label="first epoch")
        axes.plot([], [], color="#444444", linestyle="-", label="last epoch")
    axes.set_yscale("log")
    # No thresholds: they are of |g|, which is not what is compared.
    _style(
        axes,
        "Gradient by depth",
        "relative depth (0 at the input, 1 at the output)",
        comparison.measure,
    )
    _legend(axes, len(runs) + 2)
    return _finish(figure, path)


def _looks_of_runs(runs):
    """A colour for what stands before a name's last comma, a line for what follows."""
    names = [run.rpartition(", ")[0] or run for run in runs]
    families = list(dict.fromkeys(names))
    members = dict.fromkeys(families, 0)
    for family in names:
        number = families.index(family)
        # After seven colours the line changes too, so no two look alike.
        line = members[family] + number // len(_COLOURS)
        members[family] += 1
        yield {
            "color": _COLOURS[number % len(_COLOURS)],
            "marker": _MARKERS[(number + line) % len(_MARKERS)],
            "linestyle": ("-", "--", "-.", (0, (1, 1)))[line % 4],
            "linewidth": 1.5,
            "markersize": 4,
        }


def _positive(values):
    values = np.asarray(values, dtype="float64")
    return np.where(values > 0, values, np.nan)


def plot_published(analysis, path=None):
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
        color=_COLOURS[0], ecolor="#888888", elinewidth=1, capsize=2,
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
    histogram.hist(logs, bins=40, color=_COLOURS[0])
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
    depth.plot(index, _positive(mean), color=_COLOURS[1], marker="o", markersize=3.5)
    depth.set_yscale("log")
    _style(
        depth,
        f"Norm by depth (health {analysis.health():.1%})",
        "layer, in registration order",
        "mean |g| whole batch",
    )
    figure.suptitle(f"Published gradient analysis: {analysis.name}", fontsize=12)
    return _finish(figure, path)
