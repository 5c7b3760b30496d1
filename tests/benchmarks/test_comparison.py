"""Who is measured, what the JSON and the tables say, and that a README follows them."""

import json
import os
import re

import numpy as np
import pytest

from benchmarks import insert_tables
from benchmarks.harness.comparison import Comparison, Contender, measure
from benchmarks.harness.processes import Worker, WorkerError
from benchmarks.harness.session import Session, Work
from benchmarks.harness.table import table

pytestmark = pytest.mark.any_backend
HERE = "tests.benchmarks.test_comparison"


class Sleeper(Work):
    """Does nothing, but says in which process and on which backend."""

    parts = ("", "other")

    def __init__(self, text=""):
        self.text = text
        self.calls = []

    def run(self, count, part):
        self.calls.append((count, part))
        return 2 * count

    def details(self):
        return {
            "process": os.getpid(),
            "backend": os.environ["KERAS_BACKEND"],
            "calls": self.calls,
        }


SECONDS = {"slow": 4.0, "middle": 2.0, "fast": 1.0}


class Fake:
    """A worker whose turns take what its name says."""

    def __init__(self, make, arguments, backend):
        if make == "broken":
            raise WorkerError("ImportError: no module")
        self.name = make
        self.started.append(make)
        self.start = {
            "compile_and_first_step_seconds": 10 * SECONDS[make],
            "compile_and_first_step_cpu_seconds": 5.0,
            "parameters": 1234,
        }

    def run(self, count, part):
        own = SECONDS[self.name] * (3 if part == "thrice" else 1)
        return {"seconds": own, "cpu_seconds": own / 2}

    def memory(self):
        return {"peak_growth": 2**20 * int(SECONDS[self.name])}

    def close(self):
        self.closed.append(self.name)


def compared(*contenders, starts=1, columns=("step ms", "times as fast (95 %)")):
    Fake.started, Fake.closed = [], []
    comparison = Comparison(
        "Title", "label", contenders, columns, rounds=2, steps=1, starts=starts
    )
    return measure(comparison, lambda text: None, Fake)


def test_others_are_compared_with_the_faster_reference():
    result = compared(
        Contender("ours", "fast", "jax"),
        Contender("peer", "slow", "torch", is_reference=True),
        Contender("other peer", "middle", "torch", is_reference=True),
    )

    assert result["reference"] == "other peer"
    ours = result["contenders"]["ours"]
    assert ours["times_as_fast"]["median"] == 2.0
    assert ours["times_the_time"]["median"] == 0.5
    assert ours["times_the_cpu_time"]["median"] == 0.5
    assert ours["times_the_first_time"]["median"] == 0.5
    assert ours["seconds_per_step"] == [1.0, 1.0]
    assert ours["median_step_ms"] == 1000.0
    assert Fake.closed == ["middle", "slow", "fast"]


def test_parts_of_a_work_share_its_process():
    result = compared(
        Contender("plain", "fast", "jax", is_reference=True),
        Contender("recorded", "fast", "jax", part="thrice"),
    )

    assert Fake.started == Fake.closed == ["fast"]
    assert result["contenders"]["recorded"]["times_the_time"]["median"] == 3.0


def test_processes_start_anew_and_in_the_other_order():
    result = compared(
        Contender("a", "fast", "jax", is_reference=True),
        Contender("b", "middle", "jax"),
        starts=2,
    )

    assert Fake.started == ["fast", "middle", "middle", "fast"]
    b = result["contenders"]["b"]
    assert b["compile_and_first_step_seconds"] == [20.0, 20.0]
    assert len(b["seconds_per_step"]) == 4
    assert b["times_the_first_time"] == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_who_fails_is_named_and_the_others_go_on():
    result = compared(
        Contender("a", "broken", "jax"), Contender("b", "fast", "jax"), starts=2
    )

    assert list(result["contenders"]) == ["b"]
    assert result["reference"] is None
    assert result["not_measured"] == {"a": "ImportError: no module"}
    assert "| a | not measured: ImportError: no module |  |" in table([result])
    assert "| b | 1,000.0 |  |" in table([result])


