"""A data set in three parts."""

from __future__ import annotations

import dataclasses

from keras_gradattn.datasets.file_check import BadFile
from keras_gradattn.datasets.images import Array, Images
from keras_gradattn.datasets.specs import DatasetSpec


@dataclasses.dataclass(frozen=True)
class Split:
    """One part of a data set.

    Args:
        name: `"train"`, `"validation"` or `"test"`.
        images: Array (images, height, width, channels) at the network's size, in
            units of 0 to 255: uint8, or float32 where the source has finer levels.
            Memory-mapped where it is large; `ImageFiles` decode on demand.
        labels: int32 array (images,), or (images, classes) of 0 and 1 for
            multi-label data.
        rows: Position of each image in its source.

    Example:

    >>> part = keras_gradattn.datasets.load("digits").test
    >>> part.name, part.images.shape, part.labels.dtype
    ('test', (271, 8, 8, 1), dtype('int32'))
    """

    name: str
    images: Images
    labels: Array
    rows: Array

    def __len__(self) -> int:
        return len(self.labels)

    # Whoever prints a part wants its size, not its pixels.
    def __repr__(self) -> str:
        return f"<Split {self.name!r}: {len(self):,} images>"


@dataclasses.dataclass(frozen=True)
class DatasetSplits:
    """A data set and its three parts.

    Args:
        spec: Its description, with the class names that the source gives.
        train: For training.
        validation: For choosing the best epoch.
        test: For the final evaluation.
        bad_files: Files that give no image and were left out as asked.

    Example:

    >>> digits = keras_gradattn.datasets.load("digits")
    >>> len(digits.train), len(digits.validation), len(digits.test)
    (1257, 269, 271)
    """

    spec: DatasetSpec
    train: Split
    validation: Split
    test: Split
    bad_files: tuple[BadFile, ...] = ()

    def __repr__(self) -> str:
        parts = (self.train, self.validation, self.test)
        sizes = ", ".join(f"{len(part):,} {part.name}" for part in parts)
        return f"<DatasetSplits {self.spec.title}: {sizes}>"


class DatasetNotFoundError(FileNotFoundError):
    """The data set is not in the folder; the message says how to get it."""
