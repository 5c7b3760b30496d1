"""Turns, medians and ratios, against what one finds by hand."""

import contextlib
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import steps
from benchmarks.speed import memory
from benchmarks.speed.contenders import Task, as_request, from_request, ours
from benchmarks.speed.processes import Worker, WorkerError, workers
from benchmarks.speed.ratios import fastest, speed_ratio
from benchmarks.speed.turns import alternate


def test_turns_go_forth_and_back_and_each_begins_with_a_step_that_does_not_count():
    calls = []

    def turn(name, seconds):
        def run(count):
            calls.append((name, count))
            return seconds * len(calls) if count == 5 else 1000.0

        return run

    seconds = alternate([turn("a", 1.0), turn("b", 10.0)], rounds=2, steps_per_round=5)

    assert calls == [
        *(("a", 1), ("a", 5), ("b", 1), ("b", 5)),
        *(("b", 1), ("b", 5), ("a", 1), ("a", 5)),
    ]
    assert seconds == [[2.0, 8.0], [40.0, 60.0]]


def test_ratio_is_the_median_of_ratios_within_rounds():
    # 10 / 5, 30 / 10 and 20 / 20; the ratio of the medians would be 2 by other rounds.
    ratio = speed_ratio([10.0, 30.0, 20.0], [5.0, 10.0, 20.0])

    assert ratio.median == 2.0
    # Of the 27 samples of three, 7 have the median 1 and 7 the median 3: over 2.5 %.
    assert (ratio.low, ratio.high) == (1.0, 3.0)


def test_interval_of_a_constant_ratio_is_a_point():
    random = np.random.default_rng(0)
    reference = random.uniform(1, 2, 20)

    assert speed_ratio(reference, reference / 4) == (4.0, 4.0, 4.0)


def test_interval_narrows_with_the_rounds():
    random = np.random.default_rng(0)

    def width(rounds):
        ratio = speed_ratio(random.normal(1, 0.1, rounds), np.ones(rounds))
        return ratio.high - ratio.low

    assert width(400) < width(25) / 2


def test_fastest_has_the_smallest_median():
    assert fastest({"a": [1.0, 9.0, 9.0], "b": [5.0, 5.0, 5.0]}) == "b"


def test_requests_survive_json():
    task = Task(size=64, arguments={"stage_blocks": [3, 4, 6, 3]})
    contender = ours("jax", jit=False, steps_per_execution=4)

    assert from_request(as_request(contender, task)) == (contender, task)


def result_of(size, milliseconds, reference="pytorch eager"):
    contenders = {
        name: {
            "median_step_ms": ms,
            "images_per_second": 128e3 / ms,
            "teraflops": 0.25,
            "times_as_fast": {
                "median": milliseconds[reference] / ms,
                "low": 0.5,
                "high": 3.5,
            },
            "compile_and_first_step_seconds": 12.34,
            "peak_growth": 300 * 2**20,
            "peak_growth_by_phase": {"build": 100 * 2**20},
            "seconds_per_step_of_fit": [0.1, 0.3, 0.2],
        }
        for name, ms in milliseconds.items()
    }
    return {
        "task": vars(Task(size=size)),
        "title": Task(size=size).title,
        "reference": reference,
        "peak_teraflops": 2.5,
        "contenders": contenders,
        "not_measured": {"keras-hub jax": "ImportError: no such module"},
    }


def test_table_says_what_was_measured_and_what_was_not():
    text = steps.table(result_of(28, {"keras jax": 160.0, "pytorch eager": 240.0}))

    assert text.startswith("GradAttnV1, training, 28 x 28 x 1, batch 128, float32")
    assert "| keras jax | 160.0 | 800 | 0.25 (10%) | 1.50 (0.50-3.50) | 12.3 |" in text
    assert "| 300 | 100 | 200.0 |" in text
    assert "| pytorch eager (reference) | 240.0 | 533 | 0.25 (10%) | 1.00" in text
    assert "keras-hub jax | not measured: ImportError: no such module" in text


def test_ratios_are_averaged_over_sizes():
    text = steps.means_over_sizes(
        [
            result_of(28, {"keras jax": 100.0, "pytorch eager": 200.0}),
            result_of(32, {"keras jax": 200.0, "pytorch eager": 200.0}),
        ]
    )

    assert "mean of the ratios over 28, 32 px" in text
    assert "| keras jax | 1.50 |" in text


