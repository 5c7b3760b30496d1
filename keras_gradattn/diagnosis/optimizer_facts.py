"""What an optimizer does beside taking steps: clipping, decay, scaling."""

from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat

_PLAIN = ("SGD",)


def clipping(optimizer: Any) -> tuple[str, float] | None:
    """Kind and limit of clipping, or `None`."""
    for name, kind in (
        ("global_clipnorm", "global"),
        ("clipnorm", "norm"),
        ("clipvalue", "value"),
    ):
        limit = getattr(optimizer, name, None)
        if limit:
            return kind, float(limit)
    return None


def adapts(optimizer: Any) -> bool:
    """Whether gradients are divided by their usual size."""
    return type(optimizer).__name__ not in _PLAIN


def decays(model: keras.Model, optimizer: Any) -> bool:
    """Whether weights are shrunk, by the optimizer or by penalties of layers."""
    if getattr(optimizer, "weight_decay", None):
        return True
    return any(
        getattr(layer, "kernel_regularizer", None) is not None
        for layer in keras_compat.flatten_layers(model, include_self=False)
    )


def loss_scale(optimizer: Any) -> float | None:
    """The scale of a dynamic loss scaling, `None` without."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return None
    if not optimizer.built:
        return None
    return float(keras.ops.convert_to_numpy(optimizer.dynamic_scale))
