"""The committed runs: in the newest format, named by what they are, told truly."""

import re

import pytest

from docs.pictures import dark_picture
from keras_gradattn.training.results import FORMAT, read_results
from keras_gradattn.training.run_name import run_name
from studies import harder_data, insert_figures, report
from studies.table import MOST_COLUMNS

pytestmark = pytest.mark.any_backend
RUNS = report.FOLDER / "runs"
PAGES = sorted(report.FOLDER.glob("*.md"))


@pytest.fixture(scope="module")
def experiments():
    return read_results(RUNS)


def test_each_file_is_named_by_its_configuration(experiments):
    for experiment in experiments:
        assert experiment["format"] == FORMAT
        assert experiment["file"] == run_name(experiment["configuration"]) + ".json"


def test_each_run_has_what_the_format_says(experiments):
    fields = (report.FOLDER / "FORMAT.md").read_text("utf-8")
    for experiment in experiments:
        for name in experiment.keys() - {"file"}:
            assert f"`{name}`" in fields or f"`{name}." in fields, name
        for name in experiment["gradients"]["test"]:
            assert f"`{name}`" in fields, name


def test_removed_options_are_marked_and_others_are_not(experiments):
    for experiment in experiments:
        removed = experiment.get("removed_in", {})
        assert set(removed) <= set(experiment["configuration"]["model_options"])
        assert set(removed.values()) <= {"0.2"}


def test_released_runs_say_what_they_lack(experiments):
    found = [
        e
        for e in experiments
        if e["configuration"]["recipe"]["name"].startswith("as_released")
        and e["configuration"]["model"] in ("gradattn_v1", "gradattn_v2")
    ]
    assert len(found) >= 3
    for experiment in found:
        has_blocks = experiment["configuration"]["recipe"]["released_blocks"]
        assert has_blocks != bool(experiment.get("remarks"))


def test_all_runs_together_are_small():
    assert sum(path.stat().st_size for path in RUNS.rglob("*.json")) < 5_000_000


def test_no_text_has_drifted():
    texts = sorted(
        {p for text in insert_figures.TEXTS for p in insert_figures.ROOT.glob(text)}
    )
    assert report.FOLDER / "README.md" in texts
    assert insert_figures.check(texts) == []
    assert report.drifted() == []
    page = (report.FOLDER / "RESULTS_HARDER_DATA.md").read_text("utf-8")
    assert page == harder_data.report(report.FOLDER / "runs_harder_data")


def test_every_picture_is_shown_and_every_link_leads_somewhere():
    texts = [*PAGES, insert_figures.ROOT / "README.md"]
    shown = set()
    for page in texts:
        for link in re.findall(r"!\[[^\]]*\]\(([^)]+\.png)\)", page.read_text("utf-8")):
            path = (page.parent / link).resolve()
            assert path.exists(), (page, link)
            shown |= {path, dark_picture(path)}
    assert set((report.FOLDER / "figures").iterdir()) <= shown


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_no_table_is_wider_than_a_reader_takes_in(page):
    lines = re.sub(r"<!--.*?-->", "", page.read_text("utf-8")).splitlines()
    for line in lines:
        if line.startswith("|"):
            assert line.count("|") - 1 <= MOST_COLUMNS