def test_contenders_of_a_table():
    command = "--backends jax torch --steps-per-execution 4"
    options = steps.parse(f"{command} --alongside stock keras-hub eager".split())

    names = [c.name for c in steps.contenders(options, "GradAttnV1")]
    with_hub = [c.name for c in steps.contenders(options, "ResNet18")]
    executions = {
        c.name: c.steps_per_execution for c in steps.contenders(options, "GradAttnV1")
    }

    assert names == [
        *("keras jax", "keras jax stock", "keras torch", "keras torch stock"),
        *("pytorch eager", "pytorch eager channels-last"),
    ]
    assert set(with_hub) - set(names) == {"keras-hub jax", "keras-hub torch"}
    assert executions["keras jax"] == 4
    assert executions["keras torch"] == 1


@pytest.mark.parametrize("together", [False, True])
def test_a_worker_that_fails_is_named_and_the_others_go_on(together):
    closed, said = [], []

    def start(contender, task, environment):
        if contender.name == "keras torch":
            raise WorkerError("ImportError: no module")
        return SimpleNamespace(
            contender=contender,
            start={"compile_and_first_step_seconds": 1.0},
            close=lambda: closed.append(contender.name),
        )

    taking_part = [ours("torch"), ours("jax")]
    with workers(taking_part, Task(), said.append, start, together) as (ready, failed):
        names = [worker.contender.name for worker in ready]

    assert names == ["keras jax"] == closed
    assert failed == {"keras torch": "ImportError: no module"}
    assert "keras torch: not measured: ImportError: no module" in said


@pytest.mark.parametrize("together", [False, True])
def test_workers_start_together_when_told_and_keep_their_order(together):
    both_started = threading.Barrier(2, timeout=0.5 if not together else 30)

    def start(contender, task, environment):
        try:
            both_started.wait()
        except threading.BrokenBarrierError:
            raise WorkerError("alone") from None
        return SimpleNamespace(
            contender=contender,
            start={"compile_and_first_step_seconds": 1.0},
            close=lambda: None,
        )

    taking_part = [ours("torch"), ours("jax")]
    with workers(taking_part, Task(), print, start, together) as (ready, failed):
        names = [worker.contender.name for worker in ready]

    assert names == (["keras torch", "keras jax"] if together else [])
    assert len(failed) == (0 if together else 2)


def test_tables_whose_contenders_start_together_are_measured_one_by_one(monkeypatch):
    open_tasks, measured = set(), []

    @contextlib.contextmanager
    def fake_workers(taking_part, task, report, together):
        assert together
        open_tasks.add(task)
        yield [], {}
        open_tasks.remove(task)

    def fake_figures(options, task, ready, failed, say):
        measured.append((task.batch, len(open_tasks)))
        return {}

    monkeypatch.setattr(steps, "workers", fake_workers)
    monkeypatch.setattr(steps, "_figures", fake_figures)
    monkeypatch.setattr(Task, "__hash__", lambda task: task.batch)

    list(steps.measure(steps.parse(["--together"]), [Task(batch=4), Task(batch=8)]))

    assert measured == [(4, 2), (8, 2)]
    assert not open_tasks


def test_a_process_that_fails_leaves_its_last_words(backend):
    with pytest.raises(WorkerError, match="GradAttnV9"):
        Worker(ours(backend), Task(network="GradAttnV9"))


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are Linux's")
def test_peak_memory_is_forgotten_and_seen():
    code = """
import numpy as np
from benchmarks.speed.memory import forget_peak, peak_resident_bytes, resident_bytes
mebibyte = 2**20
np.ones(256 * mebibyte, "uint8")
assert peak_resident_bytes() - resident_bytes() > 200 * mebibyte
forget_peak()
assert peak_resident_bytes() - resident_bytes() < 50 * mebibyte
before = resident_bytes()
np.ones(128 * mebibyte, "uint8")
growth = (peak_resident_bytes() - before) / mebibyte
assert 120 < growth < 140, growth
"""
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert finished.returncode == 0, finished.stderr
    assert memory.resident_bytes() > 0
