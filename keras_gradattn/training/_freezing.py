"""Which layers a phase of a training trains."""

import fnmatch
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_gradattn._compat.keras import flatten_layers
from keras_gradattn.datasets._names import suggestion
from keras_gradattn.gradients.depth_groups import group_of_layers


class Freezing:
    """Freezes layers for a while, and knows which ones were frozen before.

    Args:
        network: A built network.
    """

    def __init__(self, network: keras.Model):
        self._network = network
        groups = group_of_layers(network)
        self._parts = [
            (layer, layer.trainable, {*names, groups.get(id(layer), layer.name)})
            for layer, names in _leaves(network, ())
        ]

    def train_only(self, patterns: Iterable[str] | None) -> None:
        """Train some layers; the others keep their weights and statistics.

        Args:
            patterns: Names of layers, of what they are inside of, or of depth groups;
                `*` stands for anything. `None` trains what the network itself trains.

        Raises:
            ValueError: If a pattern matches nothing, or nothing would be trained.
        """
        wanted = None if patterns is None else list(patterns)
        known = {name for _, _, names in self._parts for name in names}
        for pattern in wanted or ():
            if not fnmatch.filter(known, pattern):
                raise ValueError(
                    f"No layer or depth group of {self._network.name} is called so."
                    f"{suggestion(pattern, sorted(known))} Received: train={pattern!r}"
                )
        for layer, trains, names in self._parts:
            matches = wanted is None or any(fnmatch.filter(names, p) for p in wanted)
            layer.trainable = trains and matches
        if not self._network.trainable_variables:
            raise ValueError(
                f"A phase should train something of {self._network.name}. "
                f"Received: train={wanted}"
            )


def _leaves(layer: Any, above: tuple[str, ...]) -> Iterator[tuple[Any, set[str]]]:
    """Layers with weights and none below, each with its name and those above it."""
    for child in flatten_layers(layer, include_self=False, recursive=False):
        if not child.variables:
            continue
        below = flatten_layers(child, include_self=False)
        if any(inner.variables for inner in below):
            yield from _leaves(child, (*above, child.name))
        else:
            yield child, {*above, child.name}
