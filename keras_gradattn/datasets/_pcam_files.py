"""PatchCamelyon as its authors give it: two HDF5 files for each part."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets._records import Chunk
from keras_gradattn.datasets.images import Array

_STEM = "camelyonpatch_level_2_split_"
PARTS = {"train": "train", "validation": "valid", "test": "test"}
# Images that one reading of a file takes out of it.
_AT_ONCE = 1024


def has_pcam(names: Sequence[str]) -> bool:
    """Whether these file names are a copy of PCam, whole or not."""
    return any(name.startswith(_STEM) for name in names)


def read_pcam(folder: pathlib.Path) -> dict[str, PCamRecords]:
    """The three parts.

    Args:
        folder: Where the files are.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: If a file is missing, still packed, damaged or holds something else.
    """
    names = [f"{_STEM}{part}_{kind}.h5" for part in PARTS.values() for kind in "xy"]
    missing = [name for name in names if not (folder / name).is_file()]
    packed = [f"{name}.gz" for name in missing if (folder / f"{name}.gz").is_file()]
    if packed:
        raise ValueError(
            f"{folder} has files of PCam that are still packed. Unpack them with "
            f"gunzip. Received: {', '.join(packed)}"
        )
    if missing:
        raise ValueError(
            f"{folder} lacks files of PCam. Received: {', '.join(missing)} missing"
        )
    return {
        name: PCamRecords(
            folder / f"{_STEM}{part}_x.h5", folder / f"{_STEM}{part}_y.h5"
        )
        for name, part in PARTS.items()
    }


class PCamRecords:
    """One part, read from its files a piece at a time.

    Args:
        images: File with the array `x`.
        labels: File with the array `y`.
    """

    class_names = None

    def __init__(self, images: pathlib.Path, labels: pathlib.Path):
        self._path = images
        with _opened(images, "x") as stored:
            shape, kind = stored["x"].shape, stored["x"].dtype
        if kind != np.uint8 or shape[1:] != (96, 96, 3):
            raise ValueError(
                f"{images}: x should be uint8 (images, 96, 96, 3). "
                f"Received: {kind} with shape {shape}"
            )
        with _opened(labels, "y") as stored:
            self._labels: Array = np.asarray(stored["y"]).reshape(-1)
        if len(self._labels) != shape[0]:
            raise ValueError(
                f"{labels}: y should have a label for each of the {shape[0]} images. "
                f"Received: {len(self._labels)} labels"
            )
        if not np.isin(self._labels, (0, 1)).all():
            raise ValueError(
                f"{labels}: y should be 0 and 1. "
                f"Received: {np.unique(self._labels)[:10].tolist()}"
            )

    def __len__(self) -> int:
        return len(self._labels)

    def read(self, rows: Array) -> Iterator[Chunk]:
        """Images and labels of ascending rows."""
        with _opened(self._path, "x") as stored:
            for start in range(0, len(self), _AT_ONCE):
                inside = rows[(rows >= start) & (rows < start + _AT_ONCE)]
                if not len(inside):
                    continue
                # HDF5 reads a stretch much faster than rows one by one.
                first, last = int(inside[0]), int(inside[-1])
                try:
                    stretch = stored["x"][first : last + 1]
                except OSError as error:
                    raise _damaged(self._path, "x", error) from error
                yield stretch[inside - first], self._labels[inside]


def _opened(path: pathlib.Path, array: str) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "The HDF5 files of PCam are read with h5py. Get it with: "
            "pip install 'keras-gradattn[data]'"
        ) from error
    try:
        stored = h5py.File(path, "r")
    except OSError as error:
        raise _damaged(path, array, error) from error
    if array not in stored:
        names = ", ".join(stored)
        stored.close()
        raise ValueError(f"{path} should hold the array {array}. Received: {names}")
    return stored


def _damaged(path: pathlib.Path, array: str, error: Exception) -> ValueError:
    return ValueError(
        f"{path} cannot be read as an HDF5 file with the array {array}: it is damaged "
        f"or something else. Received: {type(error).__name__}: {error}"
    )
