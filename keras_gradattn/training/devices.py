"""Training on several devices: what each backend has for it, behind one face.

Each device computes the gradient of an equal share of the batch, and the mean is
applied. Validation is divided too (but on JAX), and what follows the training runs on
one device.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat.tensorflow import WorkersModel
from keras_gradattn.datasets import Split
from keras_gradattn.training import _checkpoint
from keras_gradattn.training.machines import Workers


class OneDevice:
    """One device; what the others change."""

    count = 1
    rank = 0

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Build and train in here."""
        yield

    def batches(self) -> dict[str, Any]:
        """Settings of the training batches."""
        return {}

    @property
    def records(self) -> bool:
        """Whether this process records gradients: one is enough for all."""
        return self.rank == 0

    def validation_part(self, split: Split) -> Split:
        """The images that this process validates on."""
        return split

    def validation_batches(self) -> dict[str, Any]:
        """Settings of the validation batches."""
        return {}

    def validation_batch(self, images: int, batch_size: int) -> int:
        """Images in a batch of the validation, of so many altogether."""
        return batch_size

    def fed(
        self, batches: Any, class_weight: dict[int, float] | None = None
    ) -> dict[str, Any]:
        """Batches, and weights of classes if any, as arguments of `fit`."""
        return {"x": batches, "class_weight": class_weight}

    def trained(self, network: keras.Model) -> keras.Model:
        """The model that `fit` is called on."""
        return network

    def seed_others(
        self, generators: Sequence[keras.Variable], seed: int, epoch: int
    ) -> None:
        """Give every device but the first random numbers of its own.

        Else all would drop the same units. The checkpoint holds the first one's
        generators; the others' follow from the epoch.
        """

    def values(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        """What this process holds; its mean where devices hold different values."""
        return _checkpoint.values(variables)

    def mean(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Mean over processes of what each of them has."""
        return list(arrays)

    def before_validation(self) -> None:
        """Called before a validation."""

    def after_validation(self) -> None:
        """Called when validation is over."""

    def agree(self, logs: dict[str, float], validated: int) -> dict[str, float]:
        """One epoch's figures over all devices."""
        return logs


class JaxDevices(OneDevice):
    """`keras.distribution.DataParallel`: one program, batches laid across devices.

    BatchNorm sees the whole batch, so the result is that of one device.
    """

    def __init__(self, count: int):
        import jax

        found = jax.devices()
        if len(found) < count:
            raise ValueError(
                f"JAX has {len(found)} {found[0].platform} devices here. A CPU can be "
                "divided with XLA_FLAGS=--xla_force_host_platform_device_count="
                f"{count}, which makes nothing faster. Received: devices={count}"
            )
        self.count = count
        self._distribution = keras.distribution.DataParallel(
            devices=[f"{device.platform}:{device.id}" for device in found[:count]]
        )

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with self._distribution.scope():
            yield

    def batches(self) -> dict[str, Any]:
        return {"replicas": self.count}

    def before_validation(self) -> None:
        # Keras lays every batch out like the first, and the last one of a
        # validation pass rarely divides: each device computes all of it instead.
        keras.distribution.set_distribution(None)

    def after_validation(self) -> None:
        keras.distribution.set_distribution(self._distribution)


class JaxWorkers(JaxDevices):
    """`jax.distributed`: the same program in each process, over all their devices.

    Each process gives its devices their shares of every batch, in the validation too,
    which leaves images out where the last batch cannot be divided: fewer than there
    are devices. The result is that of one device.

    Args:
        workers: The processes.
    """

    def __init__(self, workers: Workers):
        import jax

        self.count = workers.devices
        self.rank = workers.rank
        self._distribution = keras.distribution.DataParallel(
            devices=[f"{device.platform}:{device.id}" for device in jax.devices()],
            auto_shard_dataset=False,
        )
        mine = workers.devices // workers.processes
        self._replicas = range(workers.rank * mine, (workers.rank + 1) * mine)

    @property
    def records(self) -> bool:
        # What is measured is part of the program, which must be the same.
        return True

    def batches(self) -> dict[str, Any]:
        return {"replicas": self.count, "replica": self._replicas}

    def validation_batches(self) -> dict[str, Any]:
        return self.batches()

    def before_validation(self) -> None:
        """Nothing to do: the validation is divided like the training."""

    def after_validation(self) -> None:
        """Nothing to undo."""


class TensorFlowReplicas(OneDevice):
    """`tf.distribute.MirroredStrategy`: one program, weights mirrored on each device.

    BatchNorm sees one device's share. Keras leaves what it remembers as it is on each
    device; it is averaged before each validation.

    Args:
        count: Devices: GPUs where there are any, else logical CPUs.
    """

    def __init__(self, count: int):
        import tensorflow as tf

        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        found = tf.config.list_logical_devices(kind)
        if len(found) < count:
            raise ValueError(
                f"TensorFlow has {len(found)} {kind} devices here. A CPU can be "
                "divided with tf.config.set_logical_device_configuration, which makes "
                f"nothing faster. Received: devices={count}"
            )
        self.count = count
        self._strategy = tf.distribute.MirroredStrategy(
            [device.name for device in found[:count]]
        )

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with self._strategy.scope():
            yield

    def batches(self) -> dict[str, Any]:
        return {"replicas": self.count}

    def validation_batch(self, images: int, batch_size: int) -> int:
        # TensorFlow cuts n images into shares of ceil(n / count), and the mean over
        # an empty last share would be NaN. The first batch's shares must be equal:
        # Keras builds by their mean.
        def leaves_none_empty(batch: int) -> bool:
            return (self.count - 1) * -(-batch // self.count) < batch

        sizes = sorted(
            range(self.count, images + 1, self.count),
            key=lambda size: abs(size - batch_size),
        )
        for size in sizes:
            if images % size == 0 or leaves_none_empty(images % size):
                return size
        raise ValueError(
            "The validation part has too few images for every device to see some of "
            f"each batch. Received: {images} images, devices={self.count}"
        )

    def seed_others(
        self, generators: Sequence[keras.Variable], seed: int, epoch: int
    ) -> None:
        for rank in range(1, self.count):
            for variable, value in _seeds(generators, seed, epoch, rank):
                self._on_devices(variable)[rank].assign(value)

    def values(self, variables: Sequence[keras.Variable]) -> list[np.ndarray]:
        held = [
            np.stack([part.numpy() for part in self._on_devices(variable)])
            for variable in variables
        ]
        return [parts.mean(axis=0, dtype=parts.dtype) for parts in held]

    def _on_devices(self, variable: Any) -> Any:
        return self._strategy.experimental_local_results(variable.value)


class TensorFlowWorkers(TensorFlowReplicas):
    """`tf.distribute.MultiWorkerMirroredStrategy`: processes that `TF_CONFIG` names.

    Each process prepares the shares of its own devices, in the validation too, which
    leaves images out where the last batch cannot be divided.

    Args:
        workers: The processes.
    """

    def __init__(self, workers: Workers):
        self.count = workers.devices
        self.rank = workers.rank
        self._strategy = workers.strategy
        mine = workers.devices // workers.processes
        self._replicas = range(workers.rank * mine, (workers.rank + 1) * mine)

    @property
    def records(self) -> bool:
        # What is measured is part of the program, which must be the same.
        return True

    def batches(self) -> dict[str, Any]:
        return {"replicas": self.count, "replica": self._replicas}

    def validation_batches(self) -> dict[str, Any]:
        return self.batches()

    def validation_batch(self, images: int, batch_size: int) -> int:
        return batch_size

    def fed(
        self, batches: Any, class_weight: dict[int, float] | None = None
    ) -> dict[str, Any]:
        import tensorflow as tf

        mine = len(self._replicas)

        def shares(*batch: Any) -> Any:
            """A batch of this process as one for each of its devices."""
            if class_weight is not None:
                weights = tf.constant(
                    [class_weight[key] for key in sorted(class_weight)]
                )
                labels = batch[1]
                if labels.shape.rank > 1:
                    labels = tf.argmax(labels, axis=-1)
                batch = (*batch, tf.gather(weights, labels))
            return tuple(
                tf.reshape(part, (mine, -1, *part.shape[1:])) for part in batch
            )

        divided = batches.map(shares).unbatch()
        return {
            # Keras cannot weight classes of batches that are laid out.
            "x": self._strategy.distribute_datasets_from_function(lambda _: divided)
        }

    def trained(self, network: keras.Model) -> keras.Model:
        return WorkersModel(network)

    def seed_others(
        self, generators: Sequence[keras.Variable], seed: int, epoch: int
    ) -> None:
        for place, rank in enumerate(self._replicas):
            if rank:
                for variable, value in _seeds(generators, seed, epoch, rank):
                    self._on_devices(variable)[place].assign(value)

    def agree(self, logs: dict[str, float], validated: int) -> dict[str, float]:
        names = sorted(name for name in logs if "gradient" not in name)
        (values,) = self.mean([np.array([logs[name] for name in names])])
        return logs | dict(zip(names, values.tolist(), strict=True))

    def mean(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        import tensorflow as tf

        flat = np.concatenate([a.astype("float64").ravel() for a in arrays])
        mine = self._strategy.experimental_distribute_values_from_function(
            lambda _: tf.constant(flat)
        )
        found = self._strategy.reduce(tf.distribute.ReduceOp.MEAN, mine, axis=None)
        return _parted(found.numpy(), arrays)


class TorchProcesses(OneDevice):
    """`DistributedDataParallel`: a process for each device, all run the same.

    BatchNorm sees one device's share; what it remembers is averaged over the
    processes before each validation, which they share.

    Args:
        count: Processes.
        rank: Which one this is; 0 starts the others.
        folder: Where they meet.
        arguments: What the others are told to train.
    """

    def __init__(
        self,
        count: int,
        rank: int = 0,
        folder: str = "",
        arguments: dict[str, Any] | None = None,
    ):
        import torch

        self._accelerated = torch.cuda.is_available()
        if self._accelerated and torch.cuda.device_count() < count:
            raise ValueError(
                f"PyTorch has {torch.cuda.device_count()} GPUs here. "
                f"Received: devices={count}"
            )
        self.count = count
        self.rank = rank
        self._folder = folder
        self._arguments = arguments or {}

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            folder = self._folder
            if self.rank == 0:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                processes = stack.enter_context(self._others(folder))
                self._await(processes, folder)
            else:
                _ready(folder, self.rank).touch()
            stack.enter_context(self._group(folder))
            yield

    @contextlib.contextmanager
    def _group(self, folder: str) -> Iterator[None]:
        import torch.distributed

        torch.distributed.init_process_group(
            "nccl" if self._accelerated else "gloo",
            init_method=(Path(folder) / "meeting").resolve().as_uri(),
            rank=self.rank,
            world_size=self.count,
        )
        try:
            yield
        finally:
            torch.distributed.destroy_process_group()

    @contextlib.contextmanager
    def _others(self, folder: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        processes = []
        try:
            for rank in range(1, self.count):
                processes.append(self._start(rank, folder))
            yield processes
            for process in processes:
                if process.wait():
                    raise RuntimeError(
                        f"A process of this training failed: {process.args!r}"
                    )
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def _await(self, processes: list[subprocess.Popen[bytes]], folder: str) -> None:
        """Wait until the others stand at the meeting, where a dead one is not missed.

        PyTorch itself waits half an hour for a process that will not come.
        """
        while not all(_ready(folder, r).exists() for r in range(1, self.count)):
            for process in processes:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"A process of this training failed: {process.args!r}"
                    )
            time.sleep(0.05)

    def _start(self, rank: int, folder: str) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "KERAS_BACKEND": "torch",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        if self._accelerated:
            environment["KERAS_TORCH_DEVICE"] = f"cuda:{rank}"
        told = {"rank": rank, "count": self.count, "folder": folder}
        content = _pickled(told | self._arguments)
        # A script of the user's need not be importable, as `multiprocessing` asks.
        process = subprocess.Popen(
            [sys.executable, "-m", "keras_gradattn.training._replica"],
            env=environment,
            stdin=subprocess.PIPE,
        )
        assert process.stdin is not None
        process.stdin.write(content)
        process.stdin.close()
        return process

    def batches(self) -> dict[str, Any]:
        return {"replicas": self.count, "replica": self.rank}

    def validation_part(self, split: Split) -> Split:
        if len(split) < self.count:
            raise ValueError(
                f"The {split.name} part has fewer images than there are devices. "
                f"Received: {len(split)} images, devices={self.count}"
            )
        mine = slice(self.rank, None, self.count)
        return Split(
            split.name, split.images[mine], split.labels[mine], split.rows[mine]
        )

    def seed_others(
        self, generators: Sequence[keras.Variable], seed: int, epoch: int
    ) -> None:
        if self.rank:
            for variable, value in _seeds(generators, seed, epoch, self.rank):
                variable.assign(value)

    def trained(self, network: keras.Model) -> keras.Model:
        return _replicated(network)

    def agree(self, logs: dict[str, float], validated: int) -> dict[str, float]:
        # The recorder's norms are of the applied gradient, the same everywhere.
        names = sorted(name for name in logs if "gradient" not in name)
        # Training shares are equal; those of the validation may differ by an image.
        weights = [validated if name.startswith("val_") else 1 for name in names]
        values = np.array([logs[name] for name in names])
        sums, counts = self.mean([values * weights, np.array(weights, "float64")])
        return logs | dict(zip(names, (sums / counts).tolist(), strict=True))

    def mean(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch
        import torch.distributed

        flat = torch.as_tensor(
            np.concatenate([a.astype("float64").ravel() for a in arrays]),
            device=self._device,
        )
        torch.distributed.all_reduce(flat)
        return _parted(flat.cpu().numpy() / self.count, arrays)

    @property
    def _device(self) -> str:
        return f"cuda:{self.rank}" if self._accelerated else "cpu"


class TorchWorkers(TorchProcesses):
    """Processes that `torchrun` started.

    Args:
        workers: The processes.
    """

    def __init__(self, workers: Workers):
        import torch

        self._accelerated = torch.cuda.is_available()
        self.count = workers.devices
        self.rank = workers.rank

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        yield

    @property
    def _device(self) -> str:
        return "cuda" if self._accelerated else "cpu"


def _parted(flat: np.ndarray, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Values in the shapes and types that some arrays have."""
    ends = np.cumsum([a.size for a in arrays])[:-1]
    return [
        part.reshape(array.shape).astype(array.dtype)
        for part, array in zip(np.split(flat, ends), arrays, strict=True)
    ]


def _seeds(
    generators: Sequence[keras.Variable], seed: int, epoch: int, rank: int
) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    random = np.random.default_rng([seed, epoch, rank])
    for variable in generators:
        yield variable, random.integers(0, 2**31, variable.shape).astype(variable.dtype)


def _pickled(told: dict[str, Any]) -> bytes:
    model = getattr(told.get("network"), "model", None)
    try:
        content = pickle.dumps(told)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise _not_importable(model) from error
    if getattr(model, "__module__", None) == "__main__":
        # Another process has another main program.
        raise _not_importable(model)
    return content


def _not_importable(model: Any) -> ValueError:
    return ValueError(
        "Further processes import the function that makes the network: put it into a "
        f"module, and give 'module:function'. Received: model={model!r}"
    )


def _ready(folder: str, rank: int) -> Path:
    return Path(folder) / f"ready{rank}"


def _replicated(network: keras.Model) -> keras.Model:
    """The network, trained through `DistributedDataParallel`."""
    import torch

    class Forward(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, inputs: Any) -> Any:
            return self.network(inputs, training=True)

    class Replicated(keras.Model):
        def __init__(self) -> None:
            super().__init__(name=network.name)
            self.untapped = network
            # Past `__setattr__`: the same weights need not be tracked twice.
            self.__dict__["_parallel"] = torch.nn.parallel.DistributedDataParallel(
                Forward()
            )
            self.built = True

        def call(self, inputs: Any, training: bool = False) -> Any:
            if training:
                return self._parallel(inputs)
            return self.untapped(inputs, training=False)

    return Replicated()


def choose(
    count: int, arguments: dict[str, Any], together: Workers | None = None
) -> OneDevice:
    """What trains on `count` devices on this backend.

    Args:
        count: Number of devices.
        arguments: What further processes are told, where there are such.
        together: Processes that were started together, which then have the devices.

    Raises:
        ValueError: If there are fewer devices.
    """
    backend = keras.backend.backend()
    if together is not None:
        return _WORKERS[backend](together)  # type: ignore[call-arg]
    if count == 1:
        return OneDevice()
    if backend == "jax":
        return JaxDevices(count)
    if backend == "tensorflow":
        return TensorFlowReplicas(count)
    return TorchProcesses(count, arguments=arguments)


_WORKERS: dict[str, type[OneDevice]] = {
    "jax": JaxWorkers,
    "tensorflow": TensorFlowWorkers,
    "torch": TorchWorkers,
}