def test_table_says_what_was_measured():
    columns = ("parameters", "reference ms", "times the time (95 %)", "first s")
    result = compared(
        Contender("ours", "middle", "jax"),
        Contender("peer", "fast", "torch", is_reference=True),
        columns=(*columns, "CPU ms", "memory MiB (ratio)"),
    )

    lines = table([result]).splitlines()

    assert lines[2:] == [
        "| ours | 1,234 | 1,000.0 | 2.00 (2.00-2.00) | 20.0 | 1,000.0 | 2 (2.00) |",
        "| peer (reference) | 1,234 | 1,000.0 | 1.00 (1.00-1.00) | 10.0 | 500.0 | 1 |",
    ]
    several = table([result, result], only="ours").splitlines()
    assert [line.split(" |")[0] for line in several[2:]] == ["| label, ours"] * 2


def test_a_process_has_its_backend_and_is_asked_by_parts():
    worker = Worker(f"{HERE}:Sleeper", {"text": "a"}, "tensorflow")

    try:
        assert worker.start["process"] != os.getpid()
        assert worker.start["backend"] == "tensorflow"
        assert worker.run(3, "other")["seconds"] < 1
        assert worker.memory()["peak_growth"] is None or (
            worker.memory()["peak_growth"] < 2**24
        )
    finally:
        worker.close()


def test_a_process_that_fails_leaves_its_last_words():
    with pytest.raises(WorkerError, match="no_such"):
        Worker(f"{HERE}:Sleeper", {"no_such": 1}, "torch")


def test_every_part_runs_once_before_it_is_timed():
    session = Session(f"{HERE}:Sleeper", {})

    assert session.start["calls"] == [(1, ""), (1, "other")]
    assert session.start["compile_and_first_step_seconds"] < 1


class Hungry(Work):
    """Takes 128 MiB for a while."""

    def run(self, count, part):
        np.ones(128 * 2**20, "uint8")
        return count


def test_peak_memory_is_what_the_work_took():
    np.ones(256 * 2**20, "uint8")  # Before it begins, so forgotten.

    growth = Session(f"{HERE}:Hungry", {}).memory()["peak_growth"]

    assert growth is None or 120 < growth / 2**20 < 140


def test_readme_says_what_the_jsons_say():
    assert insert_tables.main(["--check"]) == 0


def test_a_table_that_drifted_is_found_and_mended(tmp_path, monkeypatch, capsys):
    readme = tmp_path / "README.md"
    monkeypatch.setattr(insert_tables, "README", readme)
    monkeypatch.setattr(insert_tables.inserted, "__defaults__", (tmp_path,))
    result = compared(Contender("b", "fast", "jax"))
    (tmp_path / "one.json").write_text(json.dumps({"results": [result]}))
    readme.write_text("<!-- table: one.json -->\nold\n<!-- /table -->\n")

    assert insert_tables.main(["--check"]) == 1
    assert "old" in readme.read_text()
    assert insert_tables.main([]) == 0
    assert "| b | 1,000.0 |" in readme.read_text()
    assert insert_tables.main(["--check"]) == 0

    with pytest.raises(ValueError, match="Received: none"):
        insert_tables.inserted("<!-- table: none.json -->\n<!-- /table -->")
    with pytest.raises(ValueError, match="must be closed"):
        insert_tables.inserted("<!-- table: one.json -->\n")


def test_imports_run_one_way():
    folder = insert_tables.README.parent

    def imported(name):
        texts = [file.read_text() for file in folder.glob(f"{name}/*.py")]
        assert texts
        return set(re.findall(r"^\s*from benchmarks\.?(\w*)", "\n".join(texts), re.M))

    assert imported("harness") == {"harness"}
    assert imported("works") == {"harness", "works"}
