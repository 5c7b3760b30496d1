"""Augmentation of whole batches, every random choice made image by image.

Each operation is a pure function of the images and of a fixed count of uniform
random numbers for each image. The numbers come from outside, so that a batch is
a function of (seed, epoch, batch) and the same code runs on NumPy arrays in an
input pipeline and on tensors of any backend inside a compiled step.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar

import keras
import numpy as np

from keras_gradattn.datasets.specs import Augmentation

Array = Any
_LUMA = np.array([0.299, 0.587, 0.114], "float32")
# Coordinates outside the frame go here: every later map leaves them outside.
_FAR = -1e6


def _cast(xp: ModuleType, array: Array, dtype: str) -> Array:
    return array.astype(dtype) if xp is np else xp.cast(array, dtype)


def _range(xp: ModuleType, count: int) -> Array:
    numbers = np.arange(count, dtype="float32")
    # A PyTorch tensor does not calculate with a NumPy array.
    return numbers if xp is np else xp.convert_to_tensor(numbers)


def _per_image(numbers: Array, index: int) -> Array:
    """One number for each image, shape (batch, 1, 1)."""
    return numbers[:, index, None, None]


def _symmetric(numbers: Array) -> Array:
    return 2.0 * numbers - 1.0


def _clip(xp: ModuleType, images: Array) -> Array:
    return xp.clip(images, 0.0, 255.0)


def _luma(xp: ModuleType, images: Array) -> Array:
    """Grey level of each pixel, shape (batch, height, width, 1)."""
    if images.shape[-1] == 1:
        return images
    return xp.matmul(images, _LUMA[:, None])


def _blend(xp: ModuleType, images: Array, base: Array, factor: Array) -> Array:
    return _clip(xp, base + factor[..., None] * (images - base))


def _apply_where(
    xp: ModuleType, chosen: Array, function: Callable, images: Array, *arguments: Array
) -> Array:
    """Applies a function to the chosen images only."""
    if xp is np:
        # A pipeline pays for every image; a compiled step needs static shapes.
        if chosen.any():
            images = images.copy()
            chosen_arguments = (argument[chosen] for argument in arguments)
            images[chosen] = function(xp, images[chosen], *chosen_arguments)
        return images
    changed = function(xp, images, *arguments)
    return xp.where(chosen[:, None, None, None], changed, images)


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

    def mix(
        self, xp: ModuleType, images: Array, labels: Array, numbers: Array
    ) -> tuple[Array, Array]:
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Flip(Geometric):
    """Mirrors left and right.

    Args:
        probability: Share of images that are mirrored.
    """

    probability: float = 0.5

    def coordinates(self, xp, rows, columns, size, numbers):
        mirrored = _per_image(numbers, 0) < self.probability
        return rows, xp.where(mirrored, size[1] - 1.0 - columns, columns)


@dataclasses.dataclass(frozen=True)
class Crop(Geometric):
    """Pads with zeros and cuts the original size out at a random place.

    Args:
        padding: Pixels added on each side.
    """

    padding: int = 4
    numbers = 2

    def coordinates(self, xp, rows, columns, size, numbers):
        # The largest float32 below one must not round up to a further place.
        offsets = xp.minimum(
            xp.floor(numbers * (2 * self.padding + 1)), 2.0 * self.padding
        )
        offsets = offsets - float(self.padding)
        return rows + _per_image(offsets, 0), columns + _per_image(offsets, 1)


@dataclasses.dataclass(frozen=True)
class Rotation(Geometric):
    """Rotates about the centre.

    Args:
        degrees: Largest angle to either side.
    """

    degrees: float = 10.0

    def coordinates(self, xp, rows, columns, size, numbers):
        angle = _symmetric(_per_image(numbers, 0)) * math.radians(self.degrees)
        return _rotate(xp, rows, columns, size, xp.cos(angle), xp.sin(angle))


def _rotate(xp, rows, columns, size, cosine, sine):
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

    def coordinates(self, xp, rows, columns, size, numbers):
        shifts = _symmetric(numbers) * self.fraction
        return (
            rows - xp.round(_per_image(shifts, 0) * float(size[0])),
            columns - xp.round(_per_image(shifts, 1) * float(size[1])),
        )


@dataclasses.dataclass(frozen=True)
class Brightness(Photometric):
    """Multiplies all pixels by a factor.

    Args:
        amount: The factor is within 1 - amount and 1 + amount.
    """

    amount: float = 0.1

    def change(self, xp, images, numbers):
        factor = 1.0 + self.amount * _symmetric(_per_image(numbers, 0))
        return _clip(xp, images * factor[..., None])


@dataclasses.dataclass(frozen=True)
class Contrast(Photometric):
    """Stretches the distance of all pixels from the image's mean grey level.

    Args:
        amount: The factor is within 1 - amount and 1 + amount.
    """

    amount: float = 0.1

    def change(self, xp, images, numbers):
        factor = 1.0 + self.amount * _symmetric(_per_image(numbers, 0))
        return _blend(xp, images, _mean_luma(xp, images), factor)


def _mean_luma(xp, images):
    _, height, width, channels = images.shape
    # As a matrix product: summing short channel rows one by one is slow.
    average = np.full((1, height * width), 1 / (height * width), "float32")
    mean = xp.matmul(average, xp.reshape(images, (-1, height * width, channels)))
    return _luma(xp, mean)[..., None]


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

    def change(self, xp, images, numbers):
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)
        strength = _symmetric(numbers[:, :4])
        order = numbers[:, 4:]
        # Rank of each random key: when that adjustment has its turn.
        turns = xp.sum(
            _cast(xp, order[:, None, :] < order[:, :, None], "int32"), axis=-1
        )
        for turn in range(4):
            for index, adjust in enumerate(_ADJUSTMENTS):
                if amounts[index]:
                    images = _apply_where(
                        xp,
                        turns[:, index] == turn,
                        adjust,
                        images,
                        amounts[index] * _per_image(strength, index),
                    )
        return images


def _adjust_brightness(xp, images, strength):
    return _clip(xp, images * (1.0 + strength[..., None]))


def _adjust_contrast(xp, images, strength):
    return _blend(xp, images, _mean_luma(xp, images), 1.0 + strength)


def _adjust_saturation(xp, images, strength):
    return _blend(xp, images, _luma(xp, images), 1.0 + strength)


def _adjust_hue(xp, images, strength):
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
    _adjust_brightness,
    _adjust_contrast,
    _adjust_saturation,
    _adjust_hue,
)


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

    @property
    def numbers(self) -> int:
        return 2 * self.attempts + 2

    def change(self, xp, images, numbers):
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


def _sample_box(xp, images, top, left, box_height, box_width):
    _, height, width, channels = images.shape
    rows = _crop_matrix(xp, top, box_height, height)
    columns = _crop_matrix(xp, left, box_width, width)
    images = xp.matmul(rows, xp.reshape(images, (-1, height, width * channels)))
    images = xp.reshape(images, (-1, height, width, channels))
    images = xp.matmul(columns[:, None], images)
    return _clip(xp, images)


def _crop_matrix(xp, start, length, size):
    """Weights (batch, size, size) that enlarge `length` pixels to `size`."""
    grid = _range(xp, size)
    place = (grid + 0.5) * (length / size)[:, None] - 0.5
    # Only the crop is enlarged: what lies beyond its border is not looked at.
    place = xp.clip(place, 0.0, (length - 1.0)[:, None]) + start[:, None]
    return xp.maximum(0.0, 1.0 - xp.abs(place[:, :, None] - grid))


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

    def change(self, xp, images, numbers):
        height, width = images.shape[1:3]
        share = self.scale[0] + (self.scale[1] - self.scale[0]) * numbers[:, 1]
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        ratio = xp.exp(low + (high - low) * numbers[:, 2])
        box_height = xp.minimum(xp.sqrt(share * ratio), 1.0) * float(height)
        box_width = xp.minimum(xp.sqrt(share / ratio), 1.0) * float(width)
        top = numbers[:, 3] * (height - box_height)
        left = numbers[:, 4] * (width - box_width)
        inside = _box(xp, (height, width), top, left, box_height, box_width)
        chosen = (numbers[:, 0] < self.probability)[:, None, None]
        inside = xp.logical_and(inside, chosen)[..., None]
        return xp.where(inside, xp.mean(images, axis=(1, 2), keepdims=True), images)


def _box(xp, size, top, left, height, width):
    """Which pixel centres lie in each image's box, (batch, height, width)."""
    rows, columns = (places + 0.5 for places in _grid(xp, size))
    top, left = top[:, None, None], left[:, None, None]
    height, width = height[:, None, None], width[:, None, None]
    in_rows = xp.logical_and(rows >= top, rows < top + height)
    in_columns = xp.logical_and(columns >= left, columns < left + width)
    return xp.logical_and(in_rows, in_columns)


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

    def mix(self, xp, images, labels, numbers):
        share = _beta(xp, numbers[:, 0], self.alpha)
        share = xp.where(numbers[:, 1] < self.probability, share, 1.0)
        weight = share[:, None, None, None]
        images = weight * images + (1.0 - weight) * xp.roll(images, 1, axis=0)
        return images, _mix_labels(xp, labels, share)


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

    def mix(self, xp, images, labels, numbers):
        height, width = images.shape[1:3]
        share = _beta(xp, numbers[:, 0], self.alpha)
        share = xp.where(numbers[:, 1] < self.probability, share, 1.0)
        side = xp.sqrt(1.0 - share)
        top = numbers[:, 2] * float(height) - side * (height / 2)
        left = numbers[:, 3] * float(width) - side * (width / 2)
        inside = _box(
            xp, (height, width), top, left, side * float(height), side * float(width)
        )
        mixed = xp.where(inside[..., None], xp.roll(images, 1, axis=0), images)
        kept = 1.0 - xp.mean(_cast(xp, inside, "float32"), axis=(1, 2))
        return mixed, _mix_labels(xp, labels, kept)


