"""Tiny ImageNet: 200 classes of ImageNet at 64 x 64 pixels."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from keras_gradattn.datasets import _archive, _images, _npz

_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
_FOLDER = "tiny-imagenet-200"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Tiny ImageNet; its test part has no labels and is left out."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The archive of the CS231n course."}  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(64, 64, 3), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(num_classes=200),
                    "wordnet_id": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="http://cs231n.stanford.edu/",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Any]:
        path = pathlib.Path(dl_manager.download(_URL))
        # No SHA-256 is published, so that TFDS cannot check the file.
        _npz.verify_md5(path, _MD5)
        with _archive.open_zip(path) as archive:
            classes = _archive.read_lines(archive, f"{_FOLDER}/wnids.txt")
            annotations = _archive.read_lines(
                archive, f"{_FOLDER}/val/val_annotations.txt"
            )
            members = [name for name in archive.namelist() if name.endswith(".JPEG")]
        training = [
            (name, name.split("/")[2])
            for name in members
            if name.startswith(f"{_FOLDER}/train/")
        ]
        validation = [
            (f"{_FOLDER}/val/images/{fields[0]}", fields[1])
            for fields in (line.split("\t") for line in annotations)
        ]
        _check(path, training + validation, set(members), set(classes))
        self.info.features["label"].names = classes
        return {
            "train": self._generate_examples(path, training),
            "validation": self._generate_examples(path, validation),
        }

    def _generate_examples(
        self, path: pathlib.Path, images: list[tuple[str, str]]
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        with _archive.open_zip(path) as archive:
            for name, wordnet_id in images:
                yield (
                    name.rsplit("/", 1)[-1],
                    {
                        "image": _images.read_rgb(
                            functools.partial(archive.read, name), f"{name} in {path}"
                        ),
                        "label": wordnet_id,
                        "wordnet_id": wordnet_id,
                    },
                )


def _check(
    path: pathlib.Path,
    images: list[tuple[str, str]],
    members: set[str],
    classes: set[str],
) -> None:
    missing = [name for name, _ in images if name not in members]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} images that its label file names. "
            f"Received: {', '.join(missing[:5])}"
        )
    unknown = sorted({wordnet_id for _, wordnet_id in images} - classes)
    if unknown:
        raise ValueError(
            f"{path} holds classes that its wnids.txt does not name. "
            f"Received: {', '.join(unknown[:5])}"
        )
