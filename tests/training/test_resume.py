"""A run that is killed in the middle ends in the same bits as one that is not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_gradattn._whole_files import replace_file
from keras_gradattn.training import _checkpoint
from keras_gradattn.training._files import write_json

SCRIPT = Path(__file__).with_name("resume_script.py")


def start(*arguments):
    # Always a process of its own: what earlier tests compiled in this one, and how,
    # would change the last bits.
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env=os.environ
        | {
            "KERAS_BACKEND": keras.backend.backend(),
            "PYTHONPATH": str(SCRIPT.parents[2]),
        },
        cwd=SCRIPT.parents[2],
        capture_output=True,
        text=True,
    )


def only(folder, pattern):
    """The one file of that name below a folder."""
    (path,) = folder.rglob(pattern)
    return path


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "seconds" not in k}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value


@pytest.mark.slow
def test_killed_run_ends_in_the_same_bits(tmp_path):
    # Six steps an epoch: killed in the third.
    killed = start(15, tmp_path / "a")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not list((tmp_path / "a").rglob("seed42.json"))
    both = start(0, tmp_path / "a", tmp_path / "b")
    assert both.returncode == 0, both.stderr
    resumed, straight = both.stderr.split(f"finished {tmp_path / 'a'}")
    assert "resumed after epoch 2 of 4" in resumed
    assert "resumed" not in straight

    results = [
        json.loads(only(tmp_path / folder, "seed42.json").read_text())
        for folder in "ab"
    ]
    assert results[0]["history"]["epoch"] == [1, 2, 3, 4]
    assert without_times(results[0]) == without_times(results[1])
    # The rate must have come down, or the plateau state was not put to the test.
    assert results[0]["history"]["learning_rate"][-1] < 1e-3
    weights = [
        keras.saving.load_model(only(tmp_path / folder, "*.keras")).get_weights()
        for folder in "ab"
    ]
    for resumed_weight, straight_weight in zip(*weights, strict=True):
        np.testing.assert_array_equal(resumed_weight, straight_weight)
    assert not list((tmp_path / "a").rglob("*.partial"))


def test_a_kill_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})
    child = os.fork()
    if child == 0:

        def write(file):
            file.write(b"half of the new")
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        replace_file(path, write)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert json.loads(path.read_text()) == {"old": 1}
    assert [p.name for p in tmp_path.glob("*.json")] == ["result.json"]


def test_an_error_while_writing_leaves_nothing_behind(tmp_path):
    path = tmp_path / "checkpoint.npz"
    with pytest.raises(TypeError):
        _checkpoint.save(path, {}, {"state": object()})

    def write(file):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        replace_file(path, write)
    assert list(tmp_path.iterdir()) == []


def test_checkpoint_round_trip(tmp_path):
    path = tmp_path / "checkpoint.npz"
    # More than ten, so that order by name must not be order by text.
    arrays = [np.full((2,), i, "float32") for i in range(12)] + [np.array([1, 2], "u4")]
    state = {"best": -float("inf"), "history": [{"loss": 0.1}]}
    _checkpoint.save(path, {"training": arrays, "best": arrays[:1]}, state)
    groups, restored = _checkpoint.load(path)
    assert restored == state
    for found, expected in zip(groups["training"], arrays, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    assert len(groups["best"]) == 1


@pytest.mark.parametrize("damage", ["cut", "text", "pickle"])
def test_damaged_checkpoint_is_named_not_read(tmp_path, damage):
    path = tmp_path / "checkpoint.npz"
    _checkpoint.save(path, {"training": [np.ones(1000)]}, {})
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "text":
        path.write_text("not an archive")
    else:
        np.savez(path, json=np.array([{"format": 1}], dtype=object))
    with pytest.raises(ValueError, match=r"checkpoint\.npz cannot be read"):
        _checkpoint.load(path)
