"""The training pixels that the published code damages."""

import numpy as np

from keras_gradattn.datasets import DatasetSpec

# Elsewhere the released code normalises once, as it should.
DAMAGED_DATASETS = ("cifar10", "fashion_mnist")


def damaged_levels(spec: DatasetSpec) -> np.ndarray:
    """What the published training code makes of each 8-bit level.

    It normalises, multiplies by 255 and casts to 8 bits: truncation toward
    zero, then modulo 256. Dark pixels turn bright and the other way round.
    Read in the released notebooks of Ghoshal & Buckchash (2026).

    Args:
        spec: The data set, whose mean and standard deviation it normalises by.

    Returns:
        uint8 array (256, channels), for `keras_gradattn.datasets.batches`.

    Example:

    >>> spec = keras_gradattn.datasets.spec("fashion_mnist")
    >>> damaged_levels(spec)[[0, 60, 75, 165, 255], 0].tolist()
    [50, 220, 5, 4, 3]
    """
    # In float32, step by step: a pixel on the edge of a level must fall the same way.
    levels = np.arange(256, dtype="float32")[:, None] / np.float32(255)
    mean, std = np.asarray(spec.mean, "float32"), np.asarray(spec.std, "float32")
    normalized = (levels - mean) / std
    return np.trunc(normalized * np.float32(255)).astype("int64").astype("uint8")
