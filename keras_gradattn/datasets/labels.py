"""From labels of any kind to class numbers and class names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from keras_gradattn.datasets.images import Array


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels as numbers.

    Args:
        codes: int32 classes (images,), or 0 and 1 for each class (images, classes).
        class_names: Name of each class.
    """

    codes: Array
    class_names: tuple[str, ...]

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of labels."""
        return self.codes.ndim == 2


def encode_labels(
    labels: ArrayLike, class_names: Sequence[str] | None = None
) -> Labels:
    """Numbers the classes in the order of their names.

    Numbers are ordered by value, words by the alphabet. One-hot rows become classes;
    rows with any other count of ones are multi-label.

    Args:
        labels: Numbers or words (images,) or (images, 1); or 0 and 1 (images, classes).
        class_names: Names of the classes 0, 1, ... of labels that are numbers.
            Default: the labels themselves.

    Raises:
        ValueError: If labels are missing or of another kind, or there is one class.

    Example:

    >>> encode_labels(["dog", "cat", "dog"])
    Labels(codes=array([1, 0, 1], dtype=int32), class_names=('cat', 'dog'))
    """
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        result = _encode_rows(array, class_names)
    elif array.ndim == 1 and array.dtype.kind in "iubf":
        result = _encode_numbers(array, class_names)
    elif array.ndim == 1 and array.dtype.kind in "UTSO":
        result = _encode_words(array, class_names)
    else:
        raise ValueError(
            "Labels should be numbers or words (images,), or 0 and 1 (images, "
            f"classes). Received: {array.dtype} with shape {array.shape}"
        )
    if len(result.class_names) < 2 and not result.multi_label:
        raise ValueError(
            "There should be two classes at least. "
            f"Received: {list(result.class_names)}"
        )
    return result


def _encode_numbers(array: Array, class_names: Sequence[str] | None) -> Labels:
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        odd = array[array != np.rint(array)]
        raise ValueError(
            "Labels that are numbers should be whole: a class for each. "
            f"Received: {odd[0]} ({len(odd)} such labels)"
        )
    codes = array.astype(np.int64)
    if class_names is not None:
        outside = codes[(codes < 0) | (codes >= len(class_names))]
        if len(outside):
            raise ValueError(
                f"Labels should be 0 to {len(class_names) - 1}, one for each of the "
                f"{len(class_names)} class names. Received: {outside[0]}"
            )
        return Labels(codes.astype("int32"), tuple(class_names))
    found, codes = np.unique(codes, return_inverse=True)
    return Labels(codes.astype("int32"), tuple(str(label) for label in found.tolist()))


def _encode_words(array: Array, class_names: Sequence[str] | None) -> Labels:
    words = [
        word.decode() if isinstance(word, bytes) else word for word in array.tolist()
    ]
    missing = [row for row, word in enumerate(words) if is_missing(word)]
    if missing:
        raise ValueError(
            f"Every image should have a label. Received: no label for "
            f"{len(missing)} of {len(words)} images, first in row {missing[0]}"
        )
    words = [str(word) for word in words]
    names = in_order(set(words)) if class_names is None else list(class_names)
    code = {name: index for index, name in enumerate(names)}
    unknown = sorted(set(words) - set(code))
    if unknown:
        raise ValueError(
            f"Labels should be among the {len(names)} class names. "
            f"Received: {unknown[0]!r}"
        )
    codes = np.fromiter((code[word] for word in words), "int32", len(words))
    return Labels(codes, tuple(names))


def _encode_rows(array: Array, class_names: Sequence[str] | None) -> Labels:
    count = array.shape[1]
    if array.dtype.kind not in "iubf" or not np.isin(array, (0, 1)).all():
        raise ValueError(
            "Labels with a column for each class should be 0 and 1. "
            f"Received: {array.dtype} with shape {array.shape}"
        )
    if class_names is not None and len(class_names) != count:
        raise ValueError(
            f"There should be a name for each of the {count} columns of labels. "
            f"Received: {len(class_names)} class names"
        )
    names = tuple(class_names or (str(column) for column in range(count)))
    codes = array.astype("int32")
    if (codes.sum(axis=1) == 1).all():
        return Labels(codes.argmax(axis=1).astype("int32"), names)
    return Labels(codes, names)


def in_order(names: set[str]) -> list[str]:
    """Names sorted: by value where all are whole numbers, else by the alphabet."""
    if all(name.isascii() and name.isdigit() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def is_missing(value: object) -> bool:
    """Whether a cell of a table is empty."""
    if value is None or value == "":
        return True
    # What pandas has in an empty cell is no number, or not even comparable.
    try:
        return bool(value != value)
    except TypeError:
        return True
