"""Batches of whatever gives batches."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import keras


def first_batches(source: Any, most: int, wanted: str) -> Iterator[Any]:
    """The first batches of a data set or of an iterable, as they come.

    Args:
        source: A `PyDataset`, which may have no end, or an iterable of batches.
        most: How many batches to take at most.
        wanted: A sentence that says what is taken, for the error.

    Returns:
        The batches.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(source, keras.utils.PyDataset):
        return map(source.__getitem__, range(min(source.num_batches or most, most)))
    if isinstance(source, Iterable):
        return itertools.islice(source, most)
    raise ValueError(f"{wanted} Received: {type(source).__name__}")
