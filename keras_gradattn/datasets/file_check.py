"""Reads every file once: which are bad, what size to choose, mean and deviation."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import keras
import numpy as np

from keras_gradattn.datasets._numbers import is_count
from keras_gradattn.datasets.channel_statistics import channel_moments, moments_in_units
from keras_gradattn.datasets.image_files import (
    RESIZES,
    BadFileError,
    Header,
    ImageFiles,
    Reading,
    read_header,
    read_levels,
)
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.levels import (
    EIGHT_BITS,
    Levels,
    check_levels,
    choose_levels,
)

_LARGEST_CHOSEN_SIZE = 224
_FILES_AT_ONCE = 32
_LONG_WORK = 5_000
_SHOWN = 10
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file that gives no image.

    Args:
        path: Where it is.
        reason: What is wrong with it, such as `"empty"`.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path!r} ({self.reason})"


class BadFilesError(ValueError):
    """Some files give no image; the message names the first ten.

    Args:
        files: All of them.
        count: How many files there are.
    """

    def __init__(self, files: Sequence[BadFile], count: int):
        super().__init__(
            f"{_these(len(files), count)} cannot be read as images. Repair or remove "
            "them, or leave them out with on_bad='skip'. "
            f"Received: {some(files)}"
        )
        self.files = tuple(files)


def some(names: Sequence[object]) -> str:
    """The first ten names, and how many more there are."""
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown


def _these(bad: int, count: int) -> str:
    return f"{bad:,} of {count:,} files"


@dataclasses.dataclass(frozen=True)
class CheckedFiles:
    """Files that can all be read.

    Args:
        images: The files.
        rows: Position of each in the list that was checked.
        moments: Of each image in units of 0 to 255, (files, 2, channels).
        bad: The files that are left out.
    """

    images: ImageFiles
    rows: Array
    moments: Array
    bad: tuple[BadFile, ...]


def check_reading(
    size: int | None, channels: int | None, resize: str, on_bad: str
) -> None:
    """Raises ValueError where an argument is none of those possible."""
    if size is not None and not is_count(size):
        raise ValueError(
            f"`size` should be a positive number of pixels. Received: size={size!r}"
        )
    if channels is not None and not is_count(channels):
        raise ValueError(
            "`channels` should be 1 (grey), 3 (colour) or 4 (colour and opacity). "
            f"Received: channels={channels!r}"
        )
    if resize not in RESIZES:
        raise ValueError(
            f"`resize` should be 'stretch', 'crop' or 'pad'. Received: {resize=}"
        )
    if on_bad not in ("stop", "skip"):
        raise ValueError(f"`on_bad` should be 'stop' or 'skip'. Received: {on_bad=}")


def check_files(
    paths: Sequence[str],
    *,
    size: int | None,
    channels: int | None,
    resize: str,
    levels: Levels | None,
    on_bad: str,
    already_bad: Sequence[BadFile] = (),
) -> CheckedFiles:
    """Decodes every file once, in threads, as it will be read in training.

    Args:
        paths: The files.
        size: Side of the square; by default `chosen_size`.
        channels: By default 1 where all files are grey, else 3.
        resize: `"stretch"`, `"crop"` or `"pad"`.
        levels: Stored levels that are black and white in files with more than 8
            bits; by default `choose_levels`.
        on_bad: `"stop"` raises if any file is bad, `"skip"` leaves them out.
        already_bad: Bad files that are none of `paths`, for the list.

    Raises:
        BadFilesError: If files are bad and `on_bad` is `"stop"`, or all are bad.
        ValueError: If an argument is unknown.
    """
    check_reading(size, channels, resize, on_bad)
    if levels is not None:
        levels = check_levels(levels)
    bad: dict[int, str] = {}
    headers: dict[int, Header] = {}
    for row, header in enumerate(_each(paths, read_header)):
        if isinstance(header, str):
            bad[row] = header
        else:
            headers[row] = header
    if not headers:
        raise BadFilesError(_bad_files(paths, bad), len(paths))
    count = len(paths) + len(already_bad)
    reading = Reading(
        size=chosen_size(headers.values()) if size is None else size,
        channels=_chosen_channels(headers.values()) if channels is None else channels,
        resize=resize,
        deep=any(header.deep for header in headers.values()),
    )
    rows = np.fromiter(headers, np.int64, len(headers))
    moments = np.empty((len(rows), 2, reading.channels))
    ranges = np.full((len(rows), 2), np.nan)
    decoded = _each([paths[row] for row in rows], lambda path: _measure(path, reading))
    progress = _progress(len(rows))
    for place, measured in enumerate(decoded):
        if isinstance(measured, str):
            bad[int(rows[place])] = measured
        else:
            moments[place], ranges[place] = measured
        if progress is not None and (place + 1) % 100 == 0:
            progress.update(place + 1)
    if progress is not None:
        progress.update(len(rows), finalize=True)
    bad_files = (*already_bad, *_bad_files(paths, bad))
    kept = np.array([int(row) not in bad for row in rows], bool)
    if bad_files and (on_bad == "stop" or not kept.any()):
        raise BadFilesError(bad_files, count)
    if bad_files:
        warnings.warn(
            f"{_these(len(bad_files), count)} cannot be read as images and are left "
            f"out. Received: {some(bad_files)}",
            stacklevel=3,
        )
    rows, moments, ranges = rows[kept], moments[kept], ranges[kept]
    deep = ~np.isnan(ranges[:, 0])
    if deep.any():
        if levels is None:
            levels = choose_levels(
                ranges[deep, 0].min(),
                ranges[deep, 1].max(),
                all(headers[int(row)].integers for row in rows[deep]),
            )
        moments[deep] = moments_in_units(moments[deep], levels)
    reading = dataclasses.replace(
        reading, levels=levels or EIGHT_BITS, deep=bool(deep.any())
    )
    images = ImageFiles([paths[row] for row in rows], reading)
    return CheckedFiles(images, rows, moments, bad_files)


def chosen_size(headers: Iterable[Header]) -> int:
    """The side that most images fill: the median of their shorter sides, 224 at most.

    Args:
        headers: Of the files.
    """
    shorter = [min(header.width, header.height) for header in headers]
    return min(_LARGEST_CHOSEN_SIZE, int(statistics.median_high(shorter)))


def _chosen_channels(headers: Iterable[Header]) -> int:
    return max(header.channels for header in headers)


def _measure(path: str, reading: Reading) -> tuple[Array, tuple[float, float]]:
    levels = read_levels(path, reading)
    if levels.dtype == np.uint8:
        return channel_moments(levels), (np.nan, np.nan)
    low, high = float(levels.min()), float(levels.max())
    if not np.isfinite(low + high):
        raise BadFileError("has levels that are no numbers")
    return channel_moments(levels), (low, high)


def _bad_files(paths: Sequence[str], bad: dict[int, str]) -> tuple[BadFile, ...]:
    return tuple(BadFile(paths[row], bad[row]) for row in sorted(bad))


def _each(paths: Sequence[str], read: Callable[[str], T]) -> Iterator[T | str]:
    """What each file gives, in order, or the reason why it gives nothing."""

    def read_some(start: int) -> list[T | str]:
        results: list[T | str] = []
        for path in paths[start : start + _FILES_AT_ONCE]:
            try:
                results.append(read(path))
            except BadFileError as error:
                results.append(str(error))
        return results

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        starts = range(0, len(paths), _FILES_AT_ONCE)
        for results in threads.map(read_some, starts):
            yield from results


def _progress(count: int) -> keras.utils.Progbar | None:
    if count < _LONG_WORK or not sys.stdout.isatty():
        return None
    return keras.utils.Progbar(count, unit_name="file")
