"""MedMNIST: biomedical images in a common small format."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from keras_gradattn.datasets import _npz
from keras_gradattn.datasets.med_mnist.facts import FACTS, SIZES, URL, file_name


@dataclasses.dataclass(kw_only=True)
class MedMnistConfig(tfds.core.BuilderConfig):
    """One data set at one size.

    Args:
        flag: Key in `FACTS`, such as `"bloodmnist"`.
        size: Side of the images in pixels: 28, 64, 128 or 224.
    """

    flag: str
    size: int


class Builder(tfds.core.GeneratorBasedBuilder):
    """Every 2-D MedMNIST data set at every size, such as `bloodmnist_64`."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "The MedMNIST release of January 2024."}  # noqa: RUF012
    BUILDER_CONFIGS = [  # noqa: RUF012
        MedMnistConfig(
            name=f"{flag}_{size}",
            description=f"{facts.title}, {size} x {size} pixels, {facts.license}",
            flag=flag,
            size=size,
        )
        for flag, facts in FACTS.items()
        for size in SIZES
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        facts = FACTS[self.builder_config.flag]
        size = self.builder_config.size
        label = (
            tfds.features.Tensor(shape=(len(facts.class_names),), dtype=np.uint8)
            if facts.multi_label
            else tfds.features.ClassLabel(names=facts.class_names)
        )
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(size, size, facts.channels), encoding_format="png"
                    ),
                    "label": label,
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://medmnist.com",
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Any]:
        config = self.builder_config
        name = file_name(config.flag, config.size)
        path = pathlib.Path(dl_manager.download(f"{URL}/{name}?download=1"))
        # No SHA-256 is published, so that TFDS cannot check the file.
        _npz.verify_md5(path, FACTS[config.flag].md5[config.size])
        return {
            split: self._generate_examples(path, split)
            for split in ("train", "validation", "test")
        }

    def _generate_examples(
        self, path: pathlib.Path, split: str
    ) -> Iterator[tuple[Any, dict[str, Any]]]:
        multi_label = FACTS[self.builder_config.flag].multi_label
        for index, (image, label) in enumerate(_npz.stream_npz(path, split)):
            yield (
                index,
                {"image": image, "label": label if multi_label else int(label[0])},
            )
