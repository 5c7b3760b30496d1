"""MixUp and CutMix: images and labels of neighbours in the batch are mixed."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import numpy as np

from keras_gradattn.datasets.augmentation._arrays import Array, box, cast
from keras_gradattn.datasets.augmentation.base import Mixing


@dataclasses.dataclass(frozen=True)
class MixUp(Mixing):
    """Blends each image with its neighbour in the batch (Zhang et al., 2018).

    The share of the image itself is drawn from Beta(alpha, alpha).

    Args:
        alpha: Parameter of the Beta distribution.
        probability: Share of images that are blended.
    """

    alpha: float = 0.2
    probability: float = 1.0
    numbers = 2

    def mix_images(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        weight = self._share(xp, numbers)[:, None, None, None]
        return weight * images + (1.0 - weight) * xp.roll(images, 1, axis=0)

    def mix_labels(
        self, xp: ModuleType, labels: Array, numbers: Array, size: tuple[int, int]
    ) -> Array:
        return _mix_labels(xp, labels, self._share(xp, numbers))

    def _share(self, xp: ModuleType, numbers: Array) -> Array:
        share = _beta(xp, numbers[:, 0], self.alpha)
        return xp.where(numbers[:, 1] < self.probability, share, 1.0)


@dataclasses.dataclass(frozen=True)
class CutMix(Mixing):
    """Puts a box of the neighbour into each image (Yun et al., 2019, section 3.1).

    The box covers 1 - s of the area with s drawn from Beta(alpha, alpha); labels
    are mixed by the area that is really covered.

    Args:
        alpha: Parameter of the Beta distribution.
        probability: Share of images that get a box.
    """

    alpha: float = 1.0
    probability: float = 1.0
    numbers = 4

    def mix_images(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        inside = self._inside(xp, numbers, tuple(images.shape[1:3]))
        return xp.where(inside[..., None], xp.roll(images, 1, axis=0), images)

    def mix_labels(
        self, xp: ModuleType, labels: Array, numbers: Array, size: tuple[int, int]
    ) -> Array:
        inside = self._inside(xp, numbers, size)
        kept = 1.0 - xp.mean(cast(xp, inside, "float32"), axis=(1, 2))
        return _mix_labels(xp, labels, kept)

    def _inside(self, xp: ModuleType, numbers: Array, size: tuple[int, int]) -> Array:
        height, width = size
        share = _beta(xp, numbers[:, 0], self.alpha)
        share = xp.where(numbers[:, 1] < self.probability, share, 1.0)
        side = xp.sqrt(1.0 - share)
        top = numbers[:, 2] * float(height) - side * (height / 2)
        left = numbers[:, 3] * float(width) - side * (width / 2)
        return box(xp, size, top, left, side * float(height), side * float(width))


def _mix_labels(xp: ModuleType, labels: Array, share: Array) -> Array:
    share = share[:, None]
    labels = cast(xp, labels, "float32")
    return share * labels + (1.0 - share) * xp.roll(labels, 1, axis=0)


def _beta(xp: ModuleType, numbers: Array, alpha: Array) -> Array:
    """Beta(alpha, alpha) variates from uniform numbers, by a quantile table."""
    table = beta_quantiles(alpha)
    place = numbers * float(len(table) - 1)
    below = xp.floor(place)
    index = cast(xp, below, "int32")
    low = xp.take(table, index)
    high = xp.take(table, xp.minimum(index + 1, len(table) - 1))
    return low + (place - below) * (high - low)


def beta_quantiles(alpha: float, count: int = 4097) -> np.ndarray:
    # With x = s ** (1 / alpha) the density has no pole at zero; the other half
    # follows from symmetry.
    steps = np.linspace(0.0, 0.5**alpha, 20_001)
    points = steps ** (1.0 / alpha)
    density = (1.0 - points) ** (alpha - 1.0)
    mass = np.concatenate(
        [[0.0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(steps))]
    )
    probability = np.linspace(0.0, 1.0, count)
    half = np.interp(probability, mass / mass[-1] / 2, points)
    return np.where(probability <= 0.5, half, 1.0 - half[::-1]).astype("float32")
