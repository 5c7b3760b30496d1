"""Data sets and recipes of the study at a size that two CPU cores carry."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_gradattn import datasets, paper, training
from keras_gradattn.datasets import (
    SPECS,
    Augmentation,
    DatasetSpec,
    DatasetSplits,
    loading,
)
from keras_gradattn.training import Recipe
from studies.conditions import CONDITIONS

TINY_IMAGENET_32 = dataclasses.replace(
    SPECS["tiny_imagenet"],
    name="tiny_imagenet_32",
    title="Tiny ImageNet at 32 px",
    image_size=32,
    augmentation=(Augmentation("flip"), Augmentation("crop", padding=4)),
)
DATASETS: dict[str, DatasetSpec] = {
    TINY_IMAGENET_32.name: TINY_IMAGENET_32,
    **{
        f"{TINY_IMAGENET_32.name}_{condition}": dataclasses.replace(
            TINY_IMAGENET_32,
            name=f"{TINY_IMAGENET_32.name}_{condition}",
            title=f"{TINY_IMAGENET_32.title}, {condition.replace('_', ' ')}",
        )
        for condition in CONDITIONS
    },
}

# AdamW and cosine as in `modern`; the strong augmentation, the averaged weights and
# the long warm-up of a long run are left out of a short one.
MODERN_REDUCED = Recipe(
    name="modern_reduced",
    optimizer="adamw",
    weight_decay=0.05,
    decay_norms_and_biases=False,
    max_epochs=100,
    schedule="cosine",
    warmup_epochs=1,
    early_stopping_patience=None,
    label_smoothing=0.1,
)
RECIPES_OF_STUDY: dict[str, Recipe] = {MODERN_REDUCED.name: MODERN_REDUCED}


def register() -> None:
    """Make the study's data sets known to `keras_gradattn.training.run`."""
    SPECS.update(DATASETS)
    datasets.load = load


def load(name: str, **options: Any) -> DatasetSplits:
    """`keras_gradattn.datasets.load`, then what the data set's name says is done to it.

    Args:
        name: Key of `DATASETS` or of the package's `SPECS`.
        **options: As of the package's `load`.
    """
    splits = loading.load(name, **options)
    for condition, change in CONDITIONS.items():
        if name.endswith(f"_{condition}"):
            splits = change(splits)
    return splits


def recipe(name: str) -> Recipe:
    """A recipe of the study or of the package."""
    return {**training.RECIPES, **paper.RECIPES, **RECIPES_OF_STUDY}[name]
