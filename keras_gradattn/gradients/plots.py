"""Pictures of gradients (matplotlib, an optional extra)."""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_gradattn.gradients.columns import Columns, Numbers, begins, norm_columns
from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    from keras_gradattn.gradients.comparison import GradientComparison
    from keras_gradattn.gradients.gradient_flow import GradientFlow
    from keras_gradattn.gradients.gradient_record import GradientRecord

Path = str | os.PathLike[str] | None

# Okabe & Ito (2008): distinguishable with every common colour blindness.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_THRESHOLD: dict[str, Any] = {"color": "#444444", "linestyle": "--", "linewidth": 1.0}
_THRESHOLDS = ((VANISHING, "vanishing"), (EXPLODING, "exploding"))
# 8 inches at 150 dots: legible at the width of a README page.
_DPI = 150
_MOST_COLUMNS = 400
# More lines than this are told apart by depth, not by name.
_MOST_NAMED = 21
_LEFT_OUT = "\N{HORIZONTAL ELLIPSIS}"
_ZERO = "#BBBBBB"
_NONFINITE = "#CC3311"
# Of a cell's height: a single step among many must still be seen.
_THINNEST = 0.12
# Small letters that stand side by side over a picture's width.
_LETTERS = 100


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as pyplot
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install 'keras-gradattn[plots]'."
        ) from error
    return pyplot


def _finish(figure: "Figure", path: Path) -> "Figure":
    if path is not None:
        figure.savefig(path, dpi=_DPI)
    return figure


def _figure(
    rows: int = 1,
    columns: int = 1,
    size: tuple[float, float] = (8.0, 4.2),
    **arguments: Any,
) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    _pyplot()
    # Not registered with pyplot: nothing stays open when many are drawn.
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **arguments)


def _style(
    axes: "Axes", title: str, x: str, y: str, *, room_for_words: bool = False
) -> None:
    """Name a picture and its axes, the title above words at the upper edge if any."""
    pad = 15 if room_for_words else None
    # Names of layers may have dollars in them, which would begin a formula.
    axes.set_title(
        title, fontsize=11, loc="left", fontweight="bold", pad=pad, parse_math=False
    )
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def plot_training(
    record: "GradientRecord", path: Path = None, *, kind: str = "heatmap"
) -> "Figure":
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


def _heatmap(record: "GradientRecord") -> "Figure":
    from matplotlib.colors import LogNorm

    groups = len(record.groups)
    row, size = _row_height(groups)
    figure, axes = _figure(size=(8.0, 1.6 + row * groups))
    norm = norm_columns(record, _MOST_COLUMNS)
    rms = norm_columns(record, _MOST_COLUMNS, "rms")
    _style(
        axes,
        f"Gradient by depth during training: {record.name}",
        "training step",
        "depth (input at the top)",
    )
    # The room of a cell that holds no number stays empty.
    mesh = axes.pcolormesh(
        rms.edges,
        np.arange(groups + 1),
        np.ma.masked_invalid(rms.level.T),
        norm=LogNorm(*_range(rms.level)),
        cmap="cividis",
        rasterized=True,
    )
    marks = [
        _stripes(axes, norm.edges, norm.zero_share, _ZERO, "exactly zero", bottom=True),
        _stripes(axes, norm.edges, norm.nonfinite_share, _NONFINITE, "not finite"),
        *_hatch_beyond_thresholds(axes, norm),
        _begins(axes, record),
    ]
    axes.set_ylim(groups, 0)
    places, names = np.arange(groups) + 0.5, _labels(record.groups)
    axes.set_yticks(places, names, fontsize=size, parse_math=False)
    axes.tick_params(axis="y", length=2 if groups > 30 else 3.5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, aspect=30, shrink=_shrink(groups))
    bar.set_label("RMS per gradient element", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if handles := [mark for mark in marks if mark is not None]:
        figure.legend(
            handles=handles, loc="outside lower center", fontsize=8, frameon=False,
            ncols=min(len(handles), 2), handleheight=1.3,
        )  # fmt: skip
    return figure


def _row_height(groups: int) -> tuple[float, float]:
    """Inches of one row, and points of its name: two rows never touch."""
    row = float(np.clip(8.0 / groups, 0.085, 0.32))
    return row, min(9.0, 72 * row * 0.82)


def _shrink(groups: int) -> float:
    """A colour bar needs no more than eight inches."""
    return min(1.0, 8.0 / (0.6 + _row_height(groups)[0] * groups))


def _labels(names: Sequence[str]) -> list[str]:
    """Names without what all begin or end with, and not too long."""
    paths = [name.split("/") for name in names]
    most = min(map(len, paths)) - 1 if len(paths) > 1 else 0
    head = tail = 0
    while head < most and len({path[head] for path in paths}) == 1:
        head += 1
    while tail < most - head and len({path[-1 - tail] for path in paths}) == 1:
        tail += 1
    return [_short("/".join(path[head : len(path) - tail])) for path in paths]


def _stripes(
    axes: "Axes",
    edges: Numbers,
    share: Numbers,
    colour: str,
    what: str,
    *,
    bottom: bool = False,
) -> "Patch | None":
    """Paint the share of each cell's height for which `what` holds.

    One step in a hundred is a hundredth of the cell, but never too thin to be seen.
    """
    from matplotlib.collections import PolyCollection
    from matplotlib.patches import Patch

    columns, rows = np.nonzero(share)
    if not len(columns):
        return None
    height = np.maximum(share[columns, rows], _THINNEST)
    left, right = edges[columns], edges[columns + 1]
    top = rows + 1 - height if bottom else rows
    corners = [(left, top), (right, top), (right, top + height), (left, top + height)]
    axes.add_collection(
        PolyCollection(
            list(np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1)),
            facecolors=colour,
            linewidths=0,
            rasterized=True,
            label=what,
        )
    )
    where = "from below" if bottom else "from above"
    return Patch(facecolor=colour, label=f"{what} (height: share of steps, {where})")