def _mix_labels(xp, labels, share):
    share = share[:, None]
    labels = _cast(xp, labels, "float32")
    return share * labels + (1.0 - share) * xp.roll(labels, 1, axis=0)


def _beta(xp, numbers, alpha):
    """Beta(alpha, alpha) variates from uniform numbers, by a quantile table."""
    table = _beta_quantiles(alpha)
    place = numbers * float(len(table) - 1)
    below = xp.floor(place)
    index = _cast(xp, below, "int32")
    low = xp.take(table, index)
    high = xp.take(table, xp.minimum(index + 1, len(table) - 1))
    return low + (place - below) * (high - low)


def _beta_quantiles(alpha: float, count: int = 4097) -> np.ndarray:
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

    @property
    def numbers(self) -> int:
        return 2 * self.operations

    def change(self, xp, images, numbers):
        strength = self.magnitude / 10.0
        for turn in range(self.operations):
            choice = xp.floor(numbers[:, 2 * turn] * float(len(_CHOICES) + 1))
            signed = _symmetric(_cast(xp, numbers[:, 2 * turn + 1] < 0.5, "float32"))
            for index, change in enumerate(_CHOICES):
                images = _apply_where(
                    xp,
                    choice == index,
                    change,
                    images,
                    _per_image((strength * signed)[:, None], 0),
                )
        return images


