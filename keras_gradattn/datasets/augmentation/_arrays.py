"""Array functions that NumPy and every Keras backend share.

`xp` is `numpy` or `keras.ops` throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

Array = Any
_LUMA = np.array([0.299, 0.587, 0.114], "float32")


def cast(xp: ModuleType, array: Array, dtype: str) -> Array:
    """The array with another type."""
    return array.astype(dtype) if xp is np else xp.cast(array, dtype)


def indices(xp: ModuleType, count: int) -> Array:
    """0, 1, ..., count - 1 as float32."""
    numbers = np.arange(count, dtype="float32")
    # A PyTorch tensor does not calculate with a NumPy array.
    return numbers if xp is np else xp.convert_to_tensor(numbers)


def per_image(numbers: Array, index: int) -> Array:
    """One number for each image, shape (batch, 1, 1)."""
    return numbers[:, index, None, None]


def symmetric(numbers: Array) -> Array:
    """Uniform numbers from -1 to 1, made of such from 0 to 1."""
    return 2.0 * numbers - 1.0


def clip(xp: ModuleType, images: Array) -> Array:
    """Levels within 0 to 255."""
    return xp.clip(images, 0.0, 255.0)


def luma(xp: ModuleType, images: Array) -> Array:
    """Grey level of each pixel, shape (batch, height, width, 1)."""
    if images.shape[-1] == 1:
        return images
    return xp.matmul(images, _LUMA[:, None])


def blend(xp: ModuleType, images: Array, base: Array, factor: Array) -> Array:
    """Images moved away from `base` (factor above one) or toward it."""
    return clip(xp, base + factor[..., None] * (images - base))


def apply_where(
    xp: ModuleType,
    chosen: Array,
    function: Callable[..., Array],
    images: Array,
    *arguments: Array,
) -> Array:
    """Applies a function to the chosen images only."""
    if xp is np:
        # A pipeline pays for every image; a compiled step needs static shapes.
        if chosen.any():
            images = images.copy()
            chosen_arguments = (argument[chosen] for argument in arguments)
            images[chosen] = function(xp, images[chosen], *chosen_arguments)
        return images
    changed = function(xp, images, *arguments)
    return xp.where(chosen[:, None, None, None], changed, images)


def mean_luma(xp: ModuleType, images: Array) -> Array:
    """Mean grey level of each image, shape (batch, 1, 1, 1)."""
    _, height, width, channels = images.shape
    # As a matrix product: summing short channel rows one by one is slow.
    average = np.full((1, height * width), 1 / (height * width), "float32")
    mean = xp.matmul(average, xp.reshape(images, (-1, height * width, channels)))
    return luma(xp, mean)[..., None]


def grid(xp: ModuleType, size: tuple[int, int]) -> tuple[Array, Array]:
    """Row of each pixel (1, height, 1) and column (1, 1, width)."""
    return indices(xp, size[0])[None, :, None], indices(xp, size[1])[None, None, :]


def box(
    xp: ModuleType,
    size: tuple[int, int],
    top: Array,
    left: Array,
    height: Array,
    width: Array,
) -> Array:
    """Which pixel centres lie in each image's box, (batch, height, width)."""
    rows, columns = (places + 0.5 for places in grid(xp, size))
    top, left = top[:, None, None], left[:, None, None]
    height, width = height[:, None, None], width[:, None, None]
    in_rows = xp.logical_and(rows >= top, rows < top + height)
    in_columns = xp.logical_and(columns >= left, columns < left + width)
    return xp.logical_and(in_rows, in_columns)