def _hatch_beyond_thresholds(axes: "Axes", norm: Columns) -> Iterator["Patch"]:
    """Hatch where a group's |g| is beyond a threshold, which its RMS cannot tell."""
    from matplotlib.patches import Patch

    for beyond, hatch, label in (
        (norm.level < VANISHING, "////", f"|g| below {VANISHING:g} (vanishing)"),
        (norm.level > EXPLODING, "xxxx", f"|g| above {EXPLODING:g} (exploding)"),
    ):
        if beyond.any():
            axes.pcolor(
                norm.edges,
                np.arange(beyond.shape[1] + 1),
                np.ma.masked_where(~beyond.T, np.zeros(beyond.T.shape)),
                hatch=hatch, alpha=0.0,
            )  # fmt: skip
            yield Patch(facecolor="none", edgecolor="black", hatch=hatch, label=label)


def _begins(axes: "Axes", record: "GradientRecord") -> "Line2D | None":
    """Draw where fits and phases begin; the first stands at the edge anyway."""
    from matplotlib.lines import Line2D

    found = begins(record)
    if not found:
        return None
    for begin in found[1:]:
        # White below black: seen on any colour.
        for colour, width in (("white", 2.4), ("black", 1.0)):
            axes.axvline(
                begin.running_step, color=colour, linewidth=width, linestyle=(0, (4, 2))
            )
    left, right = axes.get_xlim()
    ends = [begin.running_step for begin in found[1:]] + [right]
    for begin, end in zip(found, ends, strict=True):
        # Only what fits: all of it, the number of the fit, or nothing.
        room = (end - begin.running_step) / (right - left) * _LETTERS
        label = next(
            (t for t in (begin.label, begin.label.partition(":")[0]) if len(t) < room),
            "",
        )
        axes.annotate(
            label, (begin.running_step, 1.0), xytext=(1, 2), fontsize=7,
            xycoords=("data", "axes fraction"), textcoords="offset points",
            annotation_clip=False, parse_math=False,
        )  # fmt: skip
    axes.set_title(
        axes.get_title(loc="left"), loc="left", pad=15, fontsize=11, fontweight="bold",
        parse_math=False,
    )  # fmt: skip
    return Line2D([], [], color="black", linewidth=1.0, linestyle=(0, (4, 2)),
                  label="a new fit or optimizer begins")  # fmt: skip


def _range(values: Numbers) -> tuple[float, float]:
    usable = values[np.isfinite(values) & (values > 0)]
    if not len(usable):
        return 1e-12, 1.0
    low, high = float(usable.min()), float(usable.max())
    return (low, high) if high > low else (low / 2, high * 2)


def _lines(record: "GradientRecord") -> "Figure":
    figure, axes = _figure()
    columns = norm_columns(record, _MOST_COLUMNS)
    groups = len(record.groups)
    for i, group in enumerate(record.groups):
        look = line_look(i) if groups <= _MOST_NAMED else _look_by_depth(i, groups)
        axes.plot(columns.edges[:-1], columns.level[:, i], label=group, **look)
    axes.set_yscale("log")
    words = _thresholds(axes)
    _style(
        axes,
        f"Gradient norm during training: {record.name}",
        "training step",
        "L2 norm of the group's gradient",
        room_for_words=words,
    )
    entries = [*axes.get_lines()[:groups]] if groups <= _MOST_NAMED else []
    entries += _lines_that_stop(axes, columns)
    if (begin := _begins(axes, record)) is not None:
        entries.append(begin)
    if groups > _MOST_NAMED:
        _depth_bar(figure, axes, groups)
        if entries:
            figure.legend(
                handles=entries, loc="outside lower center", fontsize=8, frameon=False,
                ncols=len(entries),
            )  # fmt: skip
    else:
        _legend(axes, entries)
    return figure


