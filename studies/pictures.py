"""The look of the report's pictures: that of the site's."""

from pathlib import Path
from typing import Any

from docs.pictures import save_on_paper_and_dark

# Inches. At this width text of nine points is about as large as the page's.
WIDTH = 8.5
# Okabe and Ito (2008): told apart by people who do not see all colours.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000",
)  # fmt: skip
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
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
