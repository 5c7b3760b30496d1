"""Epochs of a folder of JPEG files as batches, the way each library's guides do it.

All deliver shuffled, normalised float32 batches at one size.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.session import Work

CLASSES = 10
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEG files with shapes and grain, in a folder for each class."""
    from PIL import Image

    random = np.random.default_rng(0)
    width, height = size
    for index in range(count):
        coarse = random.normal(128, 60, (height // 16 + 1, width // 16 + 1, 3))
        shapes = Image.fromarray(np.clip(coarse, 0, 255).astype("uint8"))
        shapes = shapes.resize(size, Image.Resampling.BICUBIC)
        grain = random.normal(0, 6, (height, width, 3))
        pixels = np.clip(np.asarray(shapes) + grain, 0, 255).astype("uint8")
        path = folder / f"class{index % CLASSES}" / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)


def files_and_labels(folder: str) -> tuple[list[str], np.ndarray]:
    """All files, sorted, and their classes."""
    paths = sorted(map(str, Path(folder).glob("*/*.jpg")))
    labels = [int(Path(path).parent.name.removeprefix("class")) for path in paths]
    return paths, np.array(labels, "int32")


class FolderBatches(Work):
    """Epochs of the folder; a unit is 1,000 images, `how` a key of `MAKERS`."""

    def __init__(self, how: str, folder: str, size: int, batch: int, workers: int):
        self.how, self.folder, self.size = how, folder, size
        self.batch, self.workers = batch, workers
        importlib.import_module("keras")

    def build(self) -> None:
        self.data = MAKERS[self.how](self)

    def run(self, count: int, part: str) -> float:
        return sum(self._epoch() for _ in range(count)) / 1000

    def details(self) -> dict[str, Any]:
        return {"images": 1000}

    def _epoch(self) -> int:
        if hasattr(self.data, "num_batches"):
            numbers = range(self.data.num_batches)
            return sum(len(self.data[number][1]) for number in numbers)
        return sum(len(labels) for _, labels in self.data)


def _ours(work: FolderBatches, engine: str = "pydataset") -> Any:
    from keras_gradattn import datasets
    from keras_gradattn.datasets.image_files import Reading

    paths, labels = files_and_labels(work.folder)
    images = datasets.ImageFiles(paths, Reading(work.size, 3))
    return datasets.batches(
        datasets.Split("train", images, labels, np.arange(len(paths))),
        datasets.spec("pad_ufes_20"),
        batch_size=work.batch,
        training=True,
        engine=engine,
        augmentation=(),
        workers=work.workers,
    )


def _tf_data(work: FolderBatches) -> Any:
    import tensorflow as tf

    paths, labels = files_and_labels(work.folder)
    mean, scale = (255 * np.array(value, "float32") for value in (MEAN, STD))

    def read(path: Any, label: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        image = tf.image.resize(image, (work.size, work.size))
        return (image - mean) / scale, label

    data = tf.data.Dataset.from_tensor_slices((paths, labels)).shuffle(len(paths))
    data = data.map(read, num_parallel_calls=work.workers).batch(work.batch)
    settings = tf.data.Options()
    settings.threading.private_threadpool_size = work.workers
    return data.prefetch(tf.data.AUTOTUNE).with_options(settings)


class _Photographs:
    """A PyTorch dataset, as one writes it with Pillow."""

    def __init__(self, folder: str, size: int):
        self.paths, self.labels = files_and_labels(folder)
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[Any, int]:
        import torch
        from PIL import Image

        with Image.open(self.paths[row]) as image:
            image = image.convert("RGB")
        if image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
        mean, std = (torch.tensor(value)[:, None, None] for value in (MEAN, STD))
        return (pixels.to(torch.float32) / 255 - mean) / std, int(self.labels[row])


def _data_loader(work: FolderBatches) -> Any:
    import torch

    return torch.utils.data.DataLoader(
        _Photographs(work.folder, work.size),
        work.batch,
        shuffle=True,
        num_workers=work.workers,
        persistent_workers=work.workers > 0,
    )


MAKERS = {
    "ours": _ours,
    "ours through tf.data": lambda work: _ours(work, "tf.data"),
    "tf.data": _tf_data,
    "pytorch DataLoader": _data_loader,
}
