"""Checks of layers: activations, initial weights, normalisation, dropout."""

from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.baseline import guessing_loss
from keras_gradattn.diagnosis.finding import Evidence, Finding, found
from keras_gradattn.diagnosis.initial_weights import fan_in, kernel_of
from keras_gradattn.diagnosis.layer_outputs import DROPOUTS, activation_of
from keras_gradattn.diagnosis.subject import Subject
from keras_gradattn.diagnosis.thresholds import threshold

# What hands on the values that it is given.
_PASSING = (
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.Reshape,
    keras.layers.Permute,
)
# What changes nothing about layers being linear.
_LINEAR = (*_PASSING, keras.layers.BatchNormalization)
_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
# Activations that no large value of some sign leaves.
_LIMITING = ("relu", "relu6", "tanh", "softsign", "softplus")
_INITIALIZED = (keras.layers.Dense, *_CONVOLUTIONS)


def no_activation(subject: Subject) -> Iterable[Finding]:
    """A linear layer that hands on to another one of its kind."""
    pairs = []
    for chain in _chains(subject.model):
        last: Any = None
        for layer in chain:
            if isinstance(layer, _LINEAR):
                continue
            if isinstance(layer, _INITIALIZED):
                if last is not None and _add_up(last, layer):
                    pairs.append((last.name, layer.name))
                last = layer if activation_of(layer) == "linear" else None
            else:
                last = None
    if pairs:
        first, then = pairs[0]
        yield found(
            "no_activation", "warning",
            f"{first!r} has no activation before {then!r}: the two are one linear "
            f"layer" + (f", and so are {len(pairs) - 1} more pairs." if pairs[1:]
                        else "."),
            Evidence("linear layers before another one", len(pairs), 0),
            layers=tuple(first for first, _ in pairs),
        )  # fmt: skip


def _add_up(first: Any, then: Any) -> bool:
    """Whether two linear layers do no more than one would."""
    if type(first) is not type(then):
        return False
    if isinstance(first, keras.layers.Dense):
        # A narrow layer in between makes a product of low rank, which is meant.
        into = int(first.kernel.shape[0]) if first.built else first.units
        return first.units >= min(into, then.units)
    # One by one convolutions are the same factorisation.
    return all(s > 1 for layer in (first, then) for s in layer.kernel_size) and all(
        layer.groups == 1 for layer in (first, then)
    )


def _chains(model: keras.Model) -> Iterator[list[Any]]:
    """Layers that follow each other alone, each handing on to the next only."""
    for one in keras_compat.flatten_layers(model):
        if isinstance(one, keras.Sequential):
            yield list(one.layers)
        elif isinstance(one, keras.Model) and keras_compat.is_functional(one):
            yield from _chains_of_graph(one)


def _chains_of_graph(model: Any) -> Iterator[list[Any]]:
    makers: dict[int, Any] = {}
    takers: dict[int, list[int]] = {}
    # Additions and the like are operations, and no layers.
    for layer in getattr(model, "operations", model.layers):
        try:
            given, taken = layer.output, layer.input
        except (AttributeError, ValueError):
            # Called several times, or with no single tensor.
            continue
        if isinstance(given, (list, tuple, dict)):
            continue
        makers[id(given)] = layer
        takers.setdefault(id(layer), []).extend(
            id(one) for one in keras.tree.flatten(taken)
        )
    consumers: dict[int, int] = {}
    for taken in takers.values():
        for one in taken:
            consumers[one] = consumers.get(one, 0) + 1
    follows: dict[int, Any] = {}
    for layer in makers.values():
        taken = takers.get(id(layer), [])
        if len(taken) == 1 and consumers[taken[0]] == 1 and taken[0] in makers:
            before = makers[taken[0]]
            if before is not layer:
                follows[id(before)] = layer
    begins = [
        layer
        for layer in makers.values()
        if not any(layer is after for after in follows.values())
    ]
    for layer in begins:
        chain = [layer]
        while id(chain[-1]) in follows:
            chain.append(follows[id(chain[-1])])
        yield chain


def limited_logits(subject: Subject) -> Iterable[Finding]:
    """ReLU, tanh or sigmoid right before softmax or sigmoid."""
    limiting = [
        (head.name, head.activation)
        for head in subject.heads
        if head.from_logits and head.activation in _LIMITING
    ]
    for chain in _chains(subject.model):
        last = chain[-1] if chain else None
        if last is None or activation_of(last) not in ("softmax", "sigmoid"):
            continue
        if last.weights or not _gives_output(subject, last):
            continue
        before = [one for one in chain[:-1] if not isinstance(one, _PASSING)]
        if before and activation_of(before[-1]) in (
            *_LIMITING,
            "sigmoid",
            "hard_sigmoid",
        ):
            limiting.append((before[-1].name, activation_of(before[-1])))
    for name, activation in limiting:
        yield found(
            "limited_logits", "warning",
            f"{name!r} ends in {activation!r}, and its values are taken for logits: "
            "these must be free to be large of either sign.",
            Evidence("activations before softmax or sigmoid", 1, 0),
            layers=(name,),
        )  # fmt: skip


