"""The files of CIFAR-10 as its authors give them, in both layouts."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from keras_gradattn.datasets._members import Members
from keras_gradattn.datasets._restricted_pickle import read_pickle

_TRAINING = tuple(f"data_batch_{number}" for number in range(1, 6))
BATCHES = {"train": _TRAINING, "test": ("test_batch",)}
_NAMES = {"batches.meta", "batches.meta.txt"}
_VALUES = 3 * 32 * 32


def has_cifar10(names: Sequence[str]) -> bool:
    """Whether these file names are a copy of CIFAR-10, whole or not."""
    return any(_stem(name) in _TRAINING for name in names)


def read_cifar10(
    members: Members, source: pathlib.Path, class_names: Sequence[str]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the two parts, in the order of the files.

    Args:
        members: Python batches (`data_batch_1`) or binary ones (`data_batch_1.bin`),
            in any folder.
        source: What to call the copy in a message.
        class_names: Names that the copy must have, if it has any.

    Returns:
        For `train` and `test` uint8 images (images, 32, 32, 3) and their labels.

    Raises:
        ValueError: If a file is missing or damaged, or the classes are others.
    """
    found = {_stem(name): name for name in sorted(members.names)}
    missing = [name for part in BATCHES.values() for name in part if name not in found]
    if missing:
        raise ValueError(
            f"{source} lacks files of CIFAR-10. Received: {', '.join(missing)} missing"
        )
    _check_class_names(members, source, class_names)
    result = {}
    for part, batches in BATCHES.items():
        pairs = [_read_batch(members, found[name], source) for name in batches]
        images, labels = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        images = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        result[part] = np.ascontiguousarray(images), labels
    return result


def _stem(name: str) -> str:
    return pathlib.PurePosixPath(name).name.removesuffix(".bin")


def _read_batch(
    members: Members, name: str, source: pathlib.Path
) -> tuple[np.ndarray, np.ndarray]:
    told = f"{name} in {source}"
    content = members.read(name)
    if name.endswith(".bin"):
        if len(content) % (1 + _VALUES):
            raise ValueError(
                f"{told} should hold records of {1 + _VALUES} bytes. "
                f"Received: {len(content)} bytes"
            )
        records = np.frombuffer(content, "uint8").reshape(-1, 1 + _VALUES)
        return records[:, 1:], records[:, 0].astype("int32")
    batch = read_pickle(content, told)
    if not isinstance(batch, dict) or not {"data", "labels"} <= set(batch):
        raise ValueError(
            f"{told} should be a dictionary with data and labels. "
            f"Received: {sorted(batch) if isinstance(batch, dict) else type(batch)}"
        )
    images, labels = np.asarray(batch["data"]), np.asarray(batch["labels"])
    if images.dtype != np.uint8 or images.shape != (len(labels), _VALUES):
        raise ValueError(
            f"{told} should hold uint8 data ({len(labels)}, {_VALUES}). "
            f"Received: {images.dtype} with shape {images.shape}"
        )
    return images, labels


def _check_class_names(
    members: Members, source: pathlib.Path, class_names: Sequence[str]
) -> None:
    for name in members.names:
        if pathlib.PurePosixPath(name).name not in _NAMES:
            continue
        content = members.read(name)
        if name.endswith(".txt"):
            found = content.decode("utf-8", "replace").split()
        else:
            found = read_pickle(content, f"{name} in {source}").get("label_names", [])
        if list(found) != list(class_names):
            raise ValueError(
                f"{name} in {source} should name the classes {', '.join(class_names)}. "
                f"Received: {', '.join(map(str, found))}"
            )
