"""Copies of Tiny ImageNet and CIFAR-10 that lie in a folder, read without TFDS.

A copy is what its authors give: the extracted folder, their archive, or anybody's
archive of it, under any top folder. It is looked for in the data folder itself, in
the two levels of folders inside, and in the archives directly inside. Where TFDS has
prepared the data set in the same folder, that is read instead.

What a copy holds is checked: files, shapes, class names, number of images. Decoding
110,000 JPEG files takes half a minute, so the pixels of Tiny ImageNet are kept beside
the copy in `<copy>.decoded` (1.3 GB); that folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets import _decoded_cache
from keras_gradattn.datasets._checksum import md5_of
from keras_gradattn.datasets._cifar10_files import has_cifar10, read_cifar10
from keras_gradattn.datasets._members import ARCHIVES, Members, open_members
from keras_gradattn.datasets._records import ArrayRecords
from keras_gradattn.datasets._tiny_imagenet_files import (
    has_tiny_imagenet,
    read_tiny_imagenet,
)
from keras_gradattn.datasets.specs import DatasetSpec

Parts = Mapping[str, tuple[np.ndarray, np.ndarray]]

_IS_COPY: dict[str, Callable[[Sequence[str]], bool]] = {
    "tiny_imagenet": has_tiny_imagenet,
    "cifar10": has_cifar10,
}
# Warnings name the line that called `load`: this function, `read_copy`, and two more.
_CALLER_OF_LOAD = 5
# MD5 sums of the authors' own archives (cs231n.stanford.edu, cs.toronto.edu/~kriz).
_MD5 = {
    "tiny_imagenet": ("90528d7ca1a48142e341f4ef8d21d0de",),
    "cifar10": (
        "c58f30108f718f92721af3b95e74349a",
        "c32a1d4ab5d03f1284b67883e8d87530",
    ),
}


def find_copy(
    description: DatasetSpec, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path | None:
    """Folder or archive that holds a copy of a data set.

    Args:
        description: The data set.
        data_dir: Folder to look in.

    Returns:
        The first copy by name, folders before archives; `None` if there is none, or
        TFDS has prepared the data set there.
    """
    if not can_be_copied(description) or data_dir is None:
        return None
    is_copy = _IS_COPY[_kind(description)]
    folder = pathlib.Path(data_dir)
    if not folder.is_dir() or _is_prepared(description, folder):
        return None
    return next((path for path in _candidates(folder) if _holds(path, is_copy)), None)


def read_copy(
    description: DatasetSpec, path: pathlib.Path, *, verify: bool = True
) -> dict[str, ArrayRecords]:
    """The parts of a copy, in the order in which they are merged.

    Args:
        description: The data set.
        path: What `find_copy` found.
        verify: Whether to compare an archive with its authors' MD5 sum and the number
            of images with the published one. A difference is a warning.

    Raises:
        ValueError: If files are missing or damaged, or classes are others.
    """
    kind = _kind(description)
    if kind == "tiny_imagenet":
        parts, class_names = _tiny_imagenet(path)
    else:
        with open_members(path) as members:
            parts = read_cifar10(members, path, description.class_names)
        class_names = None
    if verify:
        count = sum(len(labels) for _, labels in parts.values())
        _warn_of_differences(description, path, count, _MD5[kind])
    return {
        name: ArrayRecords(*parts[name], class_names=class_names)
        for name in description.source.merge
    }


def can_be_copied(description: DatasetSpec) -> bool:
    """Whether copies of a data set can be read."""
    return _kind(description) in _IS_COPY


def _kind(description: DatasetSpec) -> str:
    return description.source.tfds or ""


def _is_prepared(description: DatasetSpec, folder: pathlib.Path) -> bool:
    prepared = folder / str(description.source.tfds)
    return any(prepared.glob("*/dataset_info.json"))


def _candidates(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    inside = _visible(folder)
    folders = [path for path in inside if path.is_dir()]
    yield folder
    yield from folders
    for path in folders:
        yield from (deeper for deeper in _visible(path) if deeper.is_dir())
    yield from (path for path in inside if path.name.endswith(ARCHIVES))


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    # Neither hidden files nor our own decoded images.
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix != ".decoded"
    )


def _holds(path: pathlib.Path, is_copy: Callable[[Sequence[str]], bool]) -> bool:
    if path.is_dir():
        names = [entry.name for entry in path.iterdir()]
        # One file of the next level tells a copy without walking through it.
        if (path / "val" / "val_annotations.txt").is_file():
            names.append("val/val_annotations.txt")
        return is_copy(names)
    try:
        with open_members(path) as members:
            return is_copy(members.names)
    except ValueError:
        # Some other file; the copy may still come.
        return False


def _tiny_imagenet(path: pathlib.Path) -> tuple[Parts, tuple[str, ...]]:
    with open_members(path) as members:
        state = _state(path, members)
        kept = _decoded_cache.read(path, state)
        if kept is not None:
            return kept
        parts, class_names = read_tiny_imagenet(members, path)
    _decoded_cache.write(path, state, parts, class_names)
    return parts, class_names


def _state(path: pathlib.Path, members: Members) -> dict[str, Any]:
    names = "\n".join(sorted(members.names)).encode()
    found = path.stat()
    return {
        "names": hashlib.sha256(names).hexdigest(),
        "bytes": None if path.is_dir() else found.st_size,
        "changed": None if path.is_dir() else found.st_mtime_ns,
    }


def _warn_of_differences(
    description: DatasetSpec, path: pathlib.Path, count: int, sums: tuple[str, ...]
) -> None:
    whole = sum(description.split_sizes.values())
    if count != whole:
        warnings.warn(
            f"{path} holds {count} images of {description.title} instead of {whole}. "
            "They are divided in the published proportions; results on another number "
            "of images are not comparable with published ones. Pass `verify=False` to "
            "hide this.",
            stacklevel=_CALLER_OF_LOAD,
        )
    if path.is_dir():
        return
    found = md5_of(path)
    if found not in sums:
        warnings.warn(
            f"{path} is not the archive that the authors of {description.title} give "
            f"(MD5 sum {' or '.join(sums)}). Its files, shapes and class names were "
            "checked and fit. If pixels matter to the last bit, download the original; "
            f"pass `verify=False` to hide this. Received: {found}",
            stacklevel=_CALLER_OF_LOAD,
        )
