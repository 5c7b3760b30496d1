"""Bilinear resizing with antialiasing, as two matrix products."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def resize_matrix(source: int, target: int) -> np.ndarray:
    """Weights that resample one axis from `source` to `target` pixels.

    The triangle filter is as wide as a source pixel when enlarging and as a
    target pixel when shrinking (antialiasing), and weights at the border are
    renormalised: the convention of Pillow's bilinear filter and of
    `keras.ops.image.resize(antialias=True)`.

    Args:
        source: Pixels before.
        target: Pixels after.

    Returns:
        float32 array (target, source) whose rows sum to one.
    """
    scale = source / target
    width = max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source) + 0.5 - centre[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    normalized: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return normalized.astype("float32")


def resize(images: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 images to a square, as Pillow's bilinear filter does.

    Args:
        images: uint8 array (batch, height, width, channels).
        size: Side of the square in pixels.

    Returns:
        uint8 array (batch, size, size, channels).
    """
    batch, height, width, channels = images.shape
    if width != size:
        rows = images.reshape(batch * height, width, channels)
        images = _round(np.matmul(resize_matrix(width, size), rows.astype("float32")))
    if height != size:
        columns = images.reshape(batch, height, size * channels)
        images = _round(
            np.matmul(resize_matrix(height, size), columns.astype("float32"))
        )
    return images.reshape(batch, size, size, channels)


def _round(images: np.ndarray) -> np.ndarray:
    # Pillow rounds to 8 bits after each of its two passes, halves upward.
    return np.clip(np.floor(images + np.float32(0.5)), 0, 255).astype("uint8")