def bottleneck(subject: Subject) -> Iterable[Finding]:
    """A hidden layer of one unit, which the network's only path goes through."""
    model: Any = subject.model
    if len(getattr(model, "outputs", None) or ()) != 1 or subject.inference is None:
        return
    # One unit a time step or pixel is another matter.
    single = {id(one.layer) for one in subject.inference[1] if one.positions == 1}
    chains = [list(model.layers)]
    if not isinstance(model, keras.Sequential):
        if not keras_compat.is_functional(model):
            return
        # A chain that ends in the output has no other path beside it.
        last = model.outputs[0]
        chains = [c for c in _chains_of_graph(model) if c[-1].output is last]
    for chain in chains:
        dense = [layer for layer in chain if isinstance(layer, keras.layers.Dense)]
        narrow = [
            layer.name
            for layer in dense[:-1]
            if layer.units == 1 and id(layer) in single and layer.kernel.shape[0] > 1
        ]
        if narrow:
            yield found(
                "bottleneck", "warning",
                f"Everything that the network knows of a sample passes through the one "
                f"unit of {narrow[0]!r}.",
                Evidence("units of a hidden layer", 1, 2, "below"),
                layers=tuple(narrow),
            )  # fmt: skip


def symmetric_weights(subject: Subject) -> Iterable[Finding]:
    """Units with equal weights and equal gradients, which stay equal."""
    gradients = subject.gradients
    by_variable: dict[int, np.ndarray | None] = {}
    if gradients is not None:
        by_variable = dict(
            zip(
                (id(v) for v in subject.model.trainable_variables),
                gradients,
                strict=True,
            )
        )
    stuck, equal = [], []
    for layer in _own_layers(subject.model):
        kernel = getattr(layer, "kernel", None)
        if not layer.trainable or kernel is None or kernel.shape[-1] < 2:
            continue
        weights = kernel_of(layer)
        if weights is None or not _same_for_all_units(weights):
            continue
        last = _gives_output(subject, layer)
        gradient = by_variable.get(id(kernel))
        if gradient is None:
            alike = gradients is None and not last
        else:
            alike = _same_for_all_units(gradient) and not (last and not gradient.any())
        if alike:
            stuck.append(layer.name)
        elif weights.any() and not last and isinstance(layer, _INITIALIZED):
            equal.append(layer.name)
    if stuck:
        yield found(
            "symmetric_weights", "fault",
            f"All units of {len(stuck)} layers begin with equal weights and receive "
            "equal gradients, so that they never differ.",
            Evidence("layers with equal units", len(stuck), 0),
            layers=tuple(stuck),
        )  # fmt: skip
    elif equal:
        yield found(
            "symmetric_weights", "warning",
            f"All units of {len(equal)} layers begin with equal weights, as one unit "
            "would.",
            Evidence("layers with equal units", len(equal), 0),
            layers=tuple(equal),
        )  # fmt: skip


def _same_for_all_units(array: np.ndarray) -> bool:
    first = array[..., :1]
    size = float(np.max(np.abs(array)))
    return bool(np.all(np.abs(array - first) <= 1e-5 * size))


def initial_spread(subject: Subject) -> Iterable[Finding]:
    """Initial weights that multiply or divide the signal by a large factor."""
    optimizer = getattr(subject.model, "optimizer", None)
    if optimizer is None or int(keras.ops.convert_to_numpy(optimizer.iterations)) > 0:
        return
    large: dict[str, float] = {}
    small: dict[str, float] = {}
    for layer in _own_layers(subject.model):
        if type(layer) not in _INITIALIZED or not layer.trainable:
            continue
        kernel = kernel_of(layer)
        if kernel is None or fan_in(kernel) < threshold("fan_in_fewest"):
            continue
        spread = float(kernel.std() * np.sqrt(fan_in(kernel)))
        if spread > threshold("initial_spread_high"):
            large[layer.name] = spread
        # An output layer may begin small, and without a run none is known.
        elif (
            0 < spread < threshold("initial_spread_low")
            and subject.inference is not None
            and not _gives_output(subject, layer)
        ):
            small[layer.name] = spread
    for name, group, key, rule in (
        ("large_initial_weights", large, "initial_spread_high", "above"),
        ("small_initial_weights", small, "initial_spread_low", "below"),
    ):
        if group:
            worst = max(group, key=lambda n: abs(np.log(group[n])))
            what = "grows" if rule == "above" else "shrinks"
            yield found(
                name, "warning",
                f"In {worst!r} the signal {what} by a factor of {group[worst]:.3g}, "
                "the initial weights' spread times the root of the inputs.",
                Evidence("factor of the signal", group[worst], threshold(key), rule),
                layers=tuple(group),
            )  # fmt: skip