def _lines_that_stop(axes: "Axes", columns: Columns) -> list["Line2D"]:
    """Mark at the edges where a group is not finite, or zero in a whole column."""
    marks = []
    dead = (columns.zero == columns.measured) & (columns.measured > 0)
    for hit, height, colour, marker, label in (
        (columns.nonfinite > 0, 0.985, _NONFINITE, "v", "a group is not finite"),
        (dead, 0.015, _ZERO, "^", "a group is exactly zero"),
    ):
        at = np.flatnonzero(hit.any(axis=1))
        if len(at):
            marks += axes.plot(
                columns.edges[at], np.full(len(at), height), linestyle="", label=label,
                marker=marker, markersize=5, color=colour, clip_on=False,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip
    return marks


def _look_by_depth(i: int, groups: int) -> dict[str, Any]:
    # The lightest fifth of the map is lost on white.
    colour = _pyplot().get_cmap("viridis")(0.85 * i / (groups - 1))
    return {"color": colour, "linewidth": 1.0, "alpha": 0.8}


def _depth_bar(figure: "Figure", axes: "Axes", groups: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    colours = _pyplot().get_cmap("viridis")(np.linspace(0, 0.85, 256))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, groups - 1), ListedColormap(colours)),
        ax=axes, pad=0.015,
    )  # fmt: skip
    bar.ax.invert_yaxis()
    bar.set_ticks([0, groups - 1], labels=["first group", "last group"])
    bar.ax.tick_params(labelsize=8)
    bar.set_label("depth", fontsize=9)


def line_look(i: int) -> dict[str, Any]:
    """Colour, style and width of the line number `i` of a picture."""
    styles = ("-", "--", ":", "-.")
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": styles[(i // len(COLOURS)) % len(styles)],
        "linewidth": 1.4,
    }


def _legend(axes: "Axes", entries: list["Line2D"]) -> None:
    if entries:
        legend = axes.legend(
            handles=entries, fontsize=8, frameon=False, loc="upper left",
            bbox_to_anchor=(1.0, 1.0),
            ncols=1 + len(entries) // 16,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def plot_flow(flow: "GradientFlow", path: Path = None) -> "Figure":
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
            marker=MARKERS[i], color=COLOURS[i], linewidth=1.4,
        )  # fmt: skip
    top.set_yscale("log")
    words = _thresholds(top, of=" of |g|")
    if flow.dead.any():
        for x in depth[flow.dead]:
            top.axvline(x, color="#CC3311", linewidth=1, alpha=0.6)
        top.axvline(np.nan, color="#CC3311", label="dead (exactly zero)")
    top.legend(fontsize=8, frameon=False, ncols=2)
    title = f"Gradient of the loss at layer outputs: {flow.name}"
    _style(top, title, "", "gradient", room_for_words=words)
    for i, (key, label) in enumerate(
        (("variance", "channel variance"), ("mean_square", "mean squared channel mean"))
    ):
        values = flow.mean(key)
        bottom.plot(
            depth, np.where(values > 0, values, np.nan), label=label, markersize=3.5,
            marker=MARKERS[i], color=COLOURS[i], linewidth=1.4,
        )  # fmt: skip
    bottom.set_yscale("log")
    bottom.legend(fontsize=8, frameon=False)
    _style(bottom, "Forward signal", "", "activation")
    _layer_ticks(bottom, flow.layers)
    return _finish(figure, path)


def _thresholds(axes: "Axes", of: str = "") -> bool:
    """Draw the published thresholds; far ones in words, not to flatten the curves.

    `of` names the curve they hold for, where there are several. Returns whether there
    are words above the upper edge.
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
    return bool(far)


def _layer_ticks(axes: "Axes", layers: Sequence[str]) -> None:
    stride = 1 + len(layers) // 40
    axes.set_xticks(
        np.arange(len(layers))[::stride], [_short(name) for name in layers[::stride]],
        rotation=90, fontsize=6.5 if len(layers) > 24 else 8, parse_math=False,
    )  # fmt: skip


def _short(name: str, most: int = 30) -> str:
    """The longest parts of a path lose their middles: numbers stand at the ends."""
    parts = name.split("/")
    while len("/".join(parts)) > most:
        longest = max(range(len(parts)), key=lambda i: len(parts[i]))
        bare = parts[longest].replace(_LEFT_OUT, "")
        if len(bare) <= 3:
            break
        keep = len(bare) - 1
        parts[longest] = f"{bare[: keep // 2]}{_LEFT_OUT}{bare[-(keep - keep // 2) :]}"
    return "/".join(parts)


def plot_comparison(comparison: "GradientComparison", path: Path = None) -> "Figure":
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
    _legend(axes, axes.get_legend_handles_labels()[0])
    return _finish(figure, path)


def _looks_of_runs(runs: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A colour for what stands before a name's last comma, a line for what follows."""
    names = [run.rpartition(", ")[0] or run for run in runs]
    families = list(dict.fromkeys(names))
    members = dict.fromkeys(families, 0)
    for family in names:
        number = families.index(family)
        # After seven colours the line changes too, so no two look alike.
        line = members[family] + number // len(COLOURS)
        members[family] += 1
        yield {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[(number + line) % len(MARKERS)],
            "linestyle": ("-", "--", "-.", (0, (1, 1)))[line % 4],
            "linewidth": 1.5,
            "markersize": 4,
        }


def _positive(numbers: Any) -> Numbers:
    values = np.asarray(numbers, dtype="float64")
    return np.where(values > 0, values, np.nan)
