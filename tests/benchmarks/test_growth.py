"""Sweeps: what is left out, what is saved, what is drawn."""

import json

import pytest

from benchmarks import growth
from benchmarks.speed.contenders import Task

SWEEP = {
    size: Task(size=size, batch=32, num_classes=10, arguments={"stage_blocks": [2, 2]})
    for size in (10, 20, 40)
}


def test_work_is_proportional_to_pixels_batch_blocks_and_tokens():
    one = growth.work(Task(size=28, batch=1))

    assert growth.work(Task(size=56, batch=1)) == 4 * one
    assert growth.work(Task(size=28, batch=8)) == 8 * one
    assert (
        growth.work(Task(size=28, batch=1, arguments={"stage_blocks": (3, 4, 6, 3)}))
        == 2 * one
    )
    few, many = (Task(network="Encoder", arguments={"tokens": t}) for t in (5, 50))
    assert growth.work(many) == 10 * growth.work(few)


def test_prediction_scales_the_last_measured_point():
    points = {10: {"seconds_per_step": 0.5}, 20: {"failed": "out of memory"}}

    assert growth.predicted_seconds({}, SWEEP, 10) is None
    assert growth.predicted_seconds(points, SWEEP, 40) == pytest.approx(8.0)


@pytest.mark.any_backend
def test_long_points_are_left_out_saved_and_named(monkeypatch, tmp_path, capsys):
    def measure_point(contender, task, seconds):
        return {"seconds_per_step": task.size**2 / 100, "peak_growth": 2**20}

    monkeypatch.setattr(growth, "measure_point", measure_point)
    monkeypatch.setattr(growth, "SWEEPS", {"image size": SWEEP})

    kept = {"tokens": {"5": {"seconds_per_step": 1.0, "peak_growth": None}}}
    (tmp_path / "jax.json").write_text(json.dumps({"sweeps": kept}))

    growth.main(
        ["--contenders", "jax", "--sweeps", "image size", "--output", str(tmp_path)]
    )

    printed = capsys.readouterr().out
    sweeps = json.loads((tmp_path / "jax.json").read_text())["sweeps"]
    assert sweeps["tokens"] == kept["tokens"]
    saved = sweeps["image size"]
    assert saved["20"]["seconds_per_step"] == 4.0
    assert saved["40"] == {"left_out": "about 16 s a step"}
    assert "image size 40: left out, about 16 s a step" in printed
    assert "| image size 20 (V1, batch 32) | 4,000.0 |" in printed
    assert (tmp_path / "growth.png").stat().st_size > 1000


@pytest.mark.any_backend
def test_a_coarse_grid_keeps_the_ends(monkeypatch, tmp_path):
    def measure_point(contender, task, seconds):
        return {"seconds_per_step": 0.1, "peak_growth": 2**20}

    sweep = {size: Task(size=size) for size in (10, 20, 30, 40)}
    monkeypatch.setattr(growth, "measure_point", measure_point)
    monkeypatch.setattr(growth, "SWEEPS", {"image size": sweep, "batch": SWEEP})

    growth.main(["--contenders", "jax", "--coarse", "--output", str(tmp_path)])

    sweeps = json.loads((tmp_path / "jax.json").read_text())["sweeps"]
    measured = [s for s, p in sweeps["image size"].items() if "left_out" not in p]
    assert measured == ["10", "30", "40"]
    assert not any("left_out" in point for point in sweeps["batch"].values())


def test_a_point_is_measured_in_a_process(backend):
    task = Task(network="Encoder", batch=2, arguments={"tokens": 3})

    point = growth.measure_point(growth.CONTENDERS[backend], task, seconds=0.2)
    peer = growth.measure_point(growth.CONTENDERS["pytorch"], task, seconds=0.2)

    assert point["seconds_per_step"] > 0
    assert point["parameters"] == peer["parameters"]


@pytest.mark.any_backend
def test_a_point_that_fails_says_why(backend):
    task = Task(network="GradAttnV9")

    point = growth.measure_point(growth.CONTENDERS[backend], task, seconds=0.2)

    assert "GradAttnV9" in point["failed"]
