"""The weights of a network in groups from shallow to deep, few enough to read."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from keras_gradattn.gradients.depth_groups import group_variables, inner_model

# More groups are merged: a picture has no room for more names.
_MOST_GROUPS = 20


@dataclasses.dataclass(frozen=True)
class Depth:
    """Depth groups of the trainable variables of a network.

    Args:
        names: Group names, shallow to deep.
        group_of: Variable id -> group name.
    """

    names: tuple[str, ...]
    group_of: dict[int, str]


def depth_of(network: keras.Model) -> Depth:
    """Group what a network trains by depth.

    Args:
        network: A built network, before anything of it is frozen for a while. Its own
            `depth_groups()` are taken where it has them, else its layers.

    Returns:
        A `Depth`. Neighbours are merged beyond 20 groups, under the first one's name.
    """
    network = inner_model(network)
    variables = network.trainable_variables
    grouping = group_variables(network, variables, "depth")
    merged = _merged(grouping.names)
    names = [merged[grouping.names[member]] for member in grouping.members]
    return Depth(
        tuple(dict.fromkeys(merged.values())),
        {id(v): name for v, name in zip(variables, names, strict=True)},
    )


def _merged(names: Sequence[str]) -> dict[str, str]:
    if len(names) <= _MOST_GROUPS:
        return {name: name for name in names}
    first_of = [index * len(names) // _MOST_GROUPS for index in range(_MOST_GROUPS)]
    merged: dict[str, str] = {}
    for index, name in enumerate(names):
        merged[name] = names[max(first for first in first_of if first <= index)]
    return merged


def is_kernel(variable: Any) -> bool:
    """Whether a variable is a kernel, not a bias or a scale."""
    return len(variable.shape) > 1
