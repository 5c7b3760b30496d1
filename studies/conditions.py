"""What is done to a data set before a run: fewer labels that are right, mixed sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from keras_gradattn.datasets import DatasetSplits, Split
from keras_gradattn.datasets.resize import resize

_NOISE = 0.4
_FACTORS = (1, 2, 4)
_SEED = 42


def with_label_noise(splits: DatasetSplits) -> DatasetSplits:
    """40 % of the training labels are drawn anew, from all classes.

    Validation and test keep their labels. The same images get the same labels whatever
    the seed of the training.
    """
    random = np.random.default_rng(_SEED)
    labels = splits.train.labels.copy()
    chosen = random.permutation(len(labels))[: round(_NOISE * len(labels))]
    labels[chosen] = random.integers(0, splits.spec.num_classes, len(chosen))
    train = dataclasses.replace(splits.train, labels=labels)
    return dataclasses.replace(splits, train=train)


def with_mixed_resolutions(splits: DatasetSplits) -> DatasetSplits:
    """Each image of every part is reduced by 1, 2 or 4 and enlarged again."""
    return dataclasses.replace(
        splits,
        **{
            part: _mixed(getattr(splits, part))
            for part in ("train", "validation", "test")
        },
    )


def _mixed(split: Split) -> Split:
    # By the row in the source, so that an image looks the same in every run.
    factors = np.random.default_rng(_SEED).choice(_FACTORS, int(split.rows.max()) + 1)
    factors = factors[split.rows]
    images = np.array(split.images)
    size = images.shape[1]
    for factor in _FACTORS[1:]:
        mine = np.flatnonzero(factors == factor)
        for start in range(0, len(mine), 1024):
            rows = mine[start : start + 1024]
            images[rows] = resize(resize(images[rows], size // factor), size)
    return dataclasses.replace(split, images=images)


# Ending of a data set's name -> what is done to it.
CONDITIONS: dict[str, Callable[[DatasetSplits], DatasetSplits]] = {
    "label_noise": with_label_noise,
    "mixed_resolutions": with_mixed_resolutions,
}
