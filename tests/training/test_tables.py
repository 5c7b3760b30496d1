"""One table in every style, as wide as a page at most."""

import csv
import io
import xml.etree.ElementTree as ET

import pytest

from keras_gradattn.training.tables import STYLES, table

pytestmark = pytest.mark.any_backend

HEADER = ("model", "accuracy %", "remarks")
ROWS = [
    ("resnet18", "85.91 ± 0.12", "short, 100 images a split"),
    ("<b>|odd|</b>", "", "stage_filters=[16, 32, 64, 128], " * 6),
    ("a" * 150, "3", "with, comma"),
]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_text_stays_on_the_page_and_loses_nothing(width):
    text = table(HEADER, ROWS, "text", width=width)
    assert max(map(len, text.splitlines())) <= width
    letters = "".join(text.split())
    assert sorted(letters) == sorted(
        "".join("".join(cell for row in (HEADER, *ROWS) for cell in row).split())
    )


def test_a_narrow_table_is_not_wrapped():
    assert table(("a", "b"), [("1", "two words")]).splitlines() == [
        "a  b",
        "1  two words",
    ]


def test_csv_is_read_back():
    text = table(HEADER, ROWS, "csv")
    found = list(csv.reader(io.StringIO(text)))
    assert found == [list(HEADER), *map(list, ROWS)]


def test_markdown_keeps_its_columns():
    lines = table(HEADER, ROWS, "markdown").splitlines()
    assert len(lines) == 5
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines)


def test_html_is_a_page_that_shows_the_cells():
    page = table(HEADER, ROWS, "html")
    body = ET.fromstring(page[page.index("<table>") :])
    cells = [[cell.text or "" for cell in row] for row in body]
    assert cells == [list(HEADER), *map(list, ROWS)]
    assert "overflow-wrap:anywhere" in page
    assert "http" not in page


def test_an_unknown_style_is_named():
    with pytest.raises(ValueError, match="Received: style='latex'"):
        table(HEADER, ROWS, "latex")
    assert STYLES == ("text", "markdown", "csv", "html")
