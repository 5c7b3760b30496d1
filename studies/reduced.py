"""Data sets and recipes of the study at a size that two CPU cores carry."""

from __future__ import annotations

import dataclasses

from keras_gradattn.datasets import SPECS, Augmentation, DatasetSpec
from keras_gradattn.training.recipes import RECIPES, Recipe

TINY_IMAGENET_32 = dataclasses.replace(
    SPECS["tiny_imagenet"],
    name="tiny_imagenet_32",
    title="Tiny ImageNet at 32 px",
    image_size=32,
    augmentation=(Augmentation("flip"), Augmentation("crop", padding=4)),
)
DATASETS: dict[str, DatasetSpec] = {TINY_IMAGENET_32.name: TINY_IMAGENET_32}

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
    """Make the reduced data sets known to `keras_gradattn.training.run`."""
    SPECS.update(DATASETS)


def recipe(name: str) -> Recipe:
    """A recipe of the study or of the package."""
    return {**RECIPES, **RECIPES_OF_STUDY}[name]