def _affine(xp, images, matrix, shift):
    size = tuple(images.shape[1:3])
    rows, columns = _grid(xp, size)
    down = rows + (0.5 - size[0] / 2)
    right = columns + (0.5 - size[1] / 2)
    (across, along), (rise, keep) = matrix
    columns = across * right + along * down + shift[0] * float(size[1]) + size[1] / 2
    rows = rise * right + keep * down + shift[1] * float(size[0]) + size[0] / 2
    return _look_up(xp, images, xp.floor(rows), xp.floor(columns))


def _random_rotation(xp, images, strength):
    angle = strength * math.radians(30.0)
    cosine, sine = xp.cos(angle), xp.sin(angle)
    return _affine(xp, images, ((cosine, -sine), (sine, cosine)), (0.0, 0.0))


def _random_shear_x(xp, images, strength):
    return _affine(xp, images, ((1.0, 0.3 * strength), (0.0, 1.0)), (0.0, 0.0))


def _random_shear_y(xp, images, strength):
    return _affine(xp, images, ((1.0, 0.0), (0.3 * strength, 1.0)), (0.0, 0.0))


def _random_translate_x(xp, images, strength):
    shift = (0.45 * strength, 0.0 * strength)
    return _affine(xp, images, ((1.0, 0.0), (0.0, 1.0)), shift)


