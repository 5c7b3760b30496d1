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


def replace_levels(images: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Looks every pixel up in a table of its channel.

    Args:
        images: uint8 array (batch, height, width, channels).
        levels: uint8 array (256, channels), what each 8-bit level becomes.

    Returns:
        uint8 array of the same shape as `images`.
    """
    return levels[images, np.arange(images.shape[-1])]
