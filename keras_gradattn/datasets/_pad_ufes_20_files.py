"""PAD-UFES-20 as its authors give it: metadata.csv and photographs."""

from __future__ import annotations

import csv
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from keras_gradattn.datasets import _archive, _images
from keras_gradattn.datasets._records import Chunk
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.specs import SPECS

DIAGNOSES = SPECS["pad_ufes_20"].class_names
_COLUMNS = ("img_id", "patient_id", "lesion_id", "diagnostic")
_TABLE = "metadata.csv"
_IMAGE_NAME = re.compile(r"[\w.-]+")
_SHOWN = 10
_AT_ONCE = 8

Place = tuple[pathlib.Path, str | None]


def has_pad_ufes_20(names: Sequence[str]) -> bool:
    """Whether these file names may be a copy of PAD-UFES-20, whole or not."""
    return _TABLE in names


def has_its_columns(folder: pathlib.Path) -> bool:
    """Whether the folder's metadata.csv is that of PAD-UFES-20.

    Many data sets have a table of that name.
    """
    # Another table may be in any encoding, or no file.
    try:
        with (folder / _TABLE).open(
            newline="", encoding="utf-8-sig", errors="replace"
        ) as stream:
            return set(_COLUMNS) <= set(next(csv.reader(stream), ()))
    except (OSError, csv.Error):
        return False


class PhotographRecords:
    """The photographs of a folder, decoded as they are asked for.

    Args:
        folder: With metadata.csv, and photographs or archives of them below.

    Raises:
        ValueError: If a photograph is missing, or metadata.csv is another one.
    """

    class_names = DIAGNOSES

    def __init__(self, folder: pathlib.Path):
        self._rows = read_metadata(folder / _TABLE)
        self._places = all_places(folder, self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def groups(self, column: str) -> Array:
        """The values of a column of metadata.csv."""
        return np.array([row[column] for row in self._rows])

    def read(self, rows: Array) -> Iterator[Chunk]:
        """Photographs and labels of some rows."""
        for start in range(0, len(rows), _AT_ONCE):
            chosen = [self._rows[row] for row in rows[start : start + _AT_ONCE]]
            images = [read_image(*self._places[row["img_id"]]) for row in chosen]
            labels = [DIAGNOSES.index(row["diagnostic"]) for row in chosen]
            yield images, np.array(labels)


def all_places(
    folder: pathlib.Path, rows: Sequence[dict[str, str]]
) -> dict[str, Place]:
    """Where the photograph of each row is.

    Raises:
        ValueError: If one is missing.
    """
    places = find_images(folder)
    missing = [row["img_id"] for row in rows if row["img_id"] not in places]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of the {len(rows)} images in its "
            f"metadata.csv. Received: {_some(missing)}"
        )
    return places


def read_metadata(path: pathlib.Path) -> list[dict[str, str]]:
    """Rows of `metadata.csv`, checked.

    Raises:
        ValueError: If a column is missing, a diagnosis is unknown, or an image is
            named twice or by anything but a plain file name.
    """
    if not path.is_file():
        raise ValueError(
            f"PAD-UFES-20 needs its metadata.csv beside the images. Received: no {path}"
        )
    with path.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        absent = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if absent:
            raise ValueError(
                f"{path} lacks the columns {', '.join(absent)}. "
                f"Received: {', '.join(reader.fieldnames or ())}"
            )
        rows = [
            {name: (row[name] or "").strip() for name in _COLUMNS} for row in reader
        ]
    if not rows:
        raise ValueError(f"{path} should list images. Received: no rows")
    unknown = sorted({row["diagnostic"] for row in rows} - set(DIAGNOSES))
    if unknown:
        raise ValueError(
            f"{path}: the diagnosis should be one of {', '.join(DIAGNOSES)}. "
            f"Received: {_some(unknown)}"
        )
    names = [row["img_id"] for row in rows]
    odd = [name for name in names if not _IMAGE_NAME.fullmatch(name)]
    if odd:
        raise ValueError(
            f"{path}: img_id should be a plain file name. Received: {_some(odd)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} names images twice. Received: {_some(twice)}")
    return rows


def find_images(folder: pathlib.Path) -> dict[str, Place]:
    """Where each image is: a file, or an archive and its member.

    Only what really lies inside the folder counts; links that lead out do not.
    """
    root = folder.resolve()
    places: dict[str, Place] = {}
    for path in sorted(folder.rglob("*")):
        if not path.resolve().is_relative_to(root):
            continue
        if path.suffix == ".zip":
            with _archive.open_zip(path) as archive:
                for member in archive.namelist():
                    if member.endswith(".png"):
                        places[member.rsplit("/", 1)[-1]] = (path, member)
        elif path.suffix == ".png":
            places[path.name] = (path, None)
    return places


def read_image(path: pathlib.Path, member: str | None) -> Array:
    """One photograph, of a folder or an archive."""

    def read() -> bytes:
        if member is None:
            return path.read_bytes()
        with _archive.open_zip(path) as archive:
            return archive.read(member)

    return _images.read_rgb(read, f"{member or path.name} in {path}")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
