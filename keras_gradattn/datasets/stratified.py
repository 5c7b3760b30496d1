"""Division into parts that keeps the shares of the classes, and groups together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_gradattn.datasets._numbers import is_share
from keras_gradattn.datasets.images import Array
from keras_gradattn.datasets.splits import NAMES

Shares = tuple[float, float, float]


def shares_of(validation: float, test: float) -> Shares:
    """Shares of the three parts.

    Args:
        validation: Share of the validation part.
        test: Share of the test part.

    Raises:
        ValueError: Unless both are positive and leave something for training.
    """
    for name, share in (("validation", validation), ("test", test)):
        if not is_share(share):
            raise ValueError(
                f"`{name}` should be a share between 0 and 1. "
                f"Received: {name}={share!r}"
            )
    if validation + test >= 1:
        raise ValueError(
            "`validation` and `test` should leave something for training. "
            f"Received: validation={validation}, test={test}"
        )
    return (1 - validation - test, validation, test)


def stratified_split(
    labels: Array, shares: Sequence[float], seed: int, *, groups: Array | None = None
) -> dict[str, Array]:
    """Divides images so that each part has the same share of every class.

    A class with as many images (or groups) as there are parts is in each of them.
    A smaller class stays in the training part. Whole groups are dealt out one by one,
    the largest first, each to the part that lacks its images most.

    Args:
        labels: Classes (images,), or 0 and 1 for each class (images, classes).
        shares: Of the training, validation and test part; zero for none.
        seed: The same seed gives the same division.
        groups: Group of each image, which is in one part only.

    Returns:
        The rows of each part, ascending. Without groups a part has of each class its
        share, but for two images.

    Example:

    >>> rows = stratified_split(np.arange(40) % 2, (0.7, 0.15, 0.15), seed=0)
    >>> {name: len(part) for name, part in rows.items()}
    {'train': 28, 'validation': 6, 'test': 6}
    """
    random = np.random.default_rng(seed)
    if groups is None and labels.ndim == 1:
        part = _by_class(labels, np.asarray(shares), random)
    else:
        members = np.arange(len(labels)) if groups is None else groups
        part = _by_group(labels, members, np.asarray(shares), random)
    return {name: np.flatnonzero(part == index) for index, name in enumerate(NAMES)}


def rare_classes(labels: Array, groups: Array | None, least: int) -> Array:
    """Classes with fewer images (or groups) than `least`, and how many they have.

    Returns:
        Integers (rare classes, 2): class and count.
    """
    if labels.ndim == 2:
        rows, classes = np.nonzero(labels)
    else:
        rows, classes = np.arange(len(labels)), labels
    if groups is not None:
        _, members = np.unique(groups, return_inverse=True)
        pairs = np.unique(np.stack([classes, members[rows]], axis=1), axis=0)
        classes = pairs[:, 0]
    names, counts = np.unique(classes, return_counts=True)
    rare = counts < least
    return np.stack([names[rare], counts[rare]], axis=1)


def _by_class(labels: Array, shares: Array, random: np.random.Generator) -> Array:
    part = np.zeros(len(labels), np.int64)
    # In random order within each class.
    order = random.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    _, first, counts = np.unique(labels[order], return_index=True, return_counts=True)
    ends = np.cumsum(shares)
    wanted = np.flatnonzero(shares)
    for start, count in zip(first.tolist(), counts.tolist(), strict=True):
        if count < len(wanted):
            continue
        # Rounding the running total: over all classes the shares come out right.
        before = np.rint(ends * start)
        through = np.rint(ends * (start + count))
        # Rounding may have put one image more or less into all parts together.
        sizes = np.diff(through - before, prepend=0).astype(np.int64)
        sizes[0] += count - sizes.sum()
        while sizes[wanted].min() < 1:
            sizes[np.argmax(sizes)] -= 1
            sizes[wanted[np.argmin(sizes[wanted])]] += 1
        rows = order[start : start + count]
        part[rows] = np.repeat(np.arange(len(shares)), sizes)
    return part


def _by_group(
    labels: Array, groups: Array, shares: Array, random: np.random.Generator
) -> Array:
    names, members = np.unique(groups, return_inverse=True)
    if labels.ndim == 2:
        rows, classes = np.nonzero(labels)
    else:
        rows, classes = np.arange(len(labels)), labels
    # How many images of which classes each group has.
    pairs, counts = np.unique(
        np.stack([members[rows], classes], axis=1), axis=0, return_counts=True
    )
    first = np.searchsorted(pairs[:, 0], np.arange(len(names) + 1))
    sizes = np.bincount(members, minlength=len(names))
    total = np.zeros(int(classes.max(initial=0)) + 1)
    np.add.at(total, pairs[:, 1], counts)
    groups_left = np.bincount(pairs[:, 1], minlength=len(total))
    parts_wanted = shares > 0
    rare = groups_left < parts_wanted.sum()

    target = shares[:, None] * total
    target_size = shares * len(labels)
    have, have_size = np.zeros_like(target), np.zeros(len(shares))
    part_of_group = np.zeros(len(names), np.int64)
    order = random.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    for turn, group in enumerate(order.tolist()):
        mine = slice(first[group], first[group + 1])
        kinds, count, size = pairs[mine, 1], counts[mine], sizes[group]
        # How much further from its share each part gets, squared.
        cost = (
            count * (2 * (have[:, kinds] - target[:, kinds]) + count) / total[kinds]
        ).sum(axis=1)
        cost += size * (2 * (have_size - target_size) + size) / len(labels)
        lacking = (have[:, kinds] == 0) & parts_wanted[:, None]
        urgent = lacking & (lacking.sum(axis=0) >= groups_left[kinds])
        cost -= 4 * len(labels) * urgent.any(axis=1)
        empty = (have_size == 0) & parts_wanted
        if empty.sum() >= len(order) - turn:
            cost[~empty] = np.inf
        cost[~parts_wanted] = np.inf
        chosen = int(np.argmin(cost))
        if rare[kinds].any() and shares[0] > 0:
            chosen = 0
        part_of_group[group] = chosen
        have[chosen, kinds] += count
        have_size[chosen] += size
        groups_left[kinds] -= 1
    result: Array = part_of_group[members]
    return result
