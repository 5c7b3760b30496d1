"""Many runs: each once, and a crash ends itself only."""

import functools
import json
import os
import subprocess
import sys
import types

import pytest

from keras_gradattn import __main__, datasets, training
from keras_gradattn.training import _sweep
from keras_gradattn.training._sweep import run_command, sweep
from tests.datasets.image_folders import write_classes

pytestmark = pytest.mark.any_backend


@pytest.fixture
def started(monkeypatch):
    """Commands that would be run; each writes its result, but seed 2 crashes."""
    commands = []

    def run(arguments, environment):
        commands.append(list(arguments))
        options = __main__._parser().parse_args(arguments)
        plan = _sweep.plan_run(
            options.dataset,
            options.model,
            training.RECIPES["modern"].with_changes(
                **__main__.assignments(options.set)
            ),
            options.seed[0],
            max_epochs=options.epochs,
            model_options=__main__.assignments(options.model_option),
        )
        if options.seed == [2]:
            return -11, "one line\nand the last one\n"
        path = _sweep.Path(options.results) / f"{plan.name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({}))
        return 0, ""

    monkeypatch.setattr(_sweep, "run_command", run)
    return commands


def sweep_digits(folder, **options):
    return sweep(
        "digits",
        ["resnet18", "se_resnet18"],
        seeds=[1, 2],
        vary={"learning_rate": [1e-3, 3e-4]},
        vary_model={"stage_filters": [[4] * 4, [8] * 4]},
        results=folder,
        max_epochs=2,
        pictures=False,
        **options,
    )


def test_all_combinations_and_a_crash_in_the_middle(tmp_path, started):
    trials = sweep_digits(tmp_path)
    assert len(trials) == len(started) == 16
    assert len({trial.name for trial in trials}) == 16
    assert [trial.status for trial in trials] == ["finished", "failed"] * 8
    assert "and the last one\n(exit code -11" in trials[1].message
    assert trials[0].name == (
        "digits/resnet18,stage_filters=4-4-4-4/modern,learning_rate=0.001,epochs=2/seed1"
    )
    (log,) = tmp_path.glob(f"{trials[1].name}.log")
    assert log.read_text() == "one line\nand the last one\n"
    assert started[0].count("--no-pictures") == 1


def test_what_is_finished_is_not_run_again(tmp_path, started):
    sweep_digits(tmp_path)
    started.clear()
    told = []
    trials = sweep_digits(tmp_path, told=told.append, workers=2)
    assert len(started) == 8
    assert all("2" in words[words.index("--seed") + 1] for words in started)
    assert [trial.status for trial in trials] == ["found", "failed"] * 8
    assert {trial.name for trial in told} == {trial.name for trial in trials}


def test_what_is_asked_for_twice_is_one_run(tmp_path, started):
    trials = sweep(
        "digits",
        ["resnet18"],
        seeds=[1, 3, 1],
        vary={"learning_rate": [1e-3, 0.001]},
        workers=2,
        results=tmp_path,
        max_epochs=2,
        pictures=False,
    )
    assert [trial.status for trial in trials] == ["finished", "finished"]
    assert [trial.name[-5:] for trial in trials] == ["seed1", "seed3"]
    assert len(started) == 2


def test_what_was_found_and_lacks_what_is_wanted(tmp_path, started):
    def swept(**options):
        return sweep("digits", ["resnet18"], results=tmp_path, max_epochs=2, **options)

    (trial,) = swept(pictures=False)
    assert trial.message == ""
    (trial,) = swept(pictures=False)
    assert (trial.status, trial.message) == ("found", "")
    (trial,) = swept(save_model=True)
    assert trial.status == "found"
    assert trial.message == (
        f"{tmp_path / trial.name}.json: there is no model and no pictures of this run. "
        "Choose another results folder or move the JSON away, and the same command "
        "makes it"
    )
    (tmp_path / f"{trial.name}.keras").touch()
    (tmp_path / f"{trial.name}-history.png").touch()
    assert [trial.message for trial in swept(save_model=True)] == [""]
    assert len(started) == 1


