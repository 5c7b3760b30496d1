"""PAD-UFES-20: skin lesions photographed with smartphones."""

from __future__ import annotations

import csv
import pathlib
import re

import numpy as np
import tensorflow_datasets as tfds

from keras_gradattn.datasets import _archive, _images
from keras_gradattn.datasets.specs import SPECS

DIAGNOSES = SPECS["pad_ufes_20"].class_names
_COLUMNS = ("img_id", "patient_id", "lesion_id", "diagnostic")
_IMAGE_NAME = re.compile(r"[\w.-]+")
_SHOWN = 10


class Builder(tfds.core.GeneratorBasedBuilder):
    """PAD-UFES-20, from a folder that the user has downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Version 1 of the Mendeley data set."}  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Download https://data.mendeley.com/datasets/zr7vgbcyr2/1 and put metadata.csv and
    the images folder (imgs_part_1.zip to imgs_part_3.zip, unpacked or not) into
    manual_dir/pad_ufes_20 or manual_dir.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(None, None, 3), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(names=DIAGNOSES),
                    "image_id": tfds.features.Text(),
                    "patient_id": tfds.features.Text(),
                    "lesion_id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://data.mendeley.com/datasets/zr7vgbcyr2/1",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        folder = pathlib.Path(dl_manager.manual_dir)
        if (folder / self.name / "metadata.csv").is_file():
            folder = folder / self.name
        rows = read_metadata(folder / "metadata.csv")
        places = find_images(folder)
        missing = [row["img_id"] for row in rows if row["img_id"] not in places]
        if missing:
            raise ValueError(
                f"{folder} lacks {len(missing)} of the {len(rows)} images in its "
                f"metadata.csv. Received: {_some(missing)}"
            )
        return {"train": self._generate_examples(rows, places)}

    def _generate_examples(self, rows, places):
        for row in rows:
            yield (
                row["img_id"],
                {
                    "image": _read_image(*places[row["img_id"]]),
                    "label": row["diagnostic"],
                    "image_id": row["img_id"],
                    "patient_id": row["patient_id"],
                    "lesion_id": row["lesion_id"],
                },
            )


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


def find_images(folder: pathlib.Path) -> dict[str, tuple[pathlib.Path, str | None]]:
    """Where each image is: a file, or an archive and its member.

    Only what really lies inside the folder counts; links that lead out do not.
    """
    root = folder.resolve()
    places: dict[str, tuple[pathlib.Path, str | None]] = {}
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


def _read_image(path: pathlib.Path, member: str | None) -> np.ndarray:
    def read() -> bytes:
        if member is None:
            return path.read_bytes()
        with _archive.open_zip(path) as archive:
            return archive.read(member)

    return _images.read_rgb(read, f"{member or path.name} in {path}")


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
