"""Brightness, contrast, saturation, hue and erased boxes."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

from keras_gradattn.datasets.augmentation._arrays import (
    Array,
    apply_where,
    blend,
    box,
    cast,
    clip,
    luma,
    mean_luma,
    per_image,
    symmetric,
)
from keras_gradattn.datasets.augmentation.base import Photometric


@dataclasses.dataclass(frozen=True)
class Brightness(Photometric):
    """Multiplies all pixels by a factor.

    Args:
        amount: The factor is within 1 - amount and 1 + amount.
    """

    amount: float = 0.1

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        factor = 1.0 + self.amount * symmetric(per_image(numbers, 0))
        return clip(xp, images * factor[..., None])


@dataclasses.dataclass(frozen=True)
class Contrast(Photometric):
    """Stretches the distance of all pixels from the image's mean grey level.

    Args:
        amount: The factor is within 1 - amount and 1 + amount.
    """

    amount: float = 0.1

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        factor = 1.0 + self.amount * symmetric(per_image(numbers, 0))
        return blend(xp, images, mean_luma(xp, images), factor)


@dataclasses.dataclass(frozen=True)
class ColorJitter(Photometric):
    """Brightness, contrast, saturation and hue, in random order for each image.

    Args:
        brightness: The factor is within 1 - brightness and 1 + brightness.
        contrast: Likewise, about the image's mean grey level.
        saturation: Likewise, about each pixel's grey level.
        hue: Largest turn to either side, as a share of the colour circle.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    numbers = 8

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)
        strength = symmetric(numbers[:, :4])
        order = numbers[:, 4:]
        # Rank of each random key: when that adjustment has its turn.
        turns = xp.sum(
            cast(xp, order[:, None, :] < order[:, :, None], "int32"), axis=-1
        )
        for turn in range(4):
            for index, adjust in enumerate(_ADJUSTMENTS):
                if amounts[index]:
                    images = apply_where(
                        xp,
                        turns[:, index] == turn,
                        adjust,
                        images,
                        amounts[index] * per_image(strength, index),
                    )
        return images


def adjust_brightness(xp: ModuleType, images: Array, strength: Array) -> Array:
    return clip(xp, images * (1.0 + strength[..., None]))


def adjust_contrast(xp: ModuleType, images: Array, strength: Array) -> Array:
    return blend(xp, images, mean_luma(xp, images), 1.0 + strength)


def adjust_saturation(xp: ModuleType, images: Array, strength: Array) -> Array:
    return blend(xp, images, luma(xp, images), 1.0 + strength)


def adjust_hue(xp: ModuleType, images: Array, strength: Array) -> Array:
    """Turns the hue in hue-saturation-value space."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    value = xp.maximum(xp.maximum(red, green), blue)
    chroma = value - xp.minimum(xp.minimum(red, green), blue)
    safe = xp.where(chroma > 0, chroma, xp.ones_like(chroma))
    sector = xp.where(
        value == red,
        (green - blue) / safe,
        xp.where(value == green, 2.0 + (blue - red) / safe, 4.0 + (red - green) / safe),
    )
    sector = sector + 6.0 * strength
    channels = []
    for shift in (5.0, 3.0, 1.0):
        # Not `%`, which is many times slower on NumPy floats.
        place = sector + shift
        place = place - 6.0 * xp.floor(place * (1 / 6))
        share = xp.clip(xp.minimum(place, 4.0 - place), 0.0, 1.0)
        channels.append(value - chroma * share)
    return xp.stack(channels, axis=-1)


_ADJUSTMENTS = (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    adjust_hue,
)


@dataclasses.dataclass(frozen=True)
class RandomErasing(Photometric):
    """Fills a random box with the image's mean colour (Zhong et al., 2020).

    Args:
        probability: Share of images with a box.
        scale: Least and largest share of the area.
        ratio: Least and largest height over width, log-uniform.
    """

    probability: float = 0.25
    scale: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 10 / 3)
    numbers = 5

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        height, width = images.shape[1:3]
        share = self.scale[0] + (self.scale[1] - self.scale[0]) * numbers[:, 1]
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = xp.exp(low + (high - low) * numbers[:, 2])
        box_height = xp.minimum(xp.sqrt(share * ratio), 1.0) * float(height)
        box_width = xp.minimum(xp.sqrt(share / ratio), 1.0) * float(width)
        top = numbers[:, 3] * (height - box_height)
        left = numbers[:, 4] * (width - box_width)
        inside = box(xp, (height, width), top, left, box_height, box_width)
        chosen = (numbers[:, 0] < self.probability)[:, None, None]
        inside = xp.logical_and(inside, chosen)[..., None]
        return xp.where(inside, xp.mean(images, axis=(1, 2), keepdims=True), images)
