"""A kernel switched off, and what a layer gives with its gradients."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np

from keras_gradattn import config
from tests.backend_gradients import loss_and_gradients


@contextlib.contextmanager
def without(kernel: str) -> Iterator[None]:
    """What Keras does instead of one of the kernels."""
    config.kernel(kernel, False)
    try:
        yield
    finally:
        config.kernel(kernel, True)


@contextlib.contextmanager
def convolving(form: str) -> Iterator[None]:
    """Every convolution in one form."""
    config.convolution(form)
    try:
        yield
    finally:
        config.convolution("auto")


class _OnMaps(keras.layers.Layer):
    """A layer on maps that are a variable, and so have a gradient like its weights."""

    def __init__(self, layer: keras.layers.Layer, maps: np.ndarray):
        super().__init__()
        self.maps = self.add_weight(shape=maps.shape)
        self.maps.assign(maps)
        self.layer = layer

    def call(self, factor, training=None):
        if isinstance(self.layer, keras.layers.BatchNormalization):
            return self.layer(self.maps * factor, training=training)
        return self.layer(self.maps * factor)


def outputs_and_gradients(
    layer: keras.layers.Layer, maps: np.ndarray, training: bool = True
) -> list[np.ndarray]:
    """What a layer makes of maps, and the gradients of its weights and of the maps.

    Args:
        layer: Any layer.
        maps: Its inputs.
        training: Whether to run in training mode.

    Returns:
        The outputs; then the gradient of an arbitrary weighted sum of them by the maps
        and by each weight.
    """
    model = _OnMaps(layer, maps)
    factor = np.ones(1, "float32")
    shape = keras.ops.shape(model(factor, training=False))
    weights = np.random.default_rng(1).normal(size=shape).astype("float32")
    _, outputs, gradients = loss_and_gradients(
        model,
        factor,
        weights,
        lambda weights, outputs: keras.ops.sum(keras.ops.multiply(outputs, weights)),
        training,
    )
    return [outputs, *gradients]


def assert_same(ours, theirs, *, rtol: float, atol: float) -> None:
    """Same values up to rounding, whose size follows that of an array's largest."""
    assert len(ours) == len(theirs)
    for number, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        scale = max(1.0, float(np.abs(other).max(initial=0.0)))
        np.testing.assert_allclose(
            own, other, rtol=rtol, atol=atol * scale, err_msg=f"array {number}"
        )
