"""Draws the architectures: `python -m docs.site.drawings` writes docs/images/*.svg.

One style for all. Ink and paper are variables that the page sets, so that a drawing
follows the page's scheme; read by itself, it follows the reader's. Colours are those of
Okabe and Ito (2008), which colour-blind readers can tell apart.
"""

from collections.abc import Sequence
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "images"
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
_STYLE = """<style>
.drawing { font: 15px system-ui, sans-serif; --line: var(--ink, #24292f); }
.drawing text { fill: var(--line); text-anchor: middle; }
.drawing .small { font-size: 13px; opacity: .85; }
.drawing .left { text-anchor: start; }
.drawing .bold { font-weight: 600; }
.drawing path, .drawing rect, .drawing circle { stroke: var(--line); fill: none; }
.drawing .quiet { opacity: .45; }
@media (prefers-color-scheme: dark) { .alone { --ink: #d5d9e0; } }
</style>"""


class Drawing:
    """Boxes, arrows and words on a canvas of a fixed size."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._parts: list[str] = []

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        text: str = "",
        colour: str = "",
        opacity: float = 0.22,
    ) -> None:
        """A rounded box around its words, which may have two lines."""
        fill = f' style="fill:{colour};fill-opacity:{opacity}"' if colour else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6"{fill}/>'
        )
        lines = text.split("\n") if text else []
        for index, line in enumerate(lines):
            shift = 5 + 18 * (index - (len(lines) - 1) / 2)
            small = "small" if index else ""
            self.text(x + width / 2, y + height / 2 + shift, line, small)

    def text(self, x: float, y: float, text: str, look: str = "") -> None:
        """Words, in the middle unless `look` says `left`."""
        self._parts.append(f'<text x="{x}" y="{y}" class="{look}">{text}</text>')

    def arrow(
        self,
        *points: tuple[float, float],
        width: float = 1.6,
        colour: str = "",
        head: bool = True,
    ) -> None:
        """A line, with a head at its last point."""
        steps = " L".join(f"{x} {y}" for x, y in points)
        style = f"stroke:{colour};" if colour else ""
        end = ' marker-end="url(#head)"' if head else ""
        self._parts.append(
            f'<path d="M{steps}" style="{style}stroke-width:{width}"{end}/>'
        )

    def plus(self, x: float, y: float, sign: str = "+") -> None:
        """A small circle in which things are added."""
        self._parts.append(f'<circle cx="{x}" cy="{y}" r="12"/>')
        self.text(x, y + 5.5, sign, "bold")

    def svg(self) -> str:
        """The drawing as a file."""
        width, height = self._size
        head = (
            '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" '
            'markerWidth="10" markerHeight="10" markerUnits="userSpaceOnUse" '
            'orient="auto-start-reverse">'
            '<path d="M0 0 L10 5 L0 10 z" style="fill:context-stroke;stroke:none"/>'
            "</marker></defs>"
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing alone" '
                f'viewBox="0 0 {width} {height}" width="{width}" role="img">',
                f"<title>{self._title}</title>",
                _STYLE,
                head,
                *self._parts,
                "</svg>\n",
            ]
        )


def gradattn() -> Drawing:
    """The trunk, its five tokens, the encoder and the classifier."""
    drawing = Drawing(
        760,
        330,
        "GradAttn: each of five depths gives a token, the tokens attend to each other",
    )
    depths = ("stem", "stage 1", "stage 2", "stage 3", "stage 4")
    channels = (64, 64, 128, 256, 512)
    drawing.text(32, 279, "image", "small")
    for index, (name, number) in enumerate(zip(depths, channels, strict=True)):
        x = 70 + 116 * index
        drawing.arrow((x - (14 if index else 10), 275), (x, 275))
        drawing.box(x, 248, 100, 54, f"{name}\n{number} channels", BLUE)
        drawing.arrow((x + 50, 248), (x + 50, 212))
        drawing.box(x + 10, 178, 80, 34, "token", ORANGE)
        drawing.arrow((x + 50, 178), (x + 50, 144))
    drawing.text(368, 325, "trunk without shortcuts", "small")
    drawing.box(70, 92, 564, 52, "3 encoder blocks\neach token takes from all", GREEN)
    drawing.arrow((352, 92), (352, 66))
    drawing.box(292, 32, 120, 34, "mean", "")
    drawing.arrow((412, 49), (462, 49))
    drawing.box(462, 32, 120, 34, "classifier", PURPLE)
    drawing.arrow((582, 49), (634, 49))
    drawing.text(672, 54, "classes", "small")
    drawing.text(640, 200, "average over", "small left")
    drawing.text(640, 217, "positions, linear", "small left")
    return drawing


def positions() -> Drawing:
    """What V1, V2 and V3 do so that a token knows its depth."""
    drawing = Drawing(
        760, 232, "V1: no positions. V2: learned vectors are added. V3: rotation"
    )
    for index, (name, what, how) in enumerate(
        (
            ("V1", "nothing", "told apart by content alone"),
            ("V2", "a learned vector", "one for each depth, added"),
            ("V3", "a rotation", "of queries and keys, by depth"),
        )
    ):
        x = 10 + 250 * index
        drawing.text(x + 115, 22, f"{name}: {what}", "bold")
        for depth in range(3):
            y = 150 - 48 * depth
            label = ("stem", "stage 1", "stage 2")[depth]
            if name == "V2":
                drawing.box(x, y, 70, 34, label, ORANGE)
                drawing.arrow((x + 70, y + 17), (x + 80, y + 17), head=False)
                drawing.plus(x + 92, y + 17)
                drawing.arrow((x + 104, y + 17), (x + 114, y + 17), head=False)
                drawing.box(x + 114, y, 50, 34, f"p{_lowered(depth)}", GREEN)
                drawing.arrow((x + 164, y + 17), (x + 228, y + 17))
                continue
            drawing.box(x, y, 90, 34, label, ORANGE)
            if name == "V1":
                drawing.arrow((x + 90, y + 17), (x + 228, y + 17))
                continue
            drawing.arrow((x + 90, y + 17), (x + 118, y + 17), head=False)
            drawing.plus(x + 130, y + 17, "↻")
            drawing.arrow((x + 142, y + 17), (x + 228, y + 17))
            drawing.text(x + 184, y + 10, f"by {depth} θ", "small")
        drawing.text(x + 115, 216, how, "small")
    return drawing


def pathways() -> Drawing:
    """A residual network beside one whose blocks draw from all depths."""
    drawing = Drawing(
        760, 400, "A residual network adds one shortcut; pathways weigh all depths"
    )
    drawing.text(150, 22, "residual", "bold")
    drawing.text(490, 22, "pathways", "bold")
    heights = {"stem": 350, "block 1": 262, "block 2": 174, "block 3": 86}
    for left in (100, 440):
        for name, y in heights.items():
            drawing.box(left, y, 100, 36, name, BLUE)
            if name == "stem":
                drawing.arrow((left + 50, y), (left + 50, y - 52))
                continue
            drawing.arrow((left + 50, y), (left + 50, y - 8), head=False)
            sign = "+" if left == 100 else "Σ"
            drawing.plus(left + 50, y - 20, sign)
            drawing.arrow((left + 50, y - 32), (left + 50, y - 52))
    for y in list(heights.values())[1:]:
        # The shortcut leaves below a block and joins above it.
        drawing.arrow(
            (150, y + 46),
            (236, y + 46),
            (236, y - 20),
            (162, y - 20),
            width=2,
            colour=ORANGE,
        )
    drawing.text(246, 230, "shortcut", "small left")
    # A lane for each depth, from which every later sum draws. Thick is a large weight.
    lanes = {"stem": (640, PURPLE), "block 1": (606, GREEN), "block 2": (572, ORANGE)}
    weights = {
        "block 1": {"stem": 4.0},
        "block 2": {"block 1": 3.0, "stem": 1.8},
        "block 3": {"block 2": 1.5, "block 1": 3.5, "stem": 1.2},
    }
    for place, (source, (lane, colour)) in enumerate(reversed(lanes.items())):
        y, top = heights[source] + 18, heights["block 3"] - 20 + 9 * (place - 1)
        drawing.arrow((540, y), (lane, y), (lane, top), colour=colour, head=False)
    for target, row in weights.items():
        middle = heights[target] - 20
        for place, (source, width) in enumerate(row.items()):
            lane, colour = lanes[source]
            y = middle + 9 * (place - (len(row) - 1) / 2)
            drawing.arrow((lane, y), (503, y), width=width, colour=colour)
    drawing.text(656, 150, "thick:", "small left")
    drawing.text(656, 168, "large weight", "small left")
    return drawing


def rooms() -> Drawing:
    """Which room imports which: always the lower one."""
    drawing = Drawing(760, 372, "The package's rooms; each imports those below it")
    rows: tuple[tuple[float, tuple[tuple[float, float, str, str], ...]], ...] = (
        (8, ((20, 720, "studies (not installed)", ""),)),
        (72, ((20, 720, "paper", PURPLE),)),
        (136, ((20, 720, "training", PURPLE),)),
        (
            200,
            (
                (20, 220, "models", BLUE),
                (270, 220, "diagnosis", GREEN),
                (520, 220, "datasets", ORANGE),
            ),
        ),
        (264, ((20, 220, "layers", BLUE), (270, 220, "gradients", GREEN))),
        (328, ((20, 220, "_kernels", BLUE), (270, 470, "_compat, config", ""))),
    )
    for index, (y, boxes) in enumerate(rows):
        for x, width, name, colour in boxes:
            drawing.box(x, y, width, 36, name, colour)
        if index == len(rows) - 1:
            continue
        for x in (130, 380, 630):
            if x == 630 and index > 2:
                continue
            drawing.arrow((x, y + 36), (x, y + 64))
    drawing.arrow((240, 346), (270, 346))
    return drawing


def _lowered(number: int) -> str:
    return "₀₁₂₃₄"[number]


DRAWINGS = {
    "gradattn": gradattn,
    "positions": positions,
    "pathways": pathways,
    "rooms": rooms,
}


def main(names: Sequence[str] = tuple(DRAWINGS)) -> None:
    """Write the drawings."""
    for name in names:
        (IMAGES / f"{name}.svg").write_text(DRAWINGS[name]().svg(), "utf-8")


if __name__ == "__main__":
    main()
