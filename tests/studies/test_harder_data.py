"""The page of results from JSONs: every figure, every gap."""

import json

import numpy as np
import pytest

from studies import harder_data
from studies.cells import BLOCKS, SEEDS

pytestmark = pytest.mark.any_backend


def write_run(folder, cell, seed, top1):
    content = {
        "parameters": 1234,
        "metrics": {"top1": top1},
        "history": {"val_accuracy": [0.1, 0.2], "loss": [3.0, 2.5]},
    }
    if cell.model == "gradattn_pathways":
        content["pathways"] = {"movement": {"a": [0.25, 0.75], "b": [0.5, 0.5]}}
        if "mixing" not in cell.options:
            content["pathways"]["frozen_top1"] = top1 - 0.01
    path = folder / f"{cell.name(seed)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def lines_with(page, *words):
    return [line for line in page.splitlines() if all(word in line for word in words)]


def test_an_empty_folder_gives_a_page_of_gaps(tmp_path):
    page = harder_data.report(tmp_path)
    cells = sum(map(len, BLOCKS.values()))
    assert f"0 of {cells * len(SEEDS)} runs are finished" in page
    (row,) = lines_with(page, "| A1 |")
    assert row.endswith("ResNet-18 (modern reduced) | 1, 2, 3 |")
    assert len(lines_with(page, "1, 2, 3 |")) == len(BLOCKS)
    assert "better" not in page


def test_figures_are_those_of_the_runs(tmp_path):
    attention, equal, *_ = BLOCKS["A1"]
    for seed, offset in zip(SEEDS, (0.0, 0.001, 0.002), strict=True):
        write_run(tmp_path, attention, seed, 0.20 + offset)
        write_run(tmp_path, equal, seed, 0.25 + offset)
    page = harder_data.report(tmp_path)

    (row,) = lines_with(page, "| pathways, attention | modern reduced | 3 of 3")
    assert row.split(" | ")[3:] == [
        "20.10 ± 0.10",
        "20.00 ± 0.00",
        "2.500 ± 0.000",
        "1,234 |",
    ]
    (row,) = lines_with(page, "| pathways, attention - pathways, equal |")
    assert row.split(" | ")[1] == "-5.00"
    assert row.endswith("| worse |")
    (row,) = lines_with(page, "| pathways, attention, seed 2 |")
    assert row.split(" | ")[1:] == ["20.10", "19.10", "0.500 |"]
    assert "* pathways, attention - pathways, equal: -5.00 points, is worse." in page


def test_two_seeds_decide_nothing(tmp_path):
    attention, equal, *_ = BLOCKS["A1"]
    for seed in SEEDS[:2]:
        write_run(tmp_path, attention, seed, 0.2 + seed / 1000)
        write_run(tmp_path, equal, seed, 0.3 + seed / 1000)
    page = harder_data.report(tmp_path)
    (row,) = lines_with(page, "| pathways, attention - pathways, equal |")
    assert row.endswith("| not decided |")
    assert lines_with(page, "| A1 | pathways, attention (", "| 3 |")
    assert lines_with(page, "| A1 | pathways, static (", "| 1, 2, 3 |")


def test_tables_have_at_most_seven_columns(tmp_path):
    for cell, seed in harder_data_runs():
        write_run(tmp_path, cell, seed, 0.2 + np.sin(seed) / 100)
    page = harder_data.report(tmp_path)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert rows
    assert max(line.count("|") - 1 for line in rows) <= 7
    assert "What is missing" not in page


def harder_data_runs():
    return [(c, s) for cells in BLOCKS.values() for c in cells for s in SEEDS]


def test_the_command_writes_the_page(tmp_path):
    output = tmp_path / "page.md"
    harder_data.main(["--runs", str(tmp_path), "--output", str(output)])
    assert output.read_text() == harder_data.report(tmp_path)
