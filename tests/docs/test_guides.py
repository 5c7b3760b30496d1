"""Pages of guides are of their sources, which ran on every backend."""

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from docs import execute
from docs.pictures import dark_picture

pytestmark = pytest.mark.any_backend
GUIDES = execute.names()
LONGEST_SECONDS = 120
LARGEST_PICTURE = 100_000


def pictures(page):
    """Pictures that a page names, and those that the site shows on dark pages."""
    named = map(Path, re.findall(r"\]\((images/[^)]+)", page))
    return {path for one in named for path in (one, dark_picture(one))}


def runs(name):
    """Seconds of each backend on which a guide's code ran as it stands."""
    return {
        backend: run["seconds"]
        for backend, run in execute.record().get(name, {}).items()
        if run["source"] == execute.digest(name)
    }


@pytest.mark.parametrize("name", GUIDES)
def test_a_page_is_its_source_with_what_the_run_gave(name):
    """Else run `python -m docs.execute`, with `--text` where only words changed."""
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    body = page.split(execute._RULE)[0].removeprefix(execute._NOTE.format(name))
    if execute.NOT_RUN in page:
        assert execute.without_outputs(name).strip() == body.strip()
        return
    assert execute.BACKENDS[0] in runs(name)
    assert execute.with_new_text(name, body.strip() + "\n").strip() == body.strip()


# Before a release: after `python -m docs.execute`, which takes half an hour.
@pytest.mark.outside
@pytest.mark.parametrize("name", GUIDES)
def test_no_page_waits_for_its_run(name):
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    assert execute.NOT_RUN not in page


@pytest.mark.parametrize("name", GUIDES)
def test_a_page_says_where_its_code_ran(name):
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    said = set(re.findall(rf'"{name}/(\w+)/seconds"', page.split(execute._RULE)[-1]))
    shown = set() if execute.NOT_RUN in page else set(runs(name))
    assert said == shown <= set(execute.BACKENDS)


@pytest.mark.outside
@pytest.mark.parametrize("name", GUIDES)
@pytest.mark.parametrize("backend", execute.BACKENDS)
def test_a_guide_ran_on_every_backend_and_quickly(name, backend):
    assert runs(name).get(backend, float("inf")) < LONGEST_SECONDS


@pytest.mark.parametrize("name", GUIDES)
def test_pictures_of_a_page_are_there_and_small(name):
    page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
    for picture in pictures(page):
        assert 0 < (execute.GUIDES / picture).stat().st_size < LARGEST_PICTURE


def test_no_picture_and_no_run_is_left_over():
    shown = set()
    for name in GUIDES:
        page = (execute.GUIDES / f"{name}.md").read_text("utf-8")
        shown |= {picture.name for picture in pictures(page)}
    assert {path.name for path in (execute.GUIDES / "images").iterdir()} == shown
    assert set(execute.record()) <= set(GUIDES)


def test_the_readme_shows_what_a_guide_printed():
    """Else copy it from the page that the README names."""
    shown = re.compile(r"^```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    pages = "".join((execute.GUIDES / f"{n}.md").read_text("utf-8") for n in GUIDES)
    blocks = shown.findall((execute.GUIDES.parents[1] / "README.md").read_text("utf-8"))
    assert blocks
    assert all(block in pages for block in blocks)


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
    page.add("code", "", "y = 3")
    page.add("code", "", "y")
    text = page.text()
    assert "said" in text
    assert "```text\n2\n```" in text
    assert "```text\n3\n```" in text


def test_a_list_is_one_output_and_paths_begin_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = execute.Page("made_up", tmp_path)
    page.add("code", "", "['one', 'two']")
    page.add("code", "", "import os; print(os.path.abspath('photos'))")
    assert "```text\n['one', 'two']\n```" in page.text()
    assert "```text\nphotos\n```" in page.text()


def test_a_picture_is_saved_for_light_and_dark_pages(tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2], color="black")
    page = execute.Page("made_up", tmp_path)
    page._scope["figure"] = figure
    page.add("code", "A line", "figure")
    path = tmp_path / "made_up_1.png"
    assert "![A line](images/made_up_1.png)" in page.text()
    paper, dark = (Image.open(p).convert("RGBA") for p in (path, dark_picture(path)))
    assert paper.getpixel((0, 0)) == (255, 255, 255, 255)
    assert dark.getpixel((0, 0))[3] == 0
    assert figure.axes[0].lines[0].get_color() == "#d5d9e0"


def test_a_picture_needs_words(tmp_path):
    figure = Figure()
    page = execute.Page("made_up", tmp_path)
    page._scope["figure"] = figure
    with pytest.raises(ValueError, match="needs words"):
        page.add("code", "", "figure")


def test_new_text_keeps_outputs(tmp_path, monkeypatch):
    monkeypatch.setattr(execute, "GUIDES", tmp_path)
    text = "# %% [markdown]\n# Before\n\n# %%\n1 + 1\n\n# %% [markdown]\n# After\n"
    (tmp_path / "made_up.py").write_text(text)
    page = execute.Page("made_up", tmp_path)
    for cell in execute.cells(text):
        page.add(*cell)
    assert execute.with_new_text("made_up", page.text()) == page.text()
    (tmp_path / "made_up.py").write_text(text.replace("After", "Later"))
    later = execute.with_new_text("made_up", page.text())
    assert later == page.text().replace("After", "Later")
    (tmp_path / "made_up.py").write_text(text.replace("1 + 1", "1 + 2"))
    with pytest.raises(ValueError, match="run it"):
        execute.with_new_text("made_up", page.text())
