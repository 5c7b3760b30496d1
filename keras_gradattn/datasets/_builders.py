"""Builders of TFDS, and ours beside them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

from keras_gradattn.datasets._names import suggestion
from keras_gradattn.datasets.med_mnist.facts import FACTS, SIZES
from keras_gradattn.datasets.specs import SPECS

# Names that `tfds.builder` takes once the builder's module has been imported.
_OURS = {
    "med_mnist": tuple(f"med_mnist/{flag}_{size}" for flag in FACTS for size in SIZES),
    "tiny_imagenet": ("tiny_imagenet",),
    "pad_ufes_20": ("pad_ufes_20",),
}


def tfds_builder(name: str, data_dir: str | os.PathLike[str] | None = None) -> Any:
    """The TFDS builder of a data set.

    Args:
        name: Key in `SPECS`, or a name for `tfds.builder`: of a TFDS data set or
            of one of ours, such as `"med_mnist/chestmnist_64"`.
        data_dir: Folder of prepared data. Default: TFDS' own.

    Raises:
        ValueError: If there is no such data set (the message names the nearest),
            or TFDS has no part in it.
    """
    import tensorflow_datasets as tfds

    full_name = SPECS[name].source.tfds if name in SPECS else name
    if full_name is None:
        raise ValueError(
            f"{SPECS[name].title} is not prepared with TFDS. Get it with: "
            f"{SPECS[name].how_to_get}. Received: name={name!r}"
        )
    folder = full_name.split("/")[0]
    if folder in _OURS:
        # TFDS would take the first configuration where none is named.
        _check_name(full_name, _OURS[folder])
        importlib.import_module(
            f"keras_gradattn.datasets.{folder}.{folder}_dataset_builder"
        )
    elif ":" not in folder:
        # TFDS would ask the network first, for minutes where there is none.
        theirs = tfds.list_builders(with_community_datasets=False)
        _check_name(folder, [*SPECS, *_OURS, *theirs])
    return tfds.builder(full_name, data_dir=data_dir, try_gcs=False)


def _check_name(name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise ValueError(
            f"There is no such data set.{suggestion(name, known, SPECS)} "
            f"Received: name={name!r}"
        )
