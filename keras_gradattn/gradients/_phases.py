"""Phases of a training: what is trained, by which optimizer, at which rate."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_gradattn.gradients.depth_groups import Grouping

# For each layer-output tap its layer, its depth group and its statistics.
Taps = tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Phase:
    """What stayed the same for a while.

    Attributes:
        number: Position among the record's phases, from 0.
        fit: Running number of the `fit` call that began it.
        step: The optimizer's iteration before its first recorded step.
        optimizer: Class name of the optimizer.
        learning_rate: At the beginning; `None` where it is not one number.
        groups: Names of the groups with trained weights.
        paths: Paths of the measured variables.
        sizes: Number of elements of each of them.
        taps: Layer, group and statistics of each output tap.
    """

    number: int
    fit: int
    step: int
    optimizer: str
    learning_rate: float | None
    groups: tuple[str, ...]
    paths: tuple[str, ...]
    sizes: tuple[int, ...]
    taps: Taps = ()


def merged_order(known: list[str], new: list[str]) -> list[str]:
    """Both lists' names, each once; what is new stands behind its predecessor."""
    order = list(known)
    place = 0
    for name in new:
        if name in order:
            place = order.index(name) + 1
        else:
            order.insert(place, name)
            place += 1
    return order


def merged_grouping(known: Grouping, new: Grouping) -> Grouping:
    """One grouping of both; the newer one says where a variable goes."""
    group_of: dict[str, Any] = {}
    for grouping in (known, new):
        for path, member in zip(grouping.paths, grouping.members, strict=True):
            group_of[path] = grouping.names[member] if member >= 0 else None
    names = merged_order(list(known.names), list(new.names))
    index = {name: i for i, name in enumerate(names)}
    paths = merged_order(list(known.paths), list(new.paths))
    members = tuple(-1 if group_of[p] is None else index[group_of[p]] for p in paths)
    return Grouping(tuple(names), tuple(paths), members)


def merged_taps(known: Taps, new: Taps) -> Taps:
    """One entry for each layer of both, by depth, with the statistics of both."""
    groups: dict[str, str] = {}
    statistics: dict[str, list[str]] = {}
    for layer, group, names in (*known, *new):
        groups[layer] = group
        statistics[layer] = merged_order(statistics.get(layer, []), list(names))
    order = merged_order([tap[0] for tap in known], [tap[0] for tap in new])
    return tuple(
        (layer, groups[layer], tuple(statistics[layer]))
        for layer in dict.fromkeys(order)
    )


def tap_columns(taps: Taps) -> list[tuple[str, str]]:
    """Layer and statistic of each column that these taps fill, in their order."""
    return [(layer, name) for layer, _, names in taps for name in names]


def incidence(members: Sequence[int], groups: int) -> np.ndarray:
    """(variables, groups), 1 where a variable is in a group; some are in none."""
    chosen = np.asarray(members, dtype=int)
    return (chosen[:, None] == np.arange(groups)[None]).astype("float64")
