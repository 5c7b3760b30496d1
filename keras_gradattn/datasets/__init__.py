"""Data sets by name, with the published splits, pixels and augmentation."""

from keras_gradattn.datasets.device import DeviceFeed, ImagesOnDevice
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
    "DeviceFeed",
    "ImagesOnDevice",
    "Source",
    "Split",
    "batches",
    "load",
    "spec",
]
