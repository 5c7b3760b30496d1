"""Whether weights are as an initializer draws them."""

from typing import Any

import keras
import numpy as np

from keras_gradattn.diagnosis.thresholds import threshold

# Fewer elements tell too little about their spread.
_FEWEST = 32


def kernel_of(layer: Any) -> np.ndarray | None:
    """The kernel of a dense, convolutional or embedding layer."""
    kernel = getattr(layer, "kernel", None)
    if kernel is None:
        kernel = getattr(layer, "embeddings", None)
    if kernel is None or len(getattr(kernel, "shape", ())) < 2:
        return None
    array = keras.ops.convert_to_numpy(kernel)
    return array.astype("float32") if array.dtype.kind not in "iu" else None


def fan_in(kernel: np.ndarray) -> int:
    """Inputs of each unit."""
    return int(np.prod(kernel.shape[:-1]))


def looks_just_drawn(layer: Any) -> bool:
    """Whether a layer's kernel has its initializer's spread, and biases are zero.

    BatchNorm counts where its statistics never moved.
    """
    if isinstance(layer, keras.layers.BatchNormalization):
        mean = keras.ops.convert_to_numpy(layer.moving_mean)
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        return not np.any(mean) and bool(np.all(variance == 1))
    kernel = kernel_of(layer)
    if kernel is None or kernel.size < _FEWEST:
        return False
    bias = getattr(layer, "bias", None)
    if bias is not None and np.any(keras.ops.convert_to_numpy(bias)):
        return False
    spread = expected_spread(layer, kernel)
    if spread is None or bool(np.all(kernel == kernel.flat[0])):
        return False
    return _has_spread(kernel, spread) and bool(
        abs(kernel.mean()) < 3 * spread / np.sqrt(kernel.size) + 0.02 * spread
    )


def looks_trained(layer: Any) -> bool:
    """Whether a layer's weights are certainly not as its initializer draws them."""
    kernel = kernel_of(layer)
    if kernel is None or kernel.size < _FEWEST:
        return False
    bias = getattr(layer, "bias", None)
    begins = getattr(layer, "bias_initializer", None)
    zeros = bias is not None and isinstance(begins, keras.initializers.Zeros)
    if zeros and np.any(keras.ops.convert_to_numpy(bias)):
        return True
    spread = expected_spread(layer, kernel)
    return spread is not None and not _has_spread(kernel, spread)


def _has_spread(kernel: np.ndarray, spread: float) -> bool:
    close = max(threshold("drawn_spread_apart"), 3 / np.sqrt(kernel.size))
    return bool(abs(kernel.std() / spread - 1) < close)


def expected_spread(layer: Any, kernel: np.ndarray) -> float | None:
    """Spread that a layer's initializer gives, `None` where it is not known."""
    initializer = getattr(layer, "kernel_initializer", None)
    if initializer is None:
        initializer = getattr(layer, "embeddings_initializer", None)
    if initializer is None:
        return None
    try:
        config = initializer.get_config()
    except (NotImplementedError, AttributeError, TypeError):
        return None
    if "scale" in config and "mode" in config:
        *receptive, inputs, outputs = kernel.shape
        field = int(np.prod(receptive)) if receptive else 1
        into, out = inputs * field, outputs * field
        fans = {"fan_in": into, "fan_out": out, "fan_avg": (into + out) / 2}
        return float(np.sqrt(config["scale"] / max(fans.get(config["mode"], into), 1)))
    if isinstance(initializer, keras.initializers.VarianceScaling):
        into, out = fan_in(kernel), kernel.shape[-1] * int(np.prod(kernel.shape[:-2]))
        name = type(initializer).__name__.lower()
        scale = 2.0 if name.startswith("he") else 1.0
        fan = (into + out) / 2 if name.startswith("glorot") else into
        return float(np.sqrt(scale / max(fan, 1)))
    if "minval" in config and "maxval" in config:
        return float((config["maxval"] - config["minval"]) / np.sqrt(12))
    if "stddev" in config:
        truncated = "truncated" in type(initializer).__name__.lower()
        return float(config["stddev"]) * (0.88 if truncated else 1.0)
    return None
