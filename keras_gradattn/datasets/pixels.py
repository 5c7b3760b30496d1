"""From stored uint8 pixels to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def normalize(
    images: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """Scales pixels to 0-1, subtracts the mean and divides by the deviation.

    Grey images are repeated to as many channels as `mean` has.

    Args:
        images: Array (batch, height, width, channels) in units of 0 to 255.
        mean: Mean of each channel, in units of 0 to 1.
        std: Standard deviation of each channel, in units of 0 to 1.

    Returns:
        float32 array (batch, height, width, len(mean)).
    """
    batch, height, width, channels = images.shape
    if channels != len(mean):
        images = np.repeat(images, len(mean) // channels, axis=-1)
    # Whole rows at a time: looping over three channels at each pixel is slow.
    row_mean = np.tile(np.asarray(mean, "float32") * np.float32(255), width)
    row_scale = np.tile(1 / (np.asarray(std, "float32") * np.float32(255)), width)
    result = images.reshape(batch, height, -1) - row_mean
    result *= row_scale
    return result.reshape(batch, height, width, len(mean))


def released_pixel_table(mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """What the published training code makes of each 8-bit level.

    It normalises, multiplies by 255 and casts to 8 bits: truncation toward
    zero, then modulo 256. Dark pixels turn bright and the other way round.

    Args:
        mean: Mean of each channel, in units of 0 to 1.
        std: Standard deviation of each channel, in units of 0 to 1.

    Returns:
        uint8 array (256, channels).

    Example:

    >>> released_pixel_table([0.2860], [0.3530])[[0, 60, 75, 165, 255], 0].tolist()
    [50, 220, 5, 4, 3]
    """
    # In float32, step by step: a pixel on the edge of a level must fall the same way.
    levels = np.arange(256, dtype="float32")[:, None] / np.float32(255)
    normalized = (levels - np.asarray(mean, "float32")) / np.asarray(std, "float32")
    return np.trunc(normalized * np.float32(255)).astype("int64").astype("uint8")


def break_pixels(
    images: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """Applies `released_pixel_table` to uint8 images.

    Args:
        images: uint8 array (batch, height, width, channels).
        mean: Mean of each channel, in units of 0 to 1.
        std: Standard deviation of each channel, in units of 0 to 1.

    Returns:
        uint8 array of the same shape.
    """
    table = released_pixel_table(mean, std)
    return table[images, np.arange(images.shape[-1])]
