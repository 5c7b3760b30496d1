"""The cropped digits of SVHN as its authors give them: three MATLAB files."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gradattn.datasets._records import ArrayRecords

FILES = {
    "train": "train_32x32.mat",
    "test": "test_32x32.mat",
    "extra": "extra_32x32.mat",
}
# MD5 sums of ufldl.stanford.edu/housenumbers.
MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    "extra_32x32.mat": "a93ce644f1a588dc4d68dda5feec44a7",
}


def has_svhn(names: Sequence[str]) -> bool:
    """Whether these file names are a copy of SVHN, whole or not."""
    return any(name in MD5 for name in names)


def read_svhn(folder: pathlib.Path) -> dict[str, ArrayRecords]:
    """Images and labels of the parts that are there.

    Args:
        folder: Where the files are.

    Raises:
        ImportError: If SciPy is not installed.
        ValueError: If the training part is missing, or a file is damaged or holds
            something else.
    """
    parts = {
        part: _read(folder / name)
        for part, name in FILES.items()
        if (folder / name).is_file()
    }
    if "train" not in parts:
        raise ValueError(
            f"{folder} should hold {FILES['train']}. "
            f"Received: {', '.join(FILES[part] for part in parts)}"
        )
    return parts


def _read(path: pathlib.Path) -> ArrayRecords:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            "The MATLAB files of SVHN are read with SciPy. Get it with: "
            "pip install 'keras-gradattn[data]'"
        ) from error
    try:
        content: dict[str, Any] = loadmat(path, variable_names=("X", "y"))
        images, labels = content["X"], content["y"]
    # A damaged file raises whatever the reader stumbles over.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a MATLAB file with the arrays X and y: it is "
            f"damaged or something else. Received: {type(error).__name__}: {error}"
        ) from error
    if images.dtype != np.uint8 or images.shape[:3] != (32, 32, 3):
        raise ValueError(
            f"{path}: X should be uint8 (32, 32, 3, images). "
            f"Received: {images.dtype} with shape {images.shape}"
        )
    labels = labels.reshape(-1)
    if images.ndim != 4 or len(labels) != images.shape[3]:
        raise ValueError(
            f"{path}: y should have a label for each image of X. "
            f"Received: {len(labels)} labels and shape {images.shape}"
        )
    if not np.isin(labels, np.arange(1, 11)).all():
        raise ValueError(
            f"{path}: y should be 1 to 10, where 10 is the digit 0. "
            f"Received: {sorted(set(np.unique(labels).tolist()) - set(range(1, 11)))}"
        )
    return ArrayRecords(np.moveaxis(images, 3, 0), labels.astype("int32") % 10)
