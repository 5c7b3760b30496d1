"""What an augmentation operation is."""

from __future__ import annotations

from types import ModuleType
from typing import ClassVar

from keras_gradattn.datasets.augmentation._arrays import Array


class Operation:
    """Base of all operations; `numbers` counts the random numbers for an image."""

    numbers: ClassVar[int] = 1
    mixes_labels: ClassVar[bool] = False


class Geometric(Operation):
    """An operation that moves whole pixels: nearest neighbour, zero fill.

    It says where each pixel comes from, so that a run of such operations is one
    lookup. `rows` and `columns` broadcast to (batch, height, width).
    """

    def coordinates(
        self,
        xp: ModuleType,
        rows: Array,
        columns: Array,
        size: tuple[int, int],
        numbers: Array,
    ) -> tuple[Array, Array]:
        raise NotImplementedError


class Photometric(Operation):
    """An operation that changes float images in units of 0 to 255."""

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        raise NotImplementedError


class Mixing(Operation):
    """An operation that mixes neighbours in the batch, and their labels."""

    mixes_labels = True

    def mix_images(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        raise NotImplementedError

    def mix_labels(
        self, xp: ModuleType, labels: Array, numbers: Array, size: tuple[int, int]
    ) -> Array:
        """The labels alone, where images of `size` are mixed elsewhere."""
        raise NotImplementedError
