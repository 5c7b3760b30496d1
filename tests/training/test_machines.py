"""Two processes that meet on loopback train as one does on the joined batch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keras_gradattn.training import machines
from tests.datasets.image_folders import write_classes

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def commands(backend, arguments):
    """One command and its environment for each of the two processes."""
    port = free_port()
    alone = [sys.executable, "-m", "keras_gradattn", *arguments]
    if backend == "torch":
        # As torchrun sets it; torchrun itself is tried below.
        shared = {
            **{"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2"},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
        }
        return [
            (alone, shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank in range(2)
        ]
    if backend == "jax":
        shared = {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        }
        return [
            (alone, shared | {"KERAS_DISTRIBUTION_PROCESS_ID": str(rank)})
            for rank in range(2)
        ]
    workers = [f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"]
    return [
        (
            alone,
            {
                "TF_CONFIG": json.dumps(
                    {
                        "cluster": {"worker": workers},
                        "task": {"type": "worker", "index": rank},
                    }
                )
            },
        )
        for rank in range(2)
    ]


def start(command, environment):
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes):
    try:
        said = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, words in zip(processes, said, strict=True):
        assert process.returncode == 0, words[-3000:]
    return said


def arguments(photos, results):
    return [
        *("run", "--dataset", str(photos), "--results", str(results)),
        *("--model", "tests.training.networks:plain", "--epochs", "3"),
        *("--set", "batch_size=8", "--set", "ema_momentum=null", "--set", "mixup=0"),
        *("--set", "class_weights=balanced"),
        *("--data-option", "validation=0.2", "--data-option", "test=0.1"),
        *("--no-pictures", "--verbose", "0"),
    ]


def result(folder):
    (path,) = folder.rglob("seed42.json")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    # 28 images to train, 8 to validate, 4 to test: every batch divides by two. Three
    # cats to a dog, whom class weights bring to their right.
    folder = tmp_path_factory.mktemp("data") / "photos"
    write_classes(folder, ("cat", "dog"), count=10)
    return write_classes(folder, ("cat",), count=30)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, photos):
    results = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "keras_gradattn", *arguments(photos, results)]
    finish([start(command, {})])
    return result(results)


def check(found, alone):
    assert found["configuration"]["devices"] == 2
    for name in ("loss", "val_loss", "accuracy", "val_accuracy", "learning_rate"):
        np.testing.assert_allclose(
            found["history"][name], alone["history"][name], rtol=2e-4, err_msg=name
        )
    for group, rms in alone["gradients"]["training"]["rms"].items():
        np.testing.assert_allclose(
            found["gradients"]["training"]["rms"][group], rms, rtol=2e-3, err_msg=group
        )
    assert found["metrics"]["loss"] == pytest.approx(alone["metrics"]["loss"], rel=2e-4)
    assert found["steps"] == alone["steps"]


def test_two_processes_train_as_one_does_though_one_is_killed(
    tmp_path, photos, alone, backend
):
    """Its end ends all, the same command goes on, the numbers are of one process."""
    processes = [start(*p) for p in commands(backend, arguments(photos, tmp_path))]
    try:
        deadline = time.monotonic() + 500
        while not list(tmp_path.rglob("checkpoint.npz")):
            assert time.monotonic() < deadline
            assert processes[0].poll() is None, processes[0].communicate()[0][-3000:]
            # Waiting for another process' file, which takes seconds to come.
            time.sleep(0.02)
        processes[1].send_signal(signal.SIGKILL)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    said = finish([start(*p) for p in commands(backend, arguments(photos, tmp_path))])
    assert "resumed after epoch" in said[0]
    check(result(tmp_path), alone)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "told",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": 2}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
    ],
)
def test_what_is_no_cluster(told):
    with pytest.raises(ValueError, match="TF_CONFIG should be JSON such as"):
        machines._cluster(told)


@pytest.mark.backends("jax")
@pytest.mark.parametrize(
    ("set_", "message"),
    [
        (("127.0.0.1:1", "2"), "PROCESS_ID unset"),
        (("127.0.0.1:1", "2", "2"), "Received: '2' of '2'"),
        (("127.0.0.1:1", "two", "0"), "Received: '0' of 'two'"),
    ],
)
def test_processes_of_jax_that_cannot_meet(monkeypatch, set_, message):
    for name, value in zip(machines._JAX.values(), set_, strict=False):
        monkeypatch.setenv(name, value)
    machines._jax.cache_clear()
    with pytest.raises(ValueError, match=message):
        machines.workers()


@pytest.mark.backends("torch")
def test_torchrun(tmp_path, photos, alone):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
        *("--master-port", str(free_port()), "-m", "keras_gradattn"),
        *arguments(photos, tmp_path),
    ]
    finish([start(command, {})])
    check(result(tmp_path), alone)
