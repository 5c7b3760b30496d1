"""A network on a kind of batch: plain data that travels to the worker processes."""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from benchmarks.harness.comparison import Contender

# The published training: Adam with its decay in the gradient.
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4
PRECISIONS = ("float32", "mixed_bfloat16")
MODES = ("training", "inference")


@dataclass(frozen=True)
class Task:
    """One network on one kind of batch; `size` in pixels, `batch` in images."""

    network: str = "GradAttnV1"
    size: int = 28
    channels: int = 1
    num_classes: int = 10
    batch: int = 128
    precision: str = "float32"
    mode: str = "training"
    arguments: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For people."""
        return (
            f"{self.network}, {self.mode}, {self.size} px, batch {self.batch}, "
            f"{self.precision}"
        )

    def random_batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Standard normal images `(batch, size, size, channels)` and int32 labels."""
        random = np.random.default_rng(0)
        shape = (self.batch, self.size, self.size, self.channels)
        images = random.standard_normal(shape, dtype="float32")
        labels = random.integers(0, self.num_classes, self.batch, dtype="int32")
        return images, labels


def keras_contender(
    name: str,
    backend: str,
    task: Task,
    *,
    work: str = "keras_steps:KerasSteps",
    part: str = "",
    is_reference: bool = False,
    **arguments: Any,
) -> Contender:
    """This package's network on one backend; `arguments` are more of the work."""
    return Contender(
        name,
        f"benchmarks.works.{work}",
        backend,
        {"task": asdict(task)} | arguments,
        part,
        is_reference,
    )


def torch_contender(how: str, channels_last: bool, task: Task) -> Contender:
    """The same network in plain PyTorch.

    `how` is `"eager"`, `"compile"` or `"fused-adam"`, a kernel that PyTorch does not
    choose by itself.
    """
    layout = " channels-last" if channels_last else ""
    return Contender(
        f"pytorch {how}{layout}",
        "benchmarks.works.torch_steps:TorchSteps",
        "torch",
        {"task": asdict(task), "how": how, "channels_last": channels_last},
        is_reference=how == "eager",
    )
