"""Two devices: the numbers of one, or of one process that takes share by share."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_gradattn import training
from keras_gradattn.training import _devices

SCRIPT = Path(__file__).with_name("devices_script.py")


def train(folder, backend, engine):
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    root = str(SCRIPT.parents[2])
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), engine],
        env=environment | {"KERAS_BACKEND": backend, "PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def check(found):
    several, single = found["several"], found["single"]
    for name in ("loss", "val_loss", "val_accuracy", "test_loss", "norms"):
        np.testing.assert_allclose(several[name], single[name], rtol=2e-4, err_msg=name)
    # Six steps of Adam, each of up to 1e-3 whatever the gradient's size.
    np.testing.assert_allclose(several["weights"], single["weights"], atol=2e-5)


def test_two_devices(tmp_path, backend):
    if backend == "tensorflow":
        with pytest.raises(ValueError, match=r"need JAX or PyTorch.*devices=2"):
            training.run("digits", "resnet18", devices=2, results=tmp_path)
        return
    check(train(tmp_path, backend, "auto"))


def test_two_devices_with_images_on_them(tmp_path, backend):
    if backend == "jax":
        check(train(tmp_path, backend, "device"))
        return
    if backend == "tensorflow":
        with pytest.raises(ValueError, match="need JAX or PyTorch"):
            training.run("digits", "resnet18", devices=2, results=tmp_path)
        return
    with pytest.raises(ValueError, match=r"on JAX only.*devices=2, engine='device'"):
        training.run("digits", "resnet18", devices=2, engine="device", results=tmp_path)


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        (0, "positive integer"),
        (True, "positive integer"),
        (3, "must divide the batch of 64 images"),
    ],
)
def test_senseless_numbers_of_devices(tmp_path, devices, message):
    with pytest.raises(ValueError, match=message):
        training.run("digits", "resnet18", devices=devices, results=tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_more_devices_than_there_are(tmp_path, backend, monkeypatch):
    if backend == "torch":
        import torch

        # CPU processes can be any number; GPUs cannot.
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="Received: devices=32"):
        training.run("digits", "resnet18", devices=32, results=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_fails_is_an_error(tmp_path, backend):
    """PyTorch's further processes: the training does not wait for a dead one."""
    if backend != "torch":
        assert _devices.choose(1, {}).count == 1
        return
    devices = _devices.TorchProcesses(2, arguments={"configuration": None})
    with (
        pytest.raises(RuntimeError, match=r"process|[Cc]onnection|peer"),
        devices.scope(),
    ):
        devices.mean([np.ones(2)])
