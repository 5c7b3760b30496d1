"""The MedMNIST file layout: one npz with images and labels of three splits."""

from __future__ import annotations

import hashlib
import pathlib
import zipfile
import zlib

import numpy as np

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
    with open(path, "rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
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
    result = {}
    try:
        with (
            open(path, "rb") as stream,
            np.load(stream, allow_pickle=False) as arrays,
        ):
            for name, prefix in _PARTS.items():
                images = arrays[f"{prefix}_images"]
                result[name] = (images, arrays[f"{prefix}_labels"])
    except _READ_ERRORS as error:
        raise ValueError(
            f"{path} cannot be read as a MedMNIST file (npz with train_images, "
            f"train_labels, val_images, ...): it is damaged or something else. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    for name, (images, labels) in result.items():
        _check(path, name, images, labels)
    return {
        name: (images if images.ndim == 4 else images[..., None], labels)
        for name, (images, labels) in result.items()
    }


def _check(
    path: pathlib.Path, name: str, images: np.ndarray, labels: np.ndarray
) -> None:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(
            f"{path}: the {name} images should be uint8 (images, height, width) or "
            f"(images, height, width, channels). Received: {images.dtype} with "
            f"shape {images.shape}"
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 2 or len(labels) != len(images):
        raise ValueError(
            f"{path}: the {name} labels should be integers ({len(images)}, labels). "
            f"Received: {labels.dtype} with shape {labels.shape}"
        )
