"""Pages of guides are of their sources, which ran on every backend."""

import re
from pathlib import Path

import pytest

from docs import execute

pytestmark = pytest.mark.any_backend
GUIDES = execute.names()
LONGEST_SECONDS = 120
LARGEST_PICTURE = 100_000


def pictures(page):
    return set(re.findall(r"\]\((images/[^#)]+)", page))


@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize("backend", execute.BACKENDS)
def test_a_guide_ran_as_it_stands_and_quickly(name, backend):
    run = execute.record()[name][backend]
    assert run["source"] == execute.digest(name), "run `python -m docs.execute`"
    assert run["seconds"] < LONGEST_SECONDS


@pytest.mark.parametrize("name", GUIDES)
def test_a_page_has_every_cell_of_its_source(name):
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    source = (execute.GUIDES / f"{name}.py").read_text("utf-8")
    for kind, title, body in execute.cells(source):
        if title != "hidden":
            # The first line of a page is a note, and its title is in the first cell.
            assert body in page if kind == "code" else body.split("\n")[-1] in page


@pytest.mark.parametrize("name", GUIDES)
def test_pictures_of_a_page_are_there_and_small(name):
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    for picture in pictures(page):
        assert 0 < (execute.GUIDES / picture).stat().st_size < LARGEST_PICTURE


def test_no_picture_and_no_run_is_left_over():
    shown = set()
    for name in GUIDES:
        page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
        shown |= {Path(picture).name for picture in pictures(page)}
    assert {path.name for path in (execute.GUIDES / "images").iterdir()} == shown
    assert set(execute.record()) == set(GUIDES)


def test_cells_of_a_guide():
    text = "# %% [markdown]\n# # Title\n#\n# Words\n\n# %%\nx = 1\n\n# %% A line\nx\n"
    assert list(execute.cells(text)) == [
        ("markdown", "", "# Title\n\nWords"),
        ("code", "", "x = 1"),
        ("code", "A line", "x"),
    ]


def test_a_page_shows_what_was_printed_and_the_last_value(tmp_path):
    page = execute.Page("made_up", tmp_path)
    page.add("code", "", "print('said')\n1 + 1")
    page.add("code", "hidden", "y = 3\nprint('unseen')")
    page.add("code", "", "y")
    text = page.text()
    assert "said" in text
    assert "```text\n2\n```" in text
    assert "```text\n3\n```" in text
    assert "unseen" not in text


def test_a_picture_is_saved_for_light_and_dark_pages(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([1, 2], color="black")
    page = execute.Page("made_up", tmp_path)
    page._scope["figure"] = figure
    page.add("code", "A line", "figure")
    light, dark = (tmp_path / f"made_up_1_{s}.png" for s in ("light", "dark"))
    assert f"![A line](images/{light.name}#only-light)" in page.text()
    assert light.read_bytes() != dark.read_bytes()
    assert figure.axes[0].lines[0].get_color() == "#d5d9e0"


def test_a_picture_needs_words(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    page = execute.Page("made_up", tmp_path)
    page._scope["figure"] = figure
    with pytest.raises(ValueError, match="needs words"):
        page.add("code", "", "figure")
