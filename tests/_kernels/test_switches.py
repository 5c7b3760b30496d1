"""Each kernel computes what Keras computes without it: outputs and gradients.

Tolerances are of float32: sums of a few hundred products in another order.
"""

import keras
import numpy as np
import pytest

from keras_gradattn import config, layers
from keras_gradattn.training import CoupledAdam
from tests.backend_gradients import loss_and_gradients
from tests.narrow import random_images

RTOL, ATOL = 1e-5, 1e-5


@pytest.fixture(autouse=True)
def everything_in_use():
    yield
    config.convolution("auto")
    for name in config.KERNELS:
        config.kernel(name, True)


def outputs_and_gradients(layer, images):
    """A loss, the layer's outputs and its gradients, of weights and of the images.

    The images are given as a weight of a first layer that multiplies by one.
    """
    inputs = keras.Input(batch_shape=images.shape)
    first = _Images(images)
    model = keras.Model(inputs, layer(first(inputs)))
    random = np.random.default_rng(1)
    for weight in layer.trainable_weights:
        weight.assign(random.normal(size=weight.shape))
    targets = random.normal(size=(len(images), *model.output_shape[1:]))
    loss, outputs, gradients = loss_and_gradients(
        model,
        np.zeros_like(images),
        targets.astype("float32"),
        lambda wanted, given: keras.ops.sum(keras.ops.multiply(wanted, given)),
    )
    return [np.asarray(loss), outputs, *gradients]


class _Images(keras.layers.Layer):
    """Adds images that are a weight, whose gradient is then that of the images."""

    def __init__(self, images):
        super().__init__()
        self.images = self.add_weight(
            shape=images.shape, initializer=lambda *_, **__: images, name="images"
        )

    def call(self, inputs):
        return inputs + self.images


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        scale = max(float(np.max(np.abs(other))), 1.0)
        np.testing.assert_allclose(one, other, rtol=RTOL, atol=ATOL * scale)


def with_and_without(switch, make, images):
    """The same layer with the switch on and off."""
    found = []
    for on in (True, False):
        switch(on)
        keras.utils.set_random_seed(0)
        layer = make()
        found.append(outputs_and_gradients(layer, images))
    return found


def test_a_kernel_switch_is_seen_by_its_layer(backend, monkeypatch):
    # Otherwise on and off would be the same computation, and agree for nothing.
    name = "max_pooling" if backend == "jax" else "batch_normalization"
    if backend == "jax":
        from keras_gradattn.layers import symmetric_max_pooling2d as home

        kernel, layer = "maximum_of_slices", layers.SymmetricMaxPooling2D()
    else:
        from keras_gradattn.layers import batch_normalization as home

        kernel, layer = "normalize", layers.BatchNormalization()
    calls = []
    real = getattr(home, kernel)

    def counted(*arguments, **more):
        calls.append(kernel)
        return real(*arguments, **more)

    monkeypatch.setattr(home, kernel, counted)
    images = random_images(2, 6, 6, 3)
    config.kernel(name, False)
    layer(images, **({} if backend == "jax" else {"training": True}))
    assert calls == []
    config.kernel(name, True)
    layer(images, **({} if backend == "jax" else {"training": True}))
    assert calls == [kernel]


@pytest.mark.parametrize(
    ("size", "kernel", "strides"), [(2, 3, 1), (3, 3, 2), (4, 1, 2), (5, 3, 1)]
)
def test_convolution_by_taps(size, kernel, strides):
    def switch(on):
        config.convolution("taps" if on else "backend")

    on, off = with_and_without(
        switch,
        lambda: layers.SymmetricConv2D(4, kernel, strides),
        random_images(3, size, size, 5),
    )

    assert_same(on, off)


@pytest.mark.backends("torch")
@pytest.mark.parametrize("strides", [1, 2])
def test_memory_layout_of_convolution(strides):
    config.convolution("backend")

    on, off = with_and_without(
        lambda on: config.kernel("memory_layout", on),
        lambda: layers.SymmetricConv2D(4, 3, strides),
        random_images(2, 9, 8, 3),
    )

    assert_same(on, off)


@pytest.mark.backends("torch")
def test_memory_layout_of_max_pooling():
    on, off = with_and_without(
        lambda on: config.kernel("memory_layout", on),
        layers.SymmetricMaxPooling2D,
        random_images(2, 9, 8, 3),
    )

    assert_same(on, off)


@pytest.mark.backends("jax")
@pytest.mark.parametrize("equal", [False, True])
def test_max_pooling(equal):
    images = random_images(2, 9, 8, 3)
    if equal:
        # Of equal pixels the first one gets the gradient either way.
        images = np.round(images)

    on, off = with_and_without(
        lambda on: config.kernel("max_pooling", on),
        layers.SymmetricMaxPooling2D,
        images,
    )

    assert_same(on, off)


@pytest.mark.backends("torch", "tensorflow")
def test_batch_normalization():
    images = 3 * random_images(4, 5, 6, 3) + 1
    moved = []

    def switch(on):
        config.kernel("batch_normalization", on)
        layer = layers.BatchNormalization()
        layer(images, training=True)
        moved.append([layer.moving_mean.numpy(), layer.moving_variance.numpy()])
        layer.moving_mean.assign([0.5, -1.0, 2.0])
        moved[-1].append(keras.ops.convert_to_numpy(layer(images, training=False)))

    on, off = with_and_without(switch, layers.BatchNormalization, images)

    assert_same(on, off)
    assert_same(*moved)


@pytest.mark.backends("torch", "tensorflow")
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam(decay):
    found = []
    for on in (True, False):
        config.kernel("adam", on)
        optimizer = CoupledAdam(0.01, weight_decay=decay)
        weight = keras.Variable(random_images(3, 4))
        optimizer.build([weight])
        for step in range(5):
            gradient = keras.ops.convert_to_tensor(random_images(3, 4, seed=step + 1))
            optimizer.apply([gradient], [weight])
        state = [weight, *optimizer.moments(weight)]
        found.append([keras.ops.convert_to_numpy(values) for values in state])

    assert_same(*found)
