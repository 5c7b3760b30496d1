"""PAD-UFES-20: skin lesions photographed with smartphones."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds

from keras_gradattn.datasets._pad_ufes_20_files import (
    DIAGNOSES,
    Place,
    all_places,
    read_image,
    read_metadata,
)


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

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Any]:
        folder = pathlib.Path(dl_manager.manual_dir)
        if (folder / self.name / "metadata.csv").is_file():
            folder = folder / self.name
        rows = read_metadata(folder / "metadata.csv")
        places = all_places(folder, rows)
        return {"train": self._generate_examples(rows, places)}

    def _generate_examples(
        self, rows: list[dict[str, str]], places: dict[str, Place]
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        for row in rows:
            yield (
                row["img_id"],
                {
                    "image": read_image(*places[row["img_id"]]),
                    "label": row["diagnostic"],
                    "image_id": row["img_id"],
                    "patient_id": row["patient_id"],
                    "lesion_id": row["lesion_id"],
                },
            )
