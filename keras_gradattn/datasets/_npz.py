"""The MedMNIST file layout: one npz with images and labels of three splits."""

from __future__ import annotations

import contextlib
import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from keras_gradattn.datasets._checksum import md5_of

_PARTS = {"train": "train", "validation": "val", "test": "test"}
_READ_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    zipfile.BadZipFile,
    zlib.error,
)


def verify_md5(path: pathlib.Path, md5: str) -> None:
    """Raises ValueError unless the file has this MD5 sum."""
    found = md5_of(path)
    if found != md5:
        raise ValueError(
            f"{path} is not the published file: its MD5 sum should be {md5}. "
            f"Received: {found}. Download it again, or give a file of your own "
            "with `verify=False`."
        )


def read_npz(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of each split, read without pickle.

    Args:
        path: File with `train_images`, `train_labels`, `val_images`, ...

    Returns:
        For each of `train`, `validation` and `test` uint8 images (images,
        height, width, channels) and labels (images, labels).

    Raises:
        ValueError: If the file is truncated, holds anything but plain arrays,
            or its images and labels do not belong together.
    """
    with (
        _reading(path),
        open(path, "rb") as stream,
        np.load(stream, allow_pickle=False) as arrays,
    ):
        result = {
            name: (arrays[f"{prefix}_images"], arrays[f"{prefix}_labels"])
            for name, prefix in _PARTS.items()
        }
    for name, (images, labels) in result.items():
        _check(path, name, images.dtype, images.shape, labels)
    return {
        name: (images if images.ndim == 4 else images[..., None], labels)
        for name, (images, labels) in result.items()
    }


def stream_npz(
    path: pathlib.Path, name: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of one split, one by one.

    The largest files hold more than most computers' memory.

    Args:
        path: As for `read_npz`.
        name: `"train"`, `"validation"` or `"test"`.

    Yields:
        A uint8 image (height, width, channels) and its labels (labels,).

    Raises:
        ValueError: As `read_npz`.
    """
    prefix = _PARTS[name]
    with _reading(path), zipfile.ZipFile(path) as archive:
        with archive.open(f"{prefix}_labels.npy") as stream:
            labels = np.lib.format.read_array(stream, allow_pickle=False)
        with archive.open(f"{prefix}_images.npy") as stream:
            shape, dtype = _read_header(stream)
            _check(path, name, dtype, shape, labels)
            image_shape = shape[1:] if len(shape) == 4 else (*shape[1:], 1)
            for label in labels:
                content = stream.read(math.prod(image_shape))
                yield np.frombuffer(content, "uint8").reshape(image_shape), label


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran_order, dtype = read(stream)
    if fortran_order:
        raise ValueError("the images should be stored row by row")
    return shape, dtype


@contextlib.contextmanager
def _reading(path: pathlib.Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into one clear message."""
    try:
        yield
    except _WrongContentError:
        raise
    except _READ_ERRORS as error:
        raise ValueError(
            f"{path} cannot be read as a MedMNIST file (npz with train_images, "
            f"train_labels, val_images, ...): it is damaged or something else. "
            f"Received: {type(error).__name__}: {error}"
        ) from error


class _WrongContentError(ValueError):
    """The file can be read, but does not hold what it should."""


def _check(
    path: pathlib.Path,
    name: str,
    dtype: np.dtype,
    shape: tuple[int, ...],
    labels: np.ndarray,
) -> None:
    if dtype != np.uint8 or len(shape) not in (3, 4):
        raise _WrongContentError(
            f"{path}: the {name} images should be uint8 (images, height, width) or "
            f"(images, height, width, channels). Received: {dtype} with shape {shape}"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or len(labels) != shape[0]:
        raise _WrongContentError(
            f"{path}: the {name} labels should be integers ({shape[0]}, labels). "
            f"Received: {labels.dtype} with shape {labels.shape}"
        )
