"""The queue skips what is there, and goes on after a failure."""

import sys

import pytest

from studies import queue
from studies.cells import Cell

pytestmark = pytest.mark.any_backend


@pytest.fixture
def two_cells(monkeypatch):
    """Two runs, each of which writes its JSON unless it is to fail."""
    cells = [Cell("A", "d", "m", recipe, 1) for recipe in ("first", "second")]
    monkeypatch.setattr(queue, "runs", lambda: [(cell, 1) for cell in cells])
    failing = set()

    def command(core, name, options):
        code = "import sys; open(sys.argv[1], 'x'); print('done')"
        if name in failing:
            code = "raise SystemExit('broken')"
        return [sys.executable, "-c", code, str(options.results / f"{name}.json")]

    monkeypatch.setattr(queue, "_command", command)
    return [cell.name(1) for cell in cells], failing


def start(tmp_path, *cores):
    arguments = ["--data-dir", "d", "--results", str(tmp_path), "--cores", *cores]
    return queue.main(arguments)


def written(tmp_path):
    paths = tmp_path.rglob("*.json")
    return {path.relative_to(tmp_path).with_suffix("").as_posix() for path in paths}


@pytest.mark.parametrize("cores", [("0",), ("0", "1")])
def test_every_run_is_made_once(tmp_path, two_cells, capsys, cores):
    names, _ = two_cells
    assert start(tmp_path, *cores) == 0
    assert written(tmp_path) == set(names)
    assert capsys.readouterr().out.count("finished") == 2
    # Opening with "x" would fail a second time.
    assert start(tmp_path, *cores) == 0
    assert capsys.readouterr().out == ""


def test_a_failure_does_not_end_the_rest(tmp_path, two_cells, capsys):
    names, failing = two_cells
    failing.add(names[0])
    start(tmp_path, "0")
    assert written(tmp_path) == set(names[1:])
    assert f"FAILED (1) {names[0]}" in capsys.readouterr().out
    assert "broken" in (tmp_path / f"{names[0]}.log").read_text()
    failing.clear()
    start(tmp_path, "0")
    assert written(tmp_path) == set(names)


def test_commands_name_core_data_and_run(tmp_path):
    options = queue.argparse.Namespace(data_dir="data", results=tmp_path)
    command = queue._command(1, "name", options)
    assert command[:3] == ["nice", "-n", "19"]
    assert command[command.index("taskset") :][:3] == ["taskset", "-c", "1"]
    assert command[-6:] == [
        "studies.one_run", "--data-dir", "data", "--results", str(tmp_path), "name"
    ]  # fmt: skip


def test_the_session_of_a_terminal_keeps_its_weight(monkeypatch):
    monkeypatch.setattr(queue.os, "getsid", lambda process: queue.os.getpid() + 1)

    def refuse(*_, **__):
        raise AssertionError("written")

    monkeypatch.setattr(queue.pathlib.Path, "write_text", refuse)
    queue._lower_session()
