"""The batch that every contender gets."""

import numpy as np

from benchmarks.speed.contenders import Task


def random_batch(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal inputs `(batch, *task.input_shape)` and int32 labels."""
    random = np.random.default_rng(0)
    shape = (task.batch, *task.input_shape)
    images = random.standard_normal(shape, dtype="float32")
    labels = random.integers(0, task.num_classes, task.batch, dtype="int32")
    return images, labels