def _random_translate_y(xp, images, strength):
    shift = (0.0 * strength, 0.45 * strength)
    return _affine(xp, images, ((1.0, 0.0), (0.0, 1.0)), shift)


def _solarize(xp, images, strength):
    threshold = 256.0 * (1.0 - xp.abs(strength[..., None]))
    return xp.where(images >= threshold, 255.0 - images, images)


def _posterize(xp, images, strength):
    step = 2.0 ** xp.round(4.0 * xp.abs(strength[..., None]))
    return xp.floor(images / step) * step


def _autocontrast(xp, images, strength):
    del strength
    low = xp.min(images, axis=(1, 2), keepdims=True)
    high = xp.max(images, axis=(1, 2), keepdims=True)
    spread = xp.maximum(high - low, 1.0)
    stretched = _clip(xp, (images - low) * (255.0 / spread))
    return xp.where(high > low, stretched, images)


_CHOICES = (
    _random_rotation,
    _random_shear_x,
    _random_shear_y,
    _random_translate_x,
    _random_translate_y,
    lambda xp, images, strength: _adjust_brightness(xp, images, 0.9 * strength),
    lambda xp, images, strength: _adjust_contrast(xp, images, 0.9 * strength),
    lambda xp, images, strength: _adjust_saturation(xp, images, 0.9 * strength),
    _solarize,
    _posterize,
    _autocontrast,
)


OPERATIONS: dict[str, type[Operation]] = {
    "flip": Flip,
    "crop": Crop,
    "rotation": Rotation,
    "translation": Translation,
    "brightness": Brightness,
    "contrast": Contrast,
    "color_jitter": ColorJitter,
    "random_resized_crop": RandomResizedCrop,
    "random_erasing": RandomErasing,
    "random_augment": RandomAugment,
    "mixup": MixUp,
    "cutmix": CutMix,
}


