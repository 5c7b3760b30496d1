"""Data sets by name, with the published splits, pixels and augmentation."""

from keras_gradattn.datasets.loading import (
    DatasetNotFoundError,
    DatasetSplits,
    Split,
    load,
)
from keras_gradattn.datasets.pipeline import batches
from keras_gradattn.datasets.specs import SPECS, Augmentation, DatasetSpec, Source, spec

__all__ = [
    "SPECS",
    "Augmentation",
    "DatasetNotFoundError",
    "DatasetSpec",
    "DatasetSplits",
    "Source",
    "Split",
    "batches",
    "load",
    "spec",
]
