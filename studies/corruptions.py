"""Trained networks of the study on damaged test images, without new training.

    python -m studies.corruptions --data-dir DATA --results RESULTS

Reads the `.keras` files that the queue has left, and writes one JSON a network: its
accuracy on clean and on damaged test images. Every network sees the same images.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import sys
from collections.abc import Callable

import keras
import numpy as np

from keras_gradattn import datasets
from keras_gradattn.datasets.resize import resize
from studies.cells import BLOCKS, SEEDS
from studies.reduced import DATASETS, load, register

BLOCKS_TRIED = ("A1", "A2")
_IMAGES = 4_000
_SEED = 42


def noise(images: np.ndarray, deviation: float) -> np.ndarray:
    """Adds Gaussian noise of so many grey levels to every value."""
    added = np.random.default_rng(_SEED).normal(0, deviation, images.shape)
    return _bytes(images + added)


def contrast(images: np.ndarray, share: float) -> np.ndarray:
    """Leaves so much of each image's distance from its mean."""
    mean = images.mean((1, 2, 3), keepdims=True)
    return _bytes(mean + share * (images - mean))


def resolution(images: np.ndarray, factor: int) -> np.ndarray:
    """Reduces each image and enlarges it again."""
    size = images.shape[1]
    return resize(resize(images, size // factor), size)


def blur(images: np.ndarray, deviation: float) -> np.ndarray:
    """Blurs with a Gaussian of so many pixels, border pixels repeated."""
    reach = int(np.ceil(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    blurred = images.astype("float32")
    for axis in (1, 2):
        padding = [(reach, reach) if a == axis else (0, 0) for a in range(4)]
        padded = np.pad(blurred, padding, mode="edge")
        blurred = sum(
            np.float32(weight)
            * np.take(padded, range(i, i + images.shape[axis]), axis=axis)
            for i, weight in enumerate(weights)
        )
    return _bytes(blurred)


def _bytes(images: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(images), 0, 255).astype("uint8")


# Name -> what is done, and with what.
CORRUPTIONS: dict[str, tuple[Callable[..., np.ndarray], float]] = {
    "noise 10": (noise, 10.0),
    "noise 25": (noise, 25.0),
    "blur 0.7": (blur, 0.7),
    "blur 1.2": (blur, 1.2),
    "contrast 0.5": (contrast, 0.5),
    "contrast 0.25": (contrast, 0.25),
    "resolution 1/2": (resolution, 2),
    "resolution 1/4": (resolution, 4),
}


def accuracies(
    model: keras.Model, split: datasets.Split, spec: datasets.DatasetSpec
) -> dict[str, float]:
    """Accuracy on clean images (`"clean"`) and on each kind of damage."""
    damaged = {"clean": split.images} | {
        name: change(split.images, amount)
        for name, (change, amount) in CORRUPTIONS.items()
    }
    found = {}
    for name, images in damaged.items():
        part = datasets.Split(split.name, images, split.labels, split.rows)
        batches = datasets.batches(part, spec, training=False, engine="pydataset")
        logits = model.predict(batches, verbose=0)
        found[name] = float((logits.argmax(-1) == split.labels).mean())
    return found


def main(arguments: list[str] | None = None) -> int:
    """Tries every trained network that has no JSON of this yet."""
    parser = argparse.ArgumentParser(prog="python -m studies.corruptions")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--results", required=True, type=pathlib.Path)
    options = parser.parse_args(arguments)
    register()
    splits = {}
    for cell in (cell for block in BLOCKS_TRIED for cell in BLOCKS[block]):
        for seed in SEEDS:
            name = cell.name(seed)
            model_path = options.results / f"{name}.keras"
            path = options.results / f"{name}-corruptions.json"
            # Without its JSON a run is not finished.
            finished = (options.results / f"{name}.json").exists()
            if path.exists() or not finished or not model_path.exists():
                continue
            if cell.dataset not in splits:
                found = load(cell.dataset, data_dir=options.data_dir, verify=False)
                splits[cell.dataset] = _few(found.test)
            content = accuracies(
                keras.saving.load_model(model_path),
                splits[cell.dataset],
                DATASETS[cell.dataset],
            )
            unfinished = path.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
            os.replace(unfinished, path)
            print(path, flush=True)
    return 0


def _few(split: datasets.Split) -> datasets.Split:
    rows = np.random.default_rng(_SEED).permutation(len(split))[:_IMAGES]
    rows.sort()
    return datasets.Split(
        split.name, split.images[rows], split.labels[rows], split.rows[rows]
    )


if __name__ == "__main__":
    sys.exit(main())
