"""Builders of TFDS, and ours beside them."""

from __future__ import annotations

import importlib
import os

from keras_gradattn.datasets.specs import SPECS

_OURS = ("med_mnist", "tiny_imagenet", "pad_ufes_20")


def tfds_builder(name: str, data_dir: str | os.PathLike | None = None):
    """The TFDS builder of a data set.

    Args:
        name: Key in `SPECS`, or a name for `tfds.builder`: of a TFDS data set or
            of one of ours, such as `"med_mnist/chestmnist_64"`.
        data_dir: Folder of prepared data. Default: TFDS' own.
    """
    import tensorflow_datasets as tfds

    full_name = name
    if name in SPECS:
        full_name = SPECS[name].source.tfds
        if full_name is None:
            raise ValueError(
                f"{SPECS[name].title} is not prepared with TFDS. Get it with: "
                f"{SPECS[name].how_to_get}. Received: name={name!r}"
            )
    folder = full_name.split("/")[0]
    if folder in _OURS:
        # Importing the module is what makes the builder known to TFDS.
        importlib.import_module(
            f"keras_gradattn.datasets.{folder}.{folder}_dataset_builder"
        )
    return tfds.builder(full_name, data_dir=data_dir, try_gcs=False)
