"""Two devices: the numbers of one, or of one process that takes share by share."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_gradattn import training
from keras_gradattn.training import devices as _devices
from keras_gradattn.training import experiment

SCRIPT = Path(__file__).with_name("devices_script.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory, backend):
    """Everything by one process: to start it takes longer than to train."""
    environment = dict(os.environ)
    if backend == "jax":
        # The script asks for two devices by it.
        environment.pop("XLA_FLAGS", None)
    root = str(SCRIPT.parents[2])
    ways = ["auto", "resumed", *(["device"] if backend == "jax" else [])]
    result = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("runs")), *ways],
        env=environment | {"KERAS_BACKEND": backend, "PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def check(several, other):
    for name in ("loss", "val_loss", "val_accuracy", "test_loss", "rms"):
        np.testing.assert_allclose(several[name], other[name], rtol=2e-4, err_msg=name)
    # Six steps of Adam, each of up to 1e-3 whatever the gradient's size.
    np.testing.assert_allclose(several["weights"], other["weights"], atol=2e-5)


@pytest.mark.slow
def test_two_devices(found):
    check(**found["auto"])


@pytest.mark.slow
def test_two_devices_go_on_after_an_interruption_to_the_same_bits(found, backend):
    assert found["resumed"]["several"] == found["resumed"]["other"]
    if backend == "tensorflow":
        first, second = found["masks"]
        assert first != second


@pytest.mark.slow
@pytest.mark.backends("jax")
def test_two_devices_with_images_on_them(found):
    check(**found["device"])


@pytest.mark.backends("tensorflow", "torch")
def test_images_are_kept_on_several_devices_on_jax_only(tmp_path):
    with pytest.raises(ValueError, match=r"on JAX only.*devices=2, engine='device'"):
        training.run("digits", "resnet18", devices=2, engine="device", results=tmp_path)


@pytest.mark.parametrize(
    ("recipe", "engine", "message"),
    [
        (training.Recipe("plain"), "pydataset", r"from tf\.data.*engine='pydataset'"),
        (
            training.Recipe("half", mixed_precision="mixed_float16"),
            "auto",
            r"loss scaling.*mixed_precision='mixed_float16'",
        ),
    ],
)
def test_what_replicas_on_tensorflow_cannot_do(
    tmp_path, backend, monkeypatch, recipe, engine, message
):
    def choose(devices, told, together):
        raise RuntimeError("not refused")

    monkeypatch.setattr(experiment, "choose", choose)
    refusal = (ValueError, message)
    error, match = refusal if backend == "tensorflow" else (RuntimeError, "not refused")
    with pytest.raises(error, match=match):
        training.run(
            "digits", "resnet18", recipe, devices=2, engine=engine, results=tmp_path
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "count", "batch", "found"),
    [
        # 32 leaves one image, which has no half; 30 leaves five.
        (65, 2, 32, 30),
        (64, 2, 32, 32),
        # 8 leaves one, 6 leaves three.
        (9, 2, 32, 6),
        # 128 leaves 4; 120 leaves 60, in shares of 8, of which the last has 4.
        (10_500, 8, 128, 120),
    ],
)
def test_no_device_is_left_without_validation_images(images, count, batch, found):
    devices = _devices.TensorFlowReplicas.__new__(_devices.TensorFlowReplicas)
    devices.count = count
    assert devices.validation_batch(images, batch) == found
    for size in filter(None, (found, images % found)):
        assert size > (count - 1) * math.ceil(size / count)


def test_too_few_validation_images_for_the_devices():
    devices = _devices.TensorFlowReplicas.__new__(_devices.TensorFlowReplicas)
    devices.count = 2
    with pytest.raises(ValueError, match=r"too few images.*5 images, devices=2"):
        devices.validation_batch(5, 32)


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
        training.run("digits", "resnet18", devices=32, results=tmp_path / "none")
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
