"""The look of the report's pictures: that of the site's."""

from pathlib import Path
from typing import Any

from docs.pictures import save_on_paper_and_dark
from keras_gradattn.gradients.plots import COLOURS, MARKERS

__all__ = ["COLOURS", "GREY", "HEAT", "MARKERS", "SMALL", "WIDTH", "new_figure", "save"]

# Inches. At this width text of nine points is about as large as the page's.
WIDTH = 8.5
# Grey that stands out from paper and from a dark page.
GREY = "#888888"
# From dark blue to yellow for everybody.
HEAT = "cividis"
SMALL = 8


def new_figure(height: float) -> Any:
    """A figure as wide as the page, `height` inches high."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Save a figure on white paper, and beside it for a dark page."""
    save_on_paper_and_dark(figure, path)
