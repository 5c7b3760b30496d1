"""Statistics of what layers return: dead, saturated, normalised."""

import dataclasses
import math
from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.thresholds import threshold
from keras_gradattn.gradients.output_taps import STEPPING

STATISTICS = (
    "dead_share",
    "saturated_share",
    "shift",
    "spread",
    "zero_share",
    "nonfinite_share",
)
# Output ranges of activations that saturate at both ends.
RANGES = {"sigmoid": (0.0, 1.0), "hard_sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}
# What removes values at random, at a `rate`, while a network is trained.
DROPOUTS = (
    keras.layers.Dropout,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
)
_RELUS = ("relu", "relu6")


@dataclasses.dataclass(frozen=True)
class LayerOutput:
    """One call of a layer.

    Attributes:
        layer: The layer.
        gives: Which of the model's outputs this tensor is, -1 for none.
        positions: Values a sample and channel: 1 of dense layers, pixels of maps.
        statistics: `dead_share` (units that are zero for the whole batch, of a ReLU),
            `saturated_share` (elements at an end of the range, of sigmoid and tanh),
            `shift` and `spread` (of BatchNorm, median over channels of the distance
            from its own mean, and of the spread over its own one), `zero_share`
            (exact zeros), `nonfinite_share`; NaN where it does not apply.
    """

    layer: Any
    gives: int
    statistics: dict[str, float]
    positions: int = 1


def positions_of(layer: Any, outputs: Any) -> int:
    """Values a sample and channel."""
    flat = keras.tree.flatten(outputs)
    if not flat or len(flat[0].shape) < 3:
        return 1
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else -1
    sizes = list(flat[0].shape)[1:]
    del sizes[axis - 1 if axis == 1 else axis]
    return math.prod(int(size or 1) for size in sizes)


def watched_layers(model: keras.Model) -> list[Any]:
    """Layers that hold no others, and none that runs once per time step."""
    everything = keras_compat.flatten_layers(model, include_self=False)
    stepping = [layer for layer in everything if isinstance(layer, STEPPING)]
    inside = {
        id(layer)
        for parent in stepping
        for layer in keras_compat.flatten_layers(parent, include_self=False)
    }
    return [
        layer
        for layer in everything
        if id(layer) not in inside
        and not isinstance(layer, keras.layers.InputLayer)
        and (
            isinstance(layer, STEPPING)
            or not keras_compat.flatten_layers(layer, include_self=False)
        )
    ]


def activation_of(layer: Any) -> str:
    """Name of a layer's activation, `"linear"` where it has none."""
    kind = type(layer).__name__
    own = {"ReLU": "relu", "Softmax": "softmax", "LeakyReLU": "leaky_relu"}
    own |= {"PReLU": "prelu", "ELU": "elu"}
    if isinstance(layer, keras.layers.Layer) and kind in own:
        return own[kind]
    if isinstance(layer, STEPPING):
        return "recurrent"
    activation = getattr(layer, "activation", None)
    if activation is None:
        return "linear"
    return str(getattr(activation, "__name__", type(activation).__name__)).lower()


def statistics_of(layer: Any, outputs: Any) -> Any:
    """(len(STATISTICS),) tensor, of the first output of a layer."""
    ops = keras.ops
    flat = keras.tree.flatten(outputs)
    missing = ops.full((), float("nan"), "float32")
    if not flat or not keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(flat[0].dtype)
    ):
        return ops.stack([missing] * len(STATISTICS))
    values = ops.cast(ops.stop_gradient(flat[0]), "float32")
    dead = saturated = shift = spread = missing
    activation = activation_of(layer)
    if activation in _RELUS and len(values.shape) > 1:
        dead = _dead_share(layer, values)
    if activation in RANGES:
        low, high = RANGES[activation]
        room = threshold("saturated_end") * (high - low)
        ends = ops.logical_or(values < low + room, values > high - room)
        saturated = ops.mean(ops.cast(ends, "float32"))
    if isinstance(layer, keras.layers.BatchNormalization):
        shift, spread = _against_own_statistics(layer, values)
    bad = ops.mean(ops.cast(ops.logical_not(ops.isfinite(values)), "float32"))
    zero = ops.mean(ops.cast(ops.equal(values, 0), "float32"))
    return ops.stack([dead, saturated, shift, spread, zero, bad])


def _dead_share(layer: Any, values: Any) -> Any:
    ops = keras.ops
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else -1
    axes = [i for i in range(len(values.shape)) if i != axis % len(values.shape)]
    silent = ops.equal(ops.max(ops.abs(values), axis=axes), 0)
    return ops.mean(ops.cast(silent, "float32"))


def _against_own_statistics(layer: Any, values: Any) -> tuple[Any, Any]:
    """In inference mode a channel would have mean beta and spread gamma."""
    ops = keras.ops
    axis = layer.axis % len(values.shape)
    axes = [i for i in range(len(values.shape)) if i != axis]
    mean, variance = ops.mean(values, axis=axes), ops.var(values, axis=axes)
    gamma = 1.0 if layer.gamma is None else ops.abs(ops.cast(layer.gamma, "float32"))
    beta = 0.0 if layer.beta is None else ops.cast(layer.beta, "float32")
    shift = ops.abs(mean - beta) / (gamma + 1e-6)
    return ops.median(shift), ops.median(ops.sqrt(variance) / (gamma + 1e-6))
