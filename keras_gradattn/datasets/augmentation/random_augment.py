"""RandAugment: a few random operations of equal strength."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

from keras_gradattn.datasets.augmentation._arrays import (
    Array,
    apply_where,
    cast,
    clip,
    grid,
    per_image,
    symmetric,
)
from keras_gradattn.datasets.augmentation.base import Photometric
from keras_gradattn.datasets.augmentation.geometric import look_up
from keras_gradattn.datasets.augmentation.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
)


@dataclasses.dataclass(frozen=True)
class RandomAugment(Photometric):
    """A few random operations of equal strength (RandAugment, Cubuk et al., 2020).

    Each image draws from identity, rotation, shear and translation along both
    axes, brightness, contrast, saturation, solarise, posterise and autocontrast
    (the paper's list without equalise and sharpness).

    Args:
        operations: Operations for each image.
        magnitude: Strength from 0 to 10.
    """

    operations: int = 2
    magnitude: float = 9.0

    # For an operation whose count depends on its options.
    @property
    def numbers(self) -> int:  # type: ignore[override]
        return 2 * self.operations

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        strength = self.magnitude / 10.0
        for turn in range(self.operations):
            choice = xp.floor(numbers[:, 2 * turn] * float(len(_CHOICES) + 1))
            signed = symmetric(cast(xp, numbers[:, 2 * turn + 1] < 0.5, "float32"))
            for index, change in enumerate(_CHOICES):
                images = apply_where(
                    xp,
                    choice == index,
                    change,
                    images,
                    per_image((strength * signed)[:, None], 0),
                )
        return images


def _affine(xp: ModuleType, images: Array, matrix: Array, shift: Array) -> Array:
    size = tuple(images.shape[1:3])
    rows, columns = grid(xp, size)
    down = rows + (0.5 - size[0] / 2)
    right = columns + (0.5 - size[1] / 2)
    (across, along), (rise, keep) = matrix
    columns = across * right + along * down + shift[0] * float(size[1]) + size[1] / 2
    rows = rise * right + keep * down + shift[1] * float(size[0]) + size[0] / 2
    return look_up(xp, images, xp.floor(rows), xp.floor(columns))


def _random_rotation(xp: ModuleType, images: Array, strength: Array) -> Array:
    angle = strength * math.radians(30.0)
    cosine, sine = xp.cos(angle), xp.sin(angle)
    return _affine(xp, images, ((cosine, -sine), (sine, cosine)), (0.0, 0.0))


def _random_shear_x(xp: ModuleType, images: Array, strength: Array) -> Array:
    return _affine(xp, images, ((1.0, 0.3 * strength), (0.0, 1.0)), (0.0, 0.0))


def _random_shear_y(xp: ModuleType, images: Array, strength: Array) -> Array:
    return _affine(xp, images, ((1.0, 0.0), (0.3 * strength, 1.0)), (0.0, 0.0))


def _random_translate_x(xp: ModuleType, images: Array, strength: Array) -> Array:
    shift = (0.45 * strength, 0.0 * strength)
    return _affine(xp, images, ((1.0, 0.0), (0.0, 1.0)), shift)


def _random_translate_y(xp: ModuleType, images: Array, strength: Array) -> Array:
    shift = (0.0 * strength, 0.45 * strength)
    return _affine(xp, images, ((1.0, 0.0), (0.0, 1.0)), shift)


def _solarize(xp: ModuleType, images: Array, strength: Array) -> Array:
    threshold = 256.0 * (1.0 - xp.abs(strength[..., None]))
    return xp.where(images >= threshold, 255.0 - images, images)


def _posterize(xp: ModuleType, images: Array, strength: Array) -> Array:
    step = 2.0 ** xp.round(4.0 * xp.abs(strength[..., None]))
    return xp.floor(images / step) * step


def _autocontrast(xp: ModuleType, images: Array, strength: Array) -> Array:
    del strength
    low = xp.min(images, axis=(1, 2), keepdims=True)
    high = xp.max(images, axis=(1, 2), keepdims=True)
    spread = xp.maximum(high - low, 1.0)
    stretched = clip(xp, (images - low) * (255.0 / spread))
    return xp.where(high > low, stretched, images)


_CHOICES = (
    _random_rotation,
    _random_shear_x,
    _random_shear_y,
    _random_translate_x,
    _random_translate_y,
    lambda xp, images, strength: adjust_brightness(xp, images, 0.9 * strength),
    lambda xp, images, strength: adjust_contrast(xp, images, 0.9 * strength),
    lambda xp, images, strength: adjust_saturation(xp, images, 0.9 * strength),
    _solarize,
    _posterize,
    _autocontrast,
)
