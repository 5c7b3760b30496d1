"""Data sets: published ones by name; your own folders, tables, arrays, pipelines."""

from keras_gradattn.datasets.arrays import from_arrays
from keras_gradattn.datasets.contact_sheet import show
from keras_gradattn.datasets.device import DeviceFeed, ImagesOnDevice
from keras_gradattn.datasets.file_check import BadFile, BadFilesError
from keras_gradattn.datasets.folder import from_folder
from keras_gradattn.datasets.image_files import ImageFiles
from keras_gradattn.datasets.loading import load
from keras_gradattn.datasets.parts import DatasetNotFoundError, DatasetSplits, Split
from keras_gradattn.datasets.pipeline import batches
from keras_gradattn.datasets.source import from_source
from keras_gradattn.datasets.specs import SPECS, Augmentation, DatasetSpec, Source, spec
from keras_gradattn.datasets.table import from_table
from keras_gradattn.datasets.tfds_names import from_tfds

__all__ = [
    "SPECS",
    "Augmentation",
    "BadFile",
    "BadFilesError",
    "DatasetNotFoundError",
    "DatasetSpec",
    "DatasetSplits",
    "DeviceFeed",
    "ImageFiles",
    "ImagesOnDevice",
    "Source",
    "Split",
    "batches",
    "from_arrays",
    "from_folder",
    "from_source",
    "from_table",
    "from_tfds",
    "load",
    "show",
    "spec",
]