def batch_norm_of_one(subject: Subject) -> Iterable[Finding]:
    """BatchNorm over a single value."""
    if subject.inference is None or subject.batch_size != 1:
        return
    alone: list[str] = []
    few: list[str] = []
    for one in subject.inference[1]:
        layer = one.layer
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            (alone if one.positions == 1 else few).append(layer.name)
    if alone:
        yield found(
            "batch_norm_of_one", "fault",
            "BatchNorm sees one value per channel in each step, and makes it zero.",
            Evidence("samples a step", 1, 2, "below"),
            layers=tuple(alone),
        )  # fmt: skip
    elif few:
        yield found(
            "batch_norm_of_one", "warning",
            "BatchNorm normalises each sample by itself in training, and by all in "
            "inference.",
            Evidence("samples a step", 1, 2, "below"),
            layers=tuple(few),
        )  # fmt: skip


def dropout_before_output(subject: Subject) -> Iterable[Finding]:
    """Dropout that removes answers."""
    if subject.inference is None:
        return
    names = [
        one.layer.name
        for one in subject.inference[1]
        if one.gives >= 0 and isinstance(one.layer, DROPOUTS) and one.layer.rate > 0
    ]
    if not names:
        names = [
            name
            for chain in _chains(subject.model)
            for name in _dropped_at_the_end(subject, chain)
        ]
    if names:
        yield found(
            "dropout_before_output", "warning",
            f"{names[0]!r} drops what the last layer with weights has computed: "
            "answers of the network themselves.",
            Evidence("dropout layers behind the last weights", len(names), 0),
            layers=tuple(names),
        )  # fmt: skip


def _dropped_at_the_end(subject: Subject, chain: list[Any]) -> list[str]:
    """Dropout between the last weights and a closing activation."""
    last = chain[-1] if chain else None
    if last is None or last.weights or not _gives_output(subject, last):
        return []
    names = []
    for layer in reversed(chain):
        if layer.weights:
            break
        if isinstance(layer, DROPOUTS) and layer.rate > 0:
            names.append(layer.name)
        elif not isinstance(layer, (keras.layers.Activation, keras.layers.Softmax)):
            return []
    return names


def strong_dropout(subject: Subject) -> Iterable[Finding]:
    """Rates that leave next to nothing."""
    limit = threshold("dropout_rate_high")
    strong = {
        layer.name: float(layer.rate)
        for layer in _own_layers(subject.model)
        if isinstance(layer, DROPOUTS) and float(layer.rate) >= limit
    }
    if strong:
        worst = max(strong, key=lambda name: strong[name])
        yield found(
            "strong_dropout", "warning",
            f"{worst!r} removes {strong[worst]:.0%} of what it is given.",
            Evidence("dropout rate", strong[worst], limit),
            layers=tuple(strong),
        )  # fmt: skip


def strong_regularization(subject: Subject) -> Iterable[Finding]:
    """A penalty that is larger than the loss it is added to."""
    if subject.inference is None or subject.probe is None or not subject.labels:
        return
    penalty = subject.inference[2]
    if penalty <= 0 or len(subject.heads) != 1:
        return
    guess = guessing_loss(subject.heads[0])
    loss = max(subject.probe.loss(), guess or 0.0)
    limit = threshold("penalty_ratio_high")
    if loss > 0 and penalty > limit * loss:
        yield found(
            "strong_regularization", "warning",
            f"Before training, penalties on weights are {penalty:.3g} and the loss is "
            f"{loss:.3g}.",
            Evidence("penalties to loss", penalty / loss, limit),
        )  # fmt: skip


def _own_layers(model: keras.Model) -> list[Any]:
    return keras_compat.flatten_layers(model, include_self=False)


def _gives_output(subject: Subject, layer: Any) -> bool:
    """Whether this is the last layer with weights before an output."""
    if subject.inference is None:
        return False
    layers = subject.inference[1]
    if any(one.layer is layer and one.gives >= 0 for one in layers):
        return True
    with_weights = [one.layer for one in layers if one.layer.weights]
    return bool(with_weights) and with_weights[-1] is layer


CHECKS = (
    no_activation,
    limited_logits,
    bottleneck,
    symmetric_weights,
    initial_spread,
    batch_norm_of_one,
    dropout_before_output,
    strong_dropout,
    strong_regularization,
)
