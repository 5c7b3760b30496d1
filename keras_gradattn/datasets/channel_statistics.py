"""Mean and deviation of each channel, of the images that a network trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_gradattn.datasets.images import Array, Images
from keras_gradattn.datasets.levels import Levels

# Digits that are kept, as in the published constants: the same on every machine.
_DIGITS = 4
_CHUNK = 256


def channel_moments(image: Array) -> Array:
    """Means of the levels and of their squares.

    Args:
        image: (height, width, channels).

    Returns:
        float64 array (2, channels).
    """
    levels = image.reshape(-1, image.shape[-1])
    # Products with a matrix: summing short channel rows one by one is slow.
    levels = levels.astype("float32" if image.dtype == np.uint8 else "float64")
    count = len(levels)
    total = np.ones(count, levels.dtype) @ levels
    squares = np.diagonal(levels.T @ levels)
    return np.stack([total, squares]).astype("float64") / count


def moments_in_units(moments: Array, levels: Levels) -> Array:
    """Moments of stored levels as those of units of 0 to 255.

    Args:
        moments: (..., 2, channels).
        levels: Stored levels that are 0 and 255.
    """
    low, high = levels
    scale = 255 / (high - low)
    mean, squares = moments[..., 0, :], moments[..., 1, :]
    return np.stack(
        [
            (mean - low) * scale,
            (squares - 2 * low * mean + low**2) * scale**2,
        ],
        axis=-2,
    )


def all_moments(images: Images) -> Array:
    """`channel_moments` of each image, float64 (images, 2, channels)."""
    moments = np.empty((len(images), 2, images.shape[-1]))
    for start in range(0, len(images), _CHUNK):
        chunk = images[np.arange(start, min(start + _CHUNK, len(images)))]
        for place, image in enumerate(chunk):
            moments[start + place] = channel_moments(image)
    return moments


def mean_and_std(moments: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over images of one size.

    Args:
        moments: Of each image, in units of 0 to 255, (images, 2, channels).

    Returns:
        Both in units of 0 to 1, to four digits. A channel without any contrast
        counts as one with a deviation of one level.

    Example:

    >>> mean_and_std(all_moments(np.full((2, 4, 4, 1), 51, "uint8")))
    ((0.2,), (0.0039,))
    """
    mean, squares = moments.mean(axis=0)
    std = np.sqrt(np.maximum(squares - mean**2, 1.0))
    return _rounded(mean), _rounded(std)


def _rounded(levels: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(level) / 255, _DIGITS) for level in levels)
