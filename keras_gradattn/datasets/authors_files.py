"""SVHN, PCam and PAD-UFES-20 as their authors give them, read without TFDS.

The files are looked for in the data folder and in the folders directly inside. What
they hold is checked: shapes, types, labels, class names. Another number of images, or
another MD5 sum where one is published, is a warning. Where TFDS has prepared the data
set in the same folder, that is read instead.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keras_gradattn.datasets import _pad_ufes_20_files, _pcam_files, _svhn_files
from keras_gradattn.datasets._checksum import md5_of
from keras_gradattn.datasets.specs import DatasetSpec


@dataclasses.dataclass(frozen=True)
class _Kind:
    """How one data set's files are known and read."""

    is_copy: Callable[[Sequence[str]], bool]
    read: Callable[[pathlib.Path], Mapping[str, Any]]
    md5: Mapping[str, str]


_KINDS = {
    "svhn": _Kind(_svhn_files.has_svhn, _svhn_files.read_svhn, _svhn_files.MD5),
    "pcam": _Kind(_pcam_files.has_pcam, _pcam_files.read_pcam, {}),
    "pad_ufes_20": _Kind(
        _pad_ufes_20_files.has_pad_ufes_20,
        lambda folder: {"train": _pad_ufes_20_files.PhotographRecords(folder)},
        {},
    ),
}


def find_authors_files(
    description: DatasetSpec, data_dir: str | os.PathLike[str] | None
) -> pathlib.Path | None:
    """Folder that holds a data set's own files.

    Args:
        description: The data set.
        data_dir: Folder to look in.

    Returns:
        The folder; `None` if there is none, or TFDS has prepared the data set there.
    """
    kind = _KINDS.get(description.name)
    if kind is None or data_dir is None or not os.path.isdir(data_dir):
        return None
    folder = pathlib.Path(data_dir)
    if any((folder / str(description.source.tfds)).glob("**/dataset_info.json")):
        return None
    inside = sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    return next(
        (
            path
            for path in (folder, *inside)
            if kind.is_copy([entry.name for entry in path.iterdir()])
        ),
        None,
    )


def read_authors_files(
    description: DatasetSpec, folder: pathlib.Path, *, verify: bool = True
) -> dict[str, Any]:
    """The parts of a data set, in the order in which they are merged.

    Args:
        description: The data set.
        folder: What `find_authors_files` found.
        verify: Whether to compare the number of images and the MD5 sums with the
            published ones. A difference is a warning.

    Raises:
        ImportError: If the library that reads such files is not installed.
        ValueError: If files are missing or damaged, or hold something else.
    """
    kind = _KINDS[description.name]
    parts = dict(kind.read(folder))
    if verify:
        _warn_of_differences(description, folder, parts, kind.md5)
    return parts


def _warn_of_differences(
    description: DatasetSpec,
    folder: pathlib.Path,
    parts: Mapping[str, Any],
    sums: Mapping[str, str],
) -> None:
    count, whole = sum(map(len, parts.values())), sum(description.split_sizes.values())
    if count != whole:
        warnings.warn(
            f"{folder} holds {count:,} images of {description.title} instead of "
            f"{whole:,}, so that results are not comparable with published ones. Is "
            "that meant? `verify=False` says yes.",
            stacklevel=2,
        )
    for name, md5 in sums.items():
        path = folder / name
        if not path.is_file():
            continue
        found = md5_of(path)
        if found != md5:
            warnings.warn(
                f"{path} is not the file that the authors of {description.title} give, "
                f"whose MD5 sum is {md5}. What it holds was checked and fits. Is that "
                f"meant? `verify=False` says yes. Received: {found}",
                stacklevel=2,
            )