def operation(entry: Augmentation) -> Operation:
    """The operation that an entry describes.

    Args:
        entry: Name and options.

    Raises:
        ValueError: If there is no such operation (the message names the nearest)
            or it has no such option.
    """
    if entry.name not in OPERATIONS:
        nearest = difflib.get_close_matches(entry.name, OPERATIONS, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(
            f"There is no such augmentation.{hint} Known: {', '.join(OPERATIONS)}. "
            f"Received: {entry!r}"
        )
    kind = OPERATIONS[entry.name]
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = sorted(set(entry.options) - set(known))
    if unknown:
        raise ValueError(
            f"Augmentation {entry.name!r} has the options {', '.join(known)}. "
            f"Received: {', '.join(unknown)}"
        )
    return kind(**entry.options)


class Augmenter:
    """A table of augmentations, ready to run on batches.

    Args:
        entries: The table, applied in order.

    Example:

    >>> augmenter = Augmenter([Augmentation("flip"), Augmentation("crop", padding=4)])
    >>> images = np.zeros((2, 32, 32, 3), "uint8")
    >>> numbers = np.random.default_rng(0).random((2, augmenter.numbers), "float32")
    >>> augmenter(images, None, numbers)[0].shape
    (2, 32, 32, 3)
    """

    def __init__(self, entries: Sequence[Augmentation]):
        self.operations = [operation(entry) for entry in entries]
        self.numbers = sum(step.numbers for step in self.operations)
        self.mixes_labels = any(step.mixes_labels for step in self.operations)

    def __call__(
        self, images: Array, labels: Array, numbers: Array, xp: ModuleType = np
    ) -> tuple[Array, Array]:
        """Augments one batch.

        Args:
            images: (batch, height, width, channels) in units of 0 to 255.
            labels: One-hot labels (batch, classes) where the table mixes labels;
                else anything, handed through.
            numbers: Uniform random numbers (batch, self.numbers), float32.
            xp: `numpy` or `keras.ops`.

        Returns:
            The images (float32 once an operation changes levels, else of the
            type given) and the labels.
        """
        first = 0
        moving: list[tuple[Geometric, Array]] = []
        for step in self.operations:
            own = numbers[:, first : first + step.numbers]
            first += step.numbers
            if isinstance(step, Geometric):
                moving.append((step, own))
                continue
            images = _cast(xp, _move(xp, images, moving), "float32")
            moving = []
            if isinstance(step, Mixing):
                images, labels = step.mix(xp, images, labels, own)
            else:
                images = step.change(xp, images, own)
        return _move(xp, images, moving), labels


def _grid(xp: ModuleType, size: tuple[int, int]) -> tuple[Array, Array]:
    return _range(xp, size[0])[None, :, None], _range(xp, size[1])[None, None, :]


def _move(xp: ModuleType, images: Array, moving: list) -> Array:
    if not moving:
        return images
    size = tuple(images.shape[1:3])
    rows, columns = _grid(xp, size)
    # From the result back to the source: the last operation is undone first.
    for turn, (step, numbers) in enumerate(reversed(moving)):
        if turn:
            rows = _leave(xp, rows, size[0])
            columns = _leave(xp, columns, size[1])
        rows, columns = step.coordinates(xp, rows, columns, size, numbers)
    return _look_up(xp, images, rows, columns)


def _leave(xp: ModuleType, places: Array, size: int) -> Array:
    outside = xp.logical_or(places < 0, places >= size)
    return xp.where(outside, np.float32(_FAR), places)


def _look_up(xp: ModuleType, images: Array, rows: Array, columns: Array) -> Array:
    """Pixels at the given places; zero where a place is outside."""
    _, height, width, channels = images.shape
    batch = images.shape[0] if xp is np else xp.shape(images)[0]
    in_rows = xp.logical_and(rows >= 0, rows < height)
    in_columns = xp.logical_and(columns >= 0, columns < width)
    inside = xp.logical_and(in_rows, in_columns)
    # Pixel 0 is black; the batch's own pixels follow.
    start = xp.arange(batch, dtype="int32")[:, None, None] * (height * width) + 1
    place = _cast(xp, xp.where(inside, rows * float(width) + columns, 0.0), "int32")
    index = xp.where(inside, place + start, 0)
    pixels = xp.reshape(images, (-1, channels))
    pixels = xp.concatenate([xp.zeros_like(pixels[:1]), pixels])
    if channels == 1:
        return xp.take(pixels[:, 0], index)[..., None]
    return xp.take(pixels, index, axis=0)


class RandomAugmentation(keras.layers.Layer):
    """Augmentation as a layer, inside the compiled step of any backend.

    Args:
        augmentation: The table, applied in order.
        seed: Seed of the random numbers.
        **kwargs: `name` and `dtype` as in `keras.layers.Layer`.

    Input: images (batch, height, width, channels) in units of 0 to 255. With a
    table that mixes labels, a dictionary of `"images"` and one-hot `"labels"`.

    Returns: the same structure; unchanged when `training` is False.

    Example:

    >>> layer = RandomAugmentation([Augmentation("crop", padding=4)], seed=0)
    >>> layer(np.zeros((2, 32, 32, 3), "float32"), training=True).shape
    (2, 32, 32, 3)
    """

    def __init__(
        self,
        augmentation: Sequence[Augmentation],
        seed: int | None = None,
        **kwargs: Any,
    ):
        # Half precision would round the levels before they are augmented.
        super().__init__(autocast=False, **kwargs)
        self.augmentation = tuple(
            entry if isinstance(entry, Augmentation) else Augmentation(**entry)
            for entry in augmentation
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._augmenter = Augmenter(self.augmentation)

    def call(self, inputs, training: bool = False):
        if not training or not self.augmentation:
            return inputs
        mapping = isinstance(inputs, dict)
        if self._augmenter.mixes_labels and not mapping:
            raise ValueError(
                "A table that mixes labels needs a dictionary of 'images' and "
                f"'labels'. Received: {type(inputs).__name__}"
            )
        images = inputs["images"] if mapping else inputs
        labels = inputs.get("labels") if mapping else None
        numbers = keras.random.uniform(
            (keras.ops.shape(images)[0], self._augmenter.numbers),
            dtype="float32",
            seed=self.seed_generator,
        )
        images, labels = self._augmenter(images, labels, numbers, keras.ops)
        images = keras.ops.cast(images, self.compute_dtype)
        return {**inputs, "images": images, "labels": labels} if mapping else images

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "augmentation": [entry.to_dict() for entry in self.augmentation],
            "seed": self.seed,
        }
