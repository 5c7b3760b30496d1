"""Random resized crop, as products with a matrix for each image."""

from __future__ import annotations

import dataclasses
import math
from types import ModuleType

from keras_gradattn.datasets.augmentation._arrays import Array, clip, indices
from keras_gradattn.datasets.augmentation.base import Photometric


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(Photometric):
    """Cuts out a random part and enlarges it to the full size, bilinear.

    Ten places are drawn for an image, and the first that fits is taken; if none
    does, the whole image stays.

    Args:
        scale: Least and largest share of the area.
        ratio: Least and largest width over height, log-uniform.
    """

    scale: tuple[float, float] = (0.8, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    attempts: int = 10

    # For an operation whose count depends on its options.
    @property
    def numbers(self) -> int:  # type: ignore[override]
        return 2 * self.attempts + 2

    def change(self, xp: ModuleType, images: Array, numbers: Array) -> Array:
        height, width = images.shape[1:3]
        least, largest = self.scale
        share = least + (largest - least) * numbers[:, : self.attempts]
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = xp.exp(low + (high - low) * numbers[:, self.attempts : -2])
        widths = xp.round(xp.sqrt(share * ratio * float(height * width)))
        heights = xp.round(xp.sqrt(share / ratio * float(height * width)))
        fits = xp.logical_and(widths <= width, heights <= height)
        crop_width = xp.full_like(share[:, 0], float(width))
        crop_height = xp.full_like(share[:, 0], float(height))
        for attempt in reversed(range(self.attempts)):
            good = fits[:, attempt]
            crop_width = xp.where(good, widths[:, attempt], crop_width)
            crop_height = xp.where(good, heights[:, attempt], crop_height)
        top = xp.floor(numbers[:, -2] * (height - crop_height + 1.0))
        left = xp.floor(numbers[:, -1] * (width - crop_width + 1.0))
        top = xp.minimum(top, height - crop_height)
        left = xp.minimum(left, width - crop_width)
        return _sample_box(xp, images, top, left, crop_height, crop_width)


def _sample_box(
    xp: ModuleType,
    images: Array,
    top: Array,
    left: Array,
    box_height: Array,
    box_width: Array,
) -> Array:
    _, height, width, channels = images.shape
    rows = _crop_matrix(xp, top, box_height, height)
    columns = _crop_matrix(xp, left, box_width, width)
    images = xp.matmul(rows, xp.reshape(images, (-1, height, width * channels)))
    images = xp.reshape(images, (-1, height, width, channels))
    images = xp.matmul(columns[:, None], images)
    return clip(xp, images)


def _crop_matrix(xp: ModuleType, start: Array, length: Array, size: int) -> Array:
    """Weights (batch, size, size) that enlarge `length` pixels to `size`."""
    grid = indices(xp, size)
    place = (grid + 0.5) * (length / size)[:, None] - 0.5
    # Only the crop is enlarged: what lies beyond its border is not looked at.
    place = xp.clip(place, 0.0, (length - 1.0)[:, None]) + start[:, None]
    return xp.maximum(0.0, 1.0 - xp.abs(place[:, :, None] - grid))
