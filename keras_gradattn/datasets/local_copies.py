"""Copies of data sets that lie in a folder as their authors give them, without TFDS.

| data set | what is read |
|---|---|
| Tiny ImageNet, CIFAR-10 | the extracted folder, or anybody's archive of it |
| SVHN | the .mat files |
| PCam | the .h5 files |
| PAD-UFES-20 | metadata.csv and the photographs |

A copy is looked for in the data folder itself, in the two levels of folders inside, and
in the archives directly inside. Where TFDS has prepared the data set in the same
folder, that is read instead.

What a copy holds is checked: files, shapes, labels, class names. Another number of
images, or another MD5 sum where one is published, is a warning. Decoding 110,000 JPEG
files takes half a minute, so the pixels of Tiny ImageNet are kept beside the copy in
`<copy>.decoded` (1.3 GB); that folder may be deleted at any time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets import (
    _decoded_cache,
    _pad_ufes_20_files,
    _pcam_files,
    _svhn_files,
)
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

# Warnings name the line that called `load`: this function, `read_copy`, and two more.
_CALLER_OF_LOAD = 5


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How copies of one data set are known and read.

    Args:
        is_copy: Whether names of files in a folder or archive tell one.
        read: Its parts, in the order in which they are merged.
        in_archives: Whether it is looked for in archives too.
        is_really: Whether a folder that its names tell is one indeed.
        sums: MD5 sums that the authors' archive may have, or by name those of files.
    """

    is_copy: Callable[[Sequence[str]], bool]
    read: Callable[[DatasetSpec, pathlib.Path], Mapping[str, Any]]
    in_archives: bool = False
    is_really: Callable[[pathlib.Path], bool] = lambda folder: True
    sums: tuple[str, ...] | Mapping[str, str] = ()


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
    kind = _kind_of(description)
    if kind is None or data_dir is None:
        return None
    folder = pathlib.Path(data_dir)
    if not folder.is_dir() or _is_prepared(description, folder):
        return None
    candidates = _candidates(folder, kind.in_archives)
    return next((path for path in candidates if _holds(path, kind)), None)


def read_copy(
    description: DatasetSpec, path: pathlib.Path, *, verify: bool = True
) -> dict[str, Any]:
    """The parts of a copy, in the order in which they are merged.

    Args:
        description: The data set.
        path: What `find_copy` found.
        verify: Whether to compare the number of images and the MD5 sums with the
            published ones. A difference is a warning.

    Raises:
        ImportError: If the library that reads such files is not installed.
        ValueError: If files are missing or damaged, or hold something else.
    """
    kind = _kind_of(description)
    assert kind is not None, description.name
    parts = dict(kind.read(description, path))
    if verify:
        _warn_of_differences(description, path, sum(map(len, parts.values())), kind)
    return parts


def has_archives(description: DatasetSpec) -> bool:
    """Whether a data set can be read from an archive of its authors."""
    kind = _kind_of(description)
    return kind is not None and kind.in_archives


def _kind_of(description: DatasetSpec) -> _Kind | None:
    """By the source, so that a set at another size finds the same copies."""
    return _KINDS.get(str(description.source.tfds))


def _is_prepared(description: DatasetSpec, folder: pathlib.Path) -> bool:
    prepared = folder / str(description.source.tfds)
    return any(prepared.glob("**/dataset_info.json"))


def _candidates(folder: pathlib.Path, in_archives: bool) -> Iterator[pathlib.Path]:
    inside = _visible(folder)
    folders = [path for path in inside if path.is_dir()]
    yield folder
    yield from folders
    for path in folders:
        yield from (deeper for deeper in _visible(path) if deeper.is_dir())
    if in_archives:
        yield from (path for path in inside if path.name.endswith(ARCHIVES))


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    # Neither hidden files nor our own decoded images.
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".") and path.suffix != ".decoded"
    )


def _holds(path: pathlib.Path, kind: _Kind) -> bool:
    if path.is_dir():
        names = [entry.name for entry in path.iterdir()]
        # One file of the next level tells a copy without walking through it.
        if (path / "val" / "val_annotations.txt").is_file():
            names.append("val/val_annotations.txt")
        return kind.is_copy(names) and kind.is_really(path)
    try:
        with open_members(path) as members:
            return kind.is_copy(members.names)
    except ValueError:
        # Some other file; the copy may still come.
        return False


def _tiny_imagenet(
    description: DatasetSpec, path: pathlib.Path
) -> dict[str, ArrayRecords]:
    parts, class_names = _decoded_tiny_imagenet(path)
    return _merged(description, parts, class_names)


def _cifar10(description: DatasetSpec, path: pathlib.Path) -> dict[str, ArrayRecords]:
    with open_members(path) as members:
        parts = read_cifar10(members, path, description.class_names)
    return _merged(description, parts, None)


def _merged(
    description: DatasetSpec, parts: Parts, class_names: tuple[str, ...] | None
) -> dict[str, ArrayRecords]:
    return {
        name: ArrayRecords(*parts[name], class_names=class_names)
        for name in description.source.merge
    }


def _decoded_tiny_imagenet(path: pathlib.Path) -> tuple[Parts, tuple[str, ...]]:
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
    description: DatasetSpec, path: pathlib.Path, count: int, kind: _Kind
) -> None:
    whole = sum(description.split_sizes.values())
    if count != whole:
        warnings.warn(
            f"{path} holds {count:,} images of {description.title} instead of "
            f"{whole:,}, so that results are not comparable with published ones. Is "
            "that meant? `verify=False` says yes.",
            stacklevel=_CALLER_OF_LOAD,
        )
    for file, sums in _published_sums(path, kind):
        found = md5_of(file)
        if found not in sums:
            warnings.warn(
                f"{file} is not the file that the authors of {description.title} give "
                f"(MD5 sum {' or '.join(sums)}). What it holds was checked and fits; "
                "if pixels matter to the last bit, download the original. Is that "
                f"meant? `verify=False` says yes. Received: {found}",
                stacklevel=_CALLER_OF_LOAD,
            )


def _published_sums(
    path: pathlib.Path, kind: _Kind
) -> Iterator[tuple[pathlib.Path, tuple[str, ...]]]:
    """Files of a copy and the sums that they may have."""
    if isinstance(kind.sums, Mapping):
        for name, md5 in kind.sums.items():
            if (path / name).is_file():
                yield path / name, (md5,)
    elif path.is_file():
        yield path, kind.sums


_KINDS = {
    "tiny_imagenet": _Kind(
        has_tiny_imagenet,
        _tiny_imagenet,
        in_archives=True,
        # Of the authors' own archive (cs231n.stanford.edu).
        sums=("90528d7ca1a48142e341f4ef8d21d0de",),
    ),
    "cifar10": _Kind(
        has_cifar10,
        _cifar10,
        in_archives=True,
        # Python's and the binary one (cs.toronto.edu/~kriz).
        sums=("c58f30108f718f92721af3b95e74349a", "c32a1d4ab5d03f1284b67883e8d87530"),
    ),
    "svhn_cropped": _Kind(
        _svhn_files.has_svhn,
        lambda _, folder: _svhn_files.read_svhn(folder),
        sums=_svhn_files.MD5,
    ),
    "patch_camelyon": _Kind(
        _pcam_files.has_pcam, lambda _, folder: _pcam_files.read_pcam(folder)
    ),
    "pad_ufes_20": _Kind(
        _pad_ufes_20_files.has_pad_ufes_20,
        lambda _, folder: {"train": _pad_ufes_20_files.PhotographRecords(folder)},
        is_really=_pad_ufes_20_files.has_its_columns,
    ),
}