def test_a_log_is_written_whole_or_not_at_all(tmp_path, started, monkeypatch):
    def swept():
        return sweep("digits", ["resnet18"], seeds=[2], results=tmp_path, max_epochs=2)

    swept()
    (log,) = tmp_path.rglob("*.log")
    log.write_text("of before")

    def full(handle):
        raise OSError(28, "full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="full"):
        swept()
    assert [path.name for path in log.parent.iterdir()] == [log.name]
    assert log.read_text() == "of before"


def test_wrong_words_are_found_before_anything_is_run(tmp_path, started):
    for options, message in (
        ({"vary": {"learnin_rate": [1]}}, "Did you mean 'learning_rate'"),
        ({"vary": {"learning_rate": 1}}, "a list of values"),
        ({"vary_model": {"stage_filter": [1]}}, "Did you mean 'stage_filters'"),
        ({"models": ["resnet_18"]}, "Did you mean 'resnet18'"),
        ({"engine": "spark"}, "'local' or 'ray'"),
        ({"max_epoch": 1}, "Did you mean 'max_epochs'"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep("digits", results=tmp_path, **options)
    with pytest.raises(ValueError, match=r"reads the data by itself.*type list"):
        sweep([1, 2], results=tmp_path)
    assert started == []


def test_ray_says_what_to_install(tmp_path, monkeypatch, started):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"keras-gradattn\[sweep\]"):
        sweep("digits", results=tmp_path, engine="ray")


def test_command_line_counts_what_failed(tmp_path, started, capsys):
    code = __main__.main(
        [
            *("sweep", "--dataset", "digits", "--model", "resnet18", "se_resnet18"),
            *("--seed", "1", "2", "--epochs", "1", "--results", str(tmp_path)),
            "--vary=learning_rate=[0.001]",
        ]
    )
    assert code == 1
    said = capsys.readouterr()
    assert said.out.count("finished") == 2
    assert "2 of 4 runs failed" in said.err


@pytest.mark.slow
def test_a_run_in_a_process_of_its_own(tmp_path, monkeypatch):
    """For real: a network that crashes its process beside one that does not."""
    photos = write_classes(tmp_path / "photos", count=20)
    monkeypatch.setattr(
        _sweep, "_environment", lambda own=_sweep._environment: own() | {"CRASH": "1"}
    )
    read, from_folder = [], datasets.from_folder

    @functools.wraps(from_folder)
    def counted(*arguments, **options):
        read.append(arguments)
        return from_folder(*arguments, **options)

    monkeypatch.setattr(datasets, "from_folder", counted)
    trials = sweep(
        str(photos),
        [f"tests.training.networks:{name}" for name in ("tiny", "crashing")],
        results=tmp_path / "results",
        max_epochs=1,
        pictures=False,
    )
    assert [trial.status for trial in trials] == ["finished", "failed"]
    assert "exit code -9" in trials[1].message
    # Decoding all images for each combination would take hours.
    assert len(read) == 1
    assert "networks:tiny" in training.compare(tmp_path / "results")


def test_a_run_sees_the_devices_that_its_machine_gives_it(monkeypatch):
    """Not those of the process that sweeps, which may be on another machine."""
    seen = []

    def run(words, env, **settings):
        seen.append(env)
        return subprocess.CompletedProcess(words, 0, "")

    monkeypatch.setattr(_sweep.subprocess, "run", run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    run_command(["run"], {"CUDA_VISIBLE_DEVICES": "0", "OTHER": "kept"})
    assert seen[0]["CUDA_VISIBLE_DEVICES"] == "3"
    assert seen[0]["OTHER"] == "kept"


def test_ray_runs_where_it_was_asked(tmp_path, monkeypatch):
    """Its workers are in a folder of their own, where `results` is another one."""
    asked, seen = tmp_path / "asked", []
    asked.mkdir()

    def run(words, cwd, **settings):
        seen.append(cwd)
        return subprocess.CompletedProcess(words, 1, "no such folder")

    def remote(function):
        (tmp_path / "worker").mkdir(exist_ok=True)
        return types.SimpleNamespace(remote=lambda *words: lambda: function(*words))

    def get(task):
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir(tmp_path / "worker")
            return task()

    ray = types.SimpleNamespace(
        is_initialized=lambda: True,
        cloudpickle=types.SimpleNamespace(register_pickle_by_value=lambda module: None),
        remote=lambda **settings: remote,
        wait=lambda tasks, num_returns: (tasks[:1], tasks[1:]),
        get=get,
        exceptions=types.SimpleNamespace(RayError=RuntimeError),
    )
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(_sweep.subprocess, "run", run)
    monkeypatch.chdir(asked)
    options = {"engine": "ray", "max_epochs": 1, "pictures": False}
    (trial,) = sweep("digits", ["resnet18"], results="results", **options)
    assert seen == [str(asked)]
    assert trial.status == "failed"
    assert [path.name for path in asked.rglob("*.log")] == ["seed42.log"]


@pytest.mark.outside
def test_on_ray(tmp_path, monkeypatch):
    """For real, with one network that crashes its process."""
    photos = write_classes(tmp_path / "photos", count=20)
    monkeypatch.setattr(
        _sweep, "_environment", lambda own=_sweep._environment: own() | {"CRASH": "1"}
    )
    networks = [f"tests.training.networks:{name}" for name in ("crashing", "tiny")]

    def statuses():
        trials = sweep(
            str(photos),
            networks,
            results=tmp_path / "results",
            max_epochs=1,
            pictures=False,
            engine="ray",
        )
        return [trial.status for trial in trials]

    assert statuses() == ["failed", "finished"]
    # What is finished is not run again.
    assert statuses() == ["failed", "found"]
    (log,) = (tmp_path / "results").rglob("*.log")
    assert log.name == "seed42.log"


@pytest.mark.slow
def test_what_a_run_says_is_kept():
    code, words = run_command(["run"], {**_sweep._environment()})
    assert code == 2
    assert "needs --dataset" in words
