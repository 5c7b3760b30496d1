"""Gathers images that come chunk by chunk into one array."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_gradattn.datasets.channel_statistics import all_moments
from keras_gradattn.datasets.image_files import BadFileError, Reading, fit_array
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.levels import (
    EIGHT_BITS,
    Levels,
    check_levels,
    choose_levels,
    to_units,
)

# What is larger goes to a temporary file, of which memory holds what is in use.
LARGEST_IN_MEMORY = 4 * 2**30
_LARGEST_CHOSEN_SIZE = 224
_CHUNK = 256


class Gathered(NamedTuple):
    """Images in one array.

    Args:
        images: (images, size, size, channels): uint8, or float32 in units of 0 to 255.
        moments: Of each image, (images, 2, channels).
        levels: Stored levels that became 0 and 255.
    """

    images: Array
    moments: Array
    levels: Levels


class GrowingArray:
    """Rows that are appended, in memory as long as they are few."""

    def __init__(self, largest_in_memory: int = LARGEST_IN_MEMORY):
        self._blocks: list[Array] = []
        self._bytes = 0
        self._largest = largest_in_memory
        self._file: Any = None
        self._count = 0

    def append(self, rows: Array) -> None:
        """Appends rows (rows, ...), all of one shape and type."""
        self._bytes += rows.nbytes
        self._count += len(rows)
        if self._file is not None:
            rows.tofile(self._file)
            return
        self._blocks.append(rows)
        if self._bytes > self._largest:
            # It is closed, and is gone, when nothing maps it any more.
            self._file = tempfile.TemporaryFile(prefix="keras_gradattn_")  # noqa: SIM115
            for block in self._blocks:
                block.tofile(self._file)
            self._blocks = [rows[:0]]

    def finish(self) -> Array:
        """All rows; memory-mapped where they are in a file."""
        if self._file is None:
            return np.concatenate(self._blocks)
        shape = (self._count, *self._blocks[0].shape[1:])
        self._file.flush()
        with self._file:
            return np.memmap(self._file, self._blocks[0].dtype, mode="r+", shape=shape)


def gather(
    chunks: Iterable[Array | Sequence[Array]],
    *,
    size: int | None,
    resize: str,
    levels: Levels | None,
    largest_in_memory: int = LARGEST_IN_MEMORY,
) -> Gathered:
    """Makes images square and gathers them.

    Args:
        chunks: Some images at a time, (images, height, width, channels) or one by one.
        size: Side of the square. Default: the shorter side of the first image, 224 at
            most.
        resize: `"stretch"`, `"crop"` or `"pad"`.
        levels: Stored levels that become 0 and 255. Default: uint8 as it is, else
            `choose_levels`.
        largest_in_memory: Bytes; more goes to a temporary file.

    Raises:
        ValueError: If there are no images, or they have no common channels and type.
    """
    if levels is not None:
        levels = check_levels(levels)
    reading: Reading | None = None
    kind = np.dtype("uint8")
    store = GrowingArray(largest_in_memory)
    low, high, count = np.inf, -np.inf, 0
    for chunk in chunks:
        images = [as_pixels(image) for image in chunk]
        if not images:
            continue
        if reading is None:
            height, width, channels = images[0].shape
            chosen = min(height, width, _LARGEST_CHOSEN_SIZE) if size is None else size
            reading = Reading(chosen, channels, resize)
            kind = images[0].dtype
        for place, image in enumerate(images):
            if image.dtype != kind:
                raise ValueError(
                    f"Images should be of one type, {kind} as the first one. "
                    f"Received: image {count + place} of type {image.dtype}"
                )
        try:
            rows = np.stack([fit_array(image, reading) for image in images])
        except BadFileError as error:
            raise ValueError(
                "Images should all have the channels of the first one, and levels that "
                f"are numbers. Received: among images {count} to "
                f"{count + len(images) - 1}, {error}"
            ) from error
        low, high = min(low, rows.min()), max(high, rows.max())
        count += len(rows)
        store.append(rows)
    if reading is None:
        raise ValueError("There should be images. Received: none")
    gathered = store.finish()
    if gathered.dtype != np.uint8 or levels is not None:
        if levels is None:
            levels = choose_levels(float(low), float(high), kind.kind in "iub")
        gathered = _in_units(gathered, levels)
    return Gathered(gathered, all_moments(gathered), levels or EIGHT_BITS)


def _in_units(images: Array, levels: Levels) -> Array:
    if images.dtype != np.float32:
        return to_units(images, levels)
    # In place: the images may fill a file.
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK]
        chunk[:] = to_units(chunk, levels)
    return images


def as_pixels(image: Array) -> Array:
    """One image as (height, width, channels) of numbers.

    Channels that come first, as in PyTorch, are put last.

    Args:
        image: (height, width), (height, width, channels) or (channels, height, width).

    Raises:
        ValueError: If it is anything else.
    """
    image = np.asarray(image)
    if image.dtype == bool:
        image = image.astype("uint8") * np.uint8(255)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.dtype.kind not in "uif" or 0 in image.shape:
        raise ValueError(
            "An image should be numbers (height, width), (height, width, channels) or "
            f"(channels, height, width). Received: {image.dtype} with shape "
            f"{image.shape}"
        )
    if image.shape[0] in (1, 3, 4) and image.shape[-1] not in (1, 2, 3, 4):
        image = np.moveaxis(image, 0, -1)
    return image
