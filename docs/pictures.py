"""Pictures for a light and for a dark page."""

import io
from pathlib import Path
from typing import Any

DARK_INK = "#d5d9e0"
_WIDTH_IN_PIXELS = 1100


def save_on_paper_and_dark(figure: Any, path: Path) -> Path:
    """Save a matplotlib figure for texts that are read on the site and elsewhere.

    A text names the picture on white paper. On a dark page the site shows the one with
    light ink and no background.

    Args:
        figure: A `matplotlib.figure.Figure`. Its ink is changed.
        path: Where to save it on white paper.

    Returns:
        The path of the picture for a dark page, which is `dark_picture(path)`.
    """
    _save(figure, path, paper=True)
    _lighten(figure)
    _save(figure, dark_picture(path))
    return dark_picture(path)


def dark_picture(path: Path) -> Path:
    """Where the picture for a dark page lies, beside that on white paper."""
    return path.with_name(f"{path.stem}_dark.png")


def _save(figure: Any, path: Path, *, paper: bool = False) -> None:
    from PIL import Image

    figure.patch.set_alpha(1 if paper else 0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    stream = io.BytesIO()
    figure.savefig(
        stream,
        format="png",
        dpi=_WIDTH_IN_PIXELS / figure.get_figwidth(),
        bbox_inches="tight",
    )
    # A palette is a third of the size, and nobody sees the difference. The better way
    # to choose it knows no transparency.
    image = Image.open(stream).convert("RGB" if paper else "RGBA")
    way = Image.Quantize.MEDIANCUT if paper else Image.Quantize.FASTOCTREE
    image.quantize(256 if paper else 128, way).save(path, optimize=True)


def _lighten(figure: Any) -> None:
    """Turn what is drawn in dark grey or black into light ink, and white into none."""
    from matplotlib.axis import Tick
    from matplotlib.colors import to_rgba
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.spines import Spine
    from matplotlib.text import Text

    def is_dark(colour: Any) -> bool:
        red, green, blue, alpha = to_rgba(colour)
        return (
            alpha > 0
            and max(red, green, blue) < 0.45
            and _spread(red, green, blue) < 0.1
        )

    for legend in figure.findobj(Legend):
        legend.get_frame().set_alpha(0)
    for axes in figure.axes:
        axes.tick_params(which="both", colors=DARK_INK)
    for item in figure.findobj(lambda artist: isinstance(artist, Text | Line2D)):
        if is_dark(item.get_color()):
            item.set_color(DARK_INK)
    for spine in figure.findobj(Spine):
        spine.set_edgecolor(DARK_INK)
    for patch in figure.findobj(Patch):
        if not isinstance(patch, Spine) and is_dark(patch.get_edgecolor()):
            patch.set_edgecolor(DARK_INK)
    for tick in figure.findobj(Tick):
        tick.label1.set_color(DARK_INK)
        tick.label2.set_color(DARK_INK)


def _spread(*channels: float) -> float:
    return max(channels) - min(channels)
