"""Flip, crop, rotation and translation: pixels move, none is changed."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

import numpy as np

from keras_gradattn.datasets.augmentation._arrays import (
    Array,
    cast,
    grid,
    per_image,
    symmetric,
)
from keras_gradattn.datasets.augmentation.base import Geometric

# Coordinates outside the frame go here: every later map leaves them outside.
_FAR = -1e6


@dataclasses.dataclass(frozen=True)
class Flip(Geometric):
    """Mirrors left and right.

    Args:
        probability: Share of images that are mirrored.
    """

    probability: float = 0.5

    def coordinates(
        self,
        xp: ModuleType,
        rows: Array,
        columns: Array,
        size: tuple[int, int],
        numbers: Array,
    ) -> tuple[Array, Array]:
        mirrored = per_image(numbers, 0) < self.probability
        return rows, xp.where(mirrored, size[1] - 1.0 - columns, columns)


@dataclasses.dataclass(frozen=True)
class Crop(Geometric):
    """Pads with zeros and cuts the original size out at a random place.

    Args:
        padding: Pixels added on each side.
    """

    padding: int = 4
    numbers = 2

    def coordinates(
        self,
        xp: ModuleType,
        rows: Array,
        columns: Array,
        size: tuple[int, int],
        numbers: Array,
    ) -> tuple[Array, Array]:
        # The largest float32 below one must not round up to a further place.
        offsets = xp.minimum(
            xp.floor(numbers * (2 * self.padding + 1)), 2.0 * self.padding
        )
        offsets = offsets - float(self.padding)
        return rows + per_image(offsets, 0), columns + per_image(offsets, 1)


@dataclasses.dataclass(frozen=True)
class Rotation(Geometric):
    """Rotates about the centre.

    Args:
        degrees: Largest angle to either side.
    """

    degrees: float = 10.0

    def coordinates(
        self,
        xp: ModuleType,
        rows: Array,
        columns: Array,
        size: tuple[int, int],
        numbers: Array,
    ) -> tuple[Array, Array]:
        angle = symmetric(per_image(numbers, 0)) * math.radians(self.degrees)
        return _rotate(xp, rows, columns, size, xp.cos(angle), xp.sin(angle))


def _rotate(
    xp: ModuleType,
    rows: Array,
    columns: Array,
    size: tuple[int, int],
    cosine: Array,
    sine: Array,
) -> tuple[Array, Array]:
    middle_row, middle_column = size[0] / 2, size[1] / 2
    down = rows + (0.5 - middle_row)
    right = columns + (0.5 - middle_column)
    return (
        xp.floor(sine * right + cosine * down + middle_row),
        xp.floor(cosine * right - sine * down + middle_column),
    )


@dataclasses.dataclass(frozen=True)
class Translation(Geometric):
    """Shifts by whole pixels along both axes.

    Args:
        fraction: Largest shift as a share of the side, before rounding.
    """

    fraction: float = 0.1
    numbers = 2

    def coordinates(
        self,
        xp: ModuleType,
        rows: Array,
        columns: Array,
        size: tuple[int, int],
        numbers: Array,
    ) -> tuple[Array, Array]:
        shifts = symmetric(numbers) * self.fraction
        return (
            rows - xp.round(per_image(shifts, 0) * float(size[0])),
            columns - xp.round(per_image(shifts, 1) * float(size[1])),
        )


def move(xp: ModuleType, images: Array, moving: list[tuple[Geometric, Array]]) -> Array:
    """Applies a run of operations, each with its numbers, in one lookup."""
    if not moving:
        return images
    size = tuple(images.shape[1:3])
    rows, columns = grid(xp, size)
    # From the result back to the source: the last operation is undone first.
    for turn, (step, numbers) in enumerate(reversed(moving)):
        if turn:
            rows = _leave(xp, rows, size[0])
            columns = _leave(xp, columns, size[1])
        rows, columns = step.coordinates(xp, rows, columns, size, numbers)
    return look_up(xp, images, rows, columns)


def _leave(xp: ModuleType, places: Array, size: int) -> Array:
    outside = xp.logical_or(places < 0, places >= size)
    return xp.where(outside, np.float32(_FAR), places)


def look_up(xp: ModuleType, images: Array, rows: Array, columns: Array) -> Array:
    """Pixels at the given places; zero where a place is outside."""
    _, height, width, channels = images.shape
    batch = images.shape[0] if xp is np else xp.shape(images)[0]
    in_rows = xp.logical_and(rows >= 0, rows < height)
    in_columns = xp.logical_and(columns >= 0, columns < width)
    inside = xp.logical_and(in_rows, in_columns)
    # Pixel 0 is black; the batch's own pixels follow.
    start = xp.arange(batch, dtype="int32")[:, None, None] * (height * width) + 1
    place = cast(xp, xp.where(inside, rows * float(width) + columns, 0.0), "int32")
    index = xp.where(inside, place + start, 0)
    pixels = xp.reshape(images, (-1, channels))
    pixels = xp.concatenate([xp.zeros_like(pixels[:1]), pixels])
    if channels == 1:
        return xp.take(pixels[:, 0], index)[..., None]
    return xp.take(pixels, index, axis=0)
