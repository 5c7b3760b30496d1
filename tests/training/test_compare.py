"""Tables of results: mean, deviation, published figures, short runs."""

import functools
import json
import re

import pytest

from keras_gradattn import datasets
from keras_gradattn.paper import published
from keras_gradattn.training import MODELS
from keras_gradattn.training.comparison import compare as compare_alone
from keras_gradattn.training.comparison import mean_and_deviation, table
from tests.studies.made_up_results import write_result

pytestmark = pytest.mark.any_backend


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch):
    """Every row of a table in one line."""
    monkeypatch.setenv("COLUMNS", "250")


compare = functools.partial(compare_alone, published=published)


def test_published_figures():
    runs = [published(d, m) for d in datasets.SPECS for m in MODELS]
    assert sum(run is not None for run in runs) == 36
    assert published("fashion_mnist", "gradattn_v2")["test_top1"] == 75.18
    assert published("fashion_mnist", "resnet18")["test_top1"] == 64.11
    assert published("pad_ufes_20", "resnet18")["test_top1"] == 55.49
    assert published("digits", "resnet18") is None


def test_mean_and_sample_deviation_over_seeds(tmp_path):
    for seed, accuracy in enumerate((0.80, 0.82, 0.84)):
        write_result(tmp_path, seed=seed, accuracy=accuracy)
    line = compare(tmp_path).splitlines()[1]
    assert "82.00 ± 2.00" in line
    assert "64.11" in line
    assert "+17.89" in line
    assert "fashion_mnist  resnet18  as_described  3 " in line


def test_nothing_is_compared_with_the_published_figures_unless_asked(tmp_path):
    write_result(tmp_path)
    header, line = compare_alone(tmp_path).splitlines()
    assert "published" not in header
    assert "64.11" not in line


def test_one_seed_has_no_deviation(tmp_path):
    write_result(tmp_path)
    assert "±" not in compare(tmp_path)


def test_different_configurations_are_never_averaged(tmp_path):
    write_result(tmp_path, seed=0, accuracy=0.8)
    write_result(tmp_path, seed=1, accuracy=0.9, limit=100)
    write_result(tmp_path, seed=2, accuracy=0.7, options={"width": 8})
    lines = compare(tmp_path).splitlines()
    assert len(lines) == 4
    assert "±" not in "\n".join(lines)
    assert any("100 images a split" in line for line in lines)
    assert any("width=8" in line for line in lines)


def test_short_runs_are_marked(tmp_path):
    write_result(tmp_path, seed=0, short=True)
    write_result(tmp_path, seed=1)
    line = compare(tmp_path).splitlines()[1]
    assert line.endswith("1 short")
    assert "64.11" in line
    assert not re.search(r"[+-]\d", line)


def test_markdown_has_as_many_cells_in_every_line(tmp_path):
    write_result(tmp_path)
    write_result(tmp_path, dataset="pbc28", model="gradattn_v1")
    lines = compare(tmp_path, style="markdown").splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert set(lines[1]) <= set("|- ")


def test_other_json_files_are_left_alone(tmp_path):
    write_result(tmp_path)
    (tmp_path / "notes.json").write_text(json.dumps(["mine"]))
    assert len(compare(tmp_path).splitlines()) == 2


def test_a_half_written_file_is_not_read(tmp_path):
    write_result(tmp_path)
    (tmp_path / ".x.json.abc.partial").write_text('{"configuration":')
    assert len(compare(tmp_path).splitlines()) == 2


def test_damaged_and_missing_results_are_named(tmp_path):
    with pytest.raises(ValueError, match="no finished experiment"):
        compare(tmp_path)
    path = write_result(tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=path.name):
        compare(tmp_path)


def test_unknown_style():
    with pytest.raises(ValueError, match="style='latex'"):
        table(("a",), [("b",)], "latex")


def test_deviation_is_the_sample_s():
    assert mean_and_deviation([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))
