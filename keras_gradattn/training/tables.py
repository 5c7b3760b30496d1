"""One table as text, Markdown, CSV or HTML, at most as wide as a page."""

import csv
import html
import io
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence

# Of a file or a pipe; a terminal says its own.
_PAGE = 120
_NARROWEST = 8
_GAP = "  "

Rows = Sequence[Sequence[str]]


def table(
    header: Sequence[str], rows: Rows, style: str = "text", width: int | None = None
) -> str:
    """A table in one of four styles.

    Args:
        header: Names of the columns.
        rows: Cells, as many a row as there are names.
        style: `"text"`, `"markdown"`, `"csv"` or `"html"`.
        width: Most characters of a line of text. Default: the terminal's, or 120.

    Returns:
        The table, without a last line break.

    Raises:
        ValueError: If there is no such style.

    Example:

    >>> from keras_gradattn.training.tables import table
    >>> print(table(("model", "top-1"), [("resnet18", "85.91")]))
    model     top-1
    resnet18  85.91
    """
    if style not in STYLES:
        raise ValueError(
            f"`style` must be {', '.join(map(repr, STYLES))}. Received: style={style!r}"
        )
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    if style == "text":
        columns = width or shutil.get_terminal_size((_PAGE, 24)).columns
        return _text(cells, max(columns, len(header) * (_NARROWEST + len(_GAP))))
    return _OTHERS[style](cells)


def markdown(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
) -> str:
    """A Markdown table.

    Args:
        header: Names of the columns.
        rows: Cells, as many a row as there are names.
        numbers: Whether all columns but the first are set to the right.

    Returns:
        The table, without a last line break.

    Example:

    >>> from keras_gradattn.training.tables import markdown
    >>> print(markdown(("model", "top-1"), [("resnet18", "85.91")], numbers=True))
    | model | top-1 |
    | --- | ---: |
    | resnet18 | 85.91 |
    """
    rule = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in (header, *rows))
    first, *others = ("| " + " | ".join(row) + " |" for row in escaped)
    # Not aligned: one longer cell would change every line of a table.
    return "\n".join([first, f"| {' | '.join(rule)} |", *others])


def _text(cells: list[list[str]], width: int) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    room = width - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _NARROWEST:
        # What is widest is wrapped first.
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in cells:
        wrapped = [
            textwrap.wrap(cell, size, break_on_hyphens=False) or [""]
            for cell, size in zip(row, widths, strict=True)
        ]
        for line in range(max(map(len, wrapped))):
            parts = [
                (part[line] if line < len(part) else "").ljust(size)
                for part, size in zip(wrapped, widths, strict=True)
            ]
            lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines)


def _csv(cells: list[list[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(cells)
    return text.getvalue().rstrip("\n")


def _html(cells: list[list[str]]) -> str:
    """A whole page that loads nothing; long cells are broken anywhere."""
    header, *rows = cells
    lines = [_html_row(header, "th"), *(_html_row(row, "td") for row in rows)]
    body = "\n".join(lines)
    return (
        '<!doctype html>\n<meta charset="utf-8">\n<title>Results</title>\n<style>'
        "table{border-collapse:collapse;width:100%}"
        "th,td{border-bottom:1px solid #ccc;padding:.2em .5em;text-align:left;"
        "vertical-align:top;overflow-wrap:anywhere}</style>\n"
        f"<table>\n{body}\n</table>"
    )


def _html_row(row: list[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in row) + "</tr>"


_OTHERS: dict[str, Callable[[list[list[str]]], str]] = {
    "markdown": lambda cells: markdown(cells[0], cells[1:]),
    "csv": _csv,
    "html": _html,
}
STYLES = ("text", *_OTHERS)
