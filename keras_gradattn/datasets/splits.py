"""Seeded division of a data set into training, validation and test part."""

from __future__ import annotations

import numpy as np

NAMES = ("train", "validation", "test")


def split_sizes(count: int) -> dict[str, int]:
    """Sizes of the published 70/15/15 division, both shares rounded down.

    Args:
        count: Number of images.

    Returns:
        Images in `train`, `validation` and `test`; the test part takes the rest.

    Example:

    >>> split_sizes(2_298)
    {'train': 1608, 'validation': 344, 'test': 346}
    """
    train, validation = count * 70 // 100, count * 15 // 100
    return {
        "train": train,
        "validation": validation,
        "test": count - train - validation,
    }


def random_split(count: int, seed: int) -> dict[str, np.ndarray]:
    """Divides `count` images at random into 70/15/15.

    Args:
        count: Number of images.
        seed: The same seed gives the same division.

    Returns:
        The rows of each part, in random order. No row is in two parts.
    """
    order = np.random.default_rng(seed).permutation(count)
    return _cut(order, split_sizes(count))


def group_split(groups: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Divides images about 70/15/15 so that no group is in two parts.

    Args:
        groups: Group of each image (such as its patient), shape (images,).
        seed: The same seed gives the same division.

    Returns:
        The rows of each part, in random order. Parts differ from 70/15/15 by
        less than one group.

    Raises:
        ValueError: If there are fewer than three groups.
    """
    names, members = np.unique(groups, return_inverse=True)
    if len(names) < len(NAMES):
        raise ValueError(
            "A group-wise split into three parts needs three groups. "
            f"Received: {len(names)} groups"
        )
    random = np.random.default_rng(seed)
    order = random.permutation(len(names))
    ends = np.cumsum(np.bincount(members)[order])
    middles = ends - np.bincount(members)[order] / 2
    sizes = split_sizes(len(groups))
    # A group goes where its middle falls; each part gets at least one group.
    first = max(1, int(np.searchsorted(middles, sizes["train"])))
    first = min(first, len(names) - 2)
    second = int(np.searchsorted(middles, sizes["train"] + sizes["validation"]))
    second = min(max(second, first + 1), len(names) - 1)
    part_of_group = np.empty(len(names), int)
    part_of_group[order] = np.repeat(
        np.arange(3), [first, second - first, len(names) - second]
    )
    rows = random.permutation(len(groups))
    parts = part_of_group[members[rows]]
    return {name: rows[parts == index] for index, name in enumerate(NAMES)}


def _cut(order: np.ndarray, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    ends = np.cumsum([sizes[name] for name in NAMES])[:-1]
    return dict(zip(NAMES, np.split(order, ends), strict=True))
