"""From a table of entries to operations that run on batches."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from types import ModuleType

import numpy as np

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.augmentation._arrays import Array, cast
from keras_gradattn.datasets.augmentation.base import (
    Geometric,
    Mixing,
    Operation,
    Photometric,
)
from keras_gradattn.datasets.augmentation.geometric import (
    Crop,
    Flip,
    Rotation,
    Translation,
    move,
)
from keras_gradattn.datasets.augmentation.mixing import CutMix, MixUp
from keras_gradattn.datasets.augmentation.photometric import (
    Brightness,
    ColorJitter,
    Contrast,
    RandomErasing,
)
from keras_gradattn.datasets.augmentation.random_augment import RandomAugment
from keras_gradattn.datasets.augmentation.resized_crop import RandomResizedCrop
from keras_gradattn.datasets.specs import Augmentation

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

    Returns:
        An operation on whole batches, which takes `numbers` random numbers an image.

    Raises:
        ValueError: If there is no such operation (the message names the nearest)
            or it has no such option.

    Example:

    >>> operation(Augmentation("crop", padding=4)).numbers
    2
    """
    if entry.name not in OPERATIONS:
        raise ValueError(
            f"There is no such augmentation.{suggestion(entry.name, OPERATIONS)} "
            f"Known: {', '.join(OPERATIONS)}. Received: {entry!r}"
        )
    kind = OPERATIONS[entry.name]
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
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
                else anything, handed through; `None` for the images alone.
            numbers: Uniform random numbers (batch, self.numbers), float32.
            xp: `numpy` or `keras.ops`.

        Returns:
            The images (float32 once an operation changes levels, else of the
            type given) and the labels.
        """
        moving: list[tuple[Geometric, Array]] = []
        for step, own in self._steps(numbers):
            if isinstance(step, Geometric):
                moving.append((step, own))
                continue
            images = cast(xp, move(xp, images, moving), "float32")
            moving = []
            if isinstance(step, Mixing):
                images = step.mix_images(xp, images, own)
                if labels is not None:
                    labels = step.mix_labels(xp, labels, own, tuple(images.shape[1:3]))
            elif isinstance(step, Photometric):
                images = step.change(xp, images, own)
        return move(xp, images, moving), labels

    def mix_labels(
        self, labels: np.ndarray, numbers: np.ndarray, size: tuple[int, int]
    ) -> np.ndarray:
        """What becomes of the labels when the same numbers augment the images.

        Args:
            labels: One-hot labels (batch, classes) where the table mixes labels.
            numbers: As for the images.
            size: Height and width of the images.

        Returns:
            Labels of the same shape; those given where no operation mixes them.
        """
        for step, own in self._steps(numbers):
            if isinstance(step, Mixing):
                labels = step.mix_labels(np, labels, own, size)
        return labels

    def _steps(self, numbers: Array) -> Iterator[tuple[Operation, Array]]:
        """Each operation with its random numbers."""
        first = 0
        for step in self.operations:
            yield step, numbers[:, first : first + step.numbers]
            first += step.numbers
