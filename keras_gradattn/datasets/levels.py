"""From stored levels of any depth to units of 0 to 255."""

from __future__ import annotations

import numpy as np

from keras_gradattn.datasets.images import Array

Levels = tuple[float, float]
EIGHT_BITS: Levels = (0.0, 255.0)


def choose_levels(low: float, high: float, integers: bool) -> Levels:
    """Which stored levels are black and white, from the ones that occur.

    Integers count as a camera's: a scanner of 12 bits stored in 16 uses 0 to 4095.
    Floats are taken as 0 to 1 or as 0 to 255.

    Args:
        low: Lowest level of all images.
        high: Highest level of all images.
        integers: Whether the stored levels are integers.

    Returns:
        The levels that become 0 and 255.

    Raises:
        ValueError: If the levels fit none of these.

    Example:

    >>> choose_levels(3, 3900, integers=True)
    (0.0, 4095.0)
    """
    if low >= 0 and integers:
        return (0.0, float(2 ** max(8, int(high).bit_length()) - 1))
    for white in (1.0, 255.0):
        if low >= 0 and high <= white:
            return (0.0, white)
    raise ValueError(
        "Levels should be integers from 0, or floats from 0 to 1 or 0 to 255. Say "
        "which are black and white with `levels=(black, white)`. "
        f"Received: levels from {low:g} to {high:g}"
    )


def check_levels(levels: Levels) -> Levels:
    """The levels that a user gives, as floats.

    Raises:
        ValueError: Unless they are two numbers, the second one higher.
    """
    try:
        low, high = (float(level) for level in levels)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not low < high:
        raise ValueError(
            "`levels` should be two numbers, black below white, such as (0, 4095). "
            f"Received: levels={levels!r}"
        )
    return (low, high)


def to_units(images: Array, levels: Levels) -> Array:
    """Scales levels to float32 from 0 to 255; what lies outside is cut off."""
    low, high = levels
    scaled = (images.astype("float32") - np.float32(low)) * np.float32(
        255 / (high - low)
    )
    return np.clip(scaled, 0, 255, out=scaled)
