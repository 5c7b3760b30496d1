"""CIFAR-10 from the client files of a federated-learning repository.

The repository zeruishao/FedLoRE keeps CIFAR-10 as `dataset/Cifar10/{train,test}/N.npz`,
one file a client. Each holds a pickled dictionary with `x`, float32 images (images,
3, 32, 32) scaled to -1 to 1, and `y`, labels. This command writes them in the binary
layout of the CIFAR-10 authors, which `keras_gradattn.datasets.load` reads:

    python -m studies.fedlore_cifar10 SOURCE TARGET

The clients mix training and test images of CIFAR-10, which the published protocol
merges anyway: here all images but the last 10,000 go into `data_batch_*`. What is
missing is written to `about.json` beside them.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
import sys
import zipfile

import numpy as np

from keras_gradattn.datasets import spec
from keras_gradattn.datasets._restricted_pickle import read_pickle

_CLIENTS = 100
_FOLDER = "cifar-10-batches-bin"
_TEST = 10_000
_WHOLE = 60_000


def read_clients(source: pathlib.Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """All clients' images and labels, and the names of the files that are missing.

    Args:
        source: Folder with `train` and `test`.

    Returns:
        uint8 images (images, 3, 32, 32), uint8 labels, names.
    """
    images, labels, missing = [], [], []
    for part in ("train", "test"):
        for client in range(_CLIENTS):
            path = source / part / f"{client}.npz"
            if not path.exists():
                missing.append(f"{part}/{client}.npz")
                continue
            with zipfile.ZipFile(path) as archive:
                content = archive.read("data.npy")
            # Behind the header line of the array format stands the pickle.
            data = read_pickle(content[content.index(b"\n") + 1 :], str(path))
            images.append(_bytes(np.asarray(data["x"]), path))
            labels.append(np.asarray(data["y"]).astype("uint8"))
    return np.concatenate(images), np.concatenate(labels), missing


def write_batches(images: np.ndarray, labels: np.ndarray, folder: pathlib.Path) -> None:
    """Writes the binary layout: five training batches and a test batch."""
    folder.mkdir(parents=True, exist_ok=True)
    records = np.concatenate([labels[:, None], images.reshape(len(images), -1)], axis=1)
    training, test = records[:-_TEST], records[-_TEST:]
    for number, batch in enumerate(np.array_split(training, 5), start=1):
        (folder / f"data_batch_{number}.bin").write_bytes(batch.tobytes())
    (folder / "test_batch.bin").write_bytes(test.tobytes())
    names = "\n".join(spec("cifar10").class_names) + "\n"
    (folder / "batches.meta.txt").write_text(names, encoding="utf-8")


def _bytes(images: np.ndarray, path: pathlib.Path) -> np.ndarray:
    pixels = (images.astype("float64") * 0.5 + 0.5) * 255
    rounded = np.rint(pixels)
    if np.abs(pixels - rounded).max() > 1e-3 or pixels.min() < -0.5:
        raise ValueError(
            f"{path} should hold pixels of 8 bits scaled to -1 to 1. "
            f"Received: {images.min()} to {images.max()}"
        )
    return rounded.astype("uint8")


def main(arguments: list[str]) -> int:
    """Converts and tells what is there."""
    source, target = map(pathlib.Path, arguments)
    images, labels, missing = read_clients(source)
    sums = [hashlib.md5(image.tobytes()).digest() for image in images]
    folder = target / _FOLDER
    write_batches(images, labels, folder)
    about = {
        "source": "github.com/zeruishao/FedLoRE, dataset/Cifar10",
        "images": len(images),
        "images_of_cifar10": _WHOLE,
        "missing_files": missing,
        "missing_images": _WHOLE - len(images),
        "distinct_images": len(set(sums)),
        "images_by_class": np.bincount(labels, minlength=10).tolist(),
        "pixel_mean": (images.mean((0, 2, 3)) / 255).round(4).tolist(),
        "pixel_std": (images.std((0, 2, 3)) / 255).round(4).tolist(),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
    print(json.dumps(about, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
