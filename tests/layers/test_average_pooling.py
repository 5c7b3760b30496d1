"""Average pooling against means by hand, and what it does to memory layouts."""

import keras
import numpy as np
import pytest

from keras_gradattn.layers._average_pooling import AveragePooling, average_pool
from tests.backend_gradients import gradient_of

SIZES = pytest.mark.parametrize("size", [2, 3, 4, 5])
PIXELS = pytest.mark.parametrize("pixels", [(12, 8), (11, 7), (13, 10), (1, 2)])


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def random_maps(pixels):
    return np.random.default_rng(0).normal(size=(2, *pixels, 3)).astype("float32")


def windows(pixels, size):
    """Rows and columns of every window, in what it pools to."""
    for row, column in np.ndindex(*(-(-p // size) for p in pixels)):
        inside = tuple(slice(i * size, (i + 1) * size) for i in (row, column))
        yield (slice(None), row, column), (slice(None), *inside)


@SIZES
@PIXELS
def test_takes_what_there_is(pixels, size):
    maps = random_maps(pixels)

    pooled = as_array(average_pool(maps, size, "channels_last"))
    first = as_array(average_pool(maps.transpose(0, 3, 1, 2), size, "channels_first"))

    assert pooled.shape[1:3] == tuple(-(-p // size) for p in pixels)
    for target, window in windows(pixels, size):
        np.testing.assert_allclose(pooled[target], maps[window].mean((1, 2)), atol=1e-6)
    np.testing.assert_allclose(first.transpose(0, 2, 3, 1), pooled, atol=1e-6)


@SIZES
@PIXELS
def test_gradient_is_shared_by_what_there_is(pixels, size):
    maps = random_maps(pixels)
    factors = random_maps([-(-p // size) for p in pixels])

    def weighted(x):
        pooled = average_pool(x, size, "channels_last")
        return keras.ops.sum(keras.ops.multiply(pooled, factors))

    gradient = gradient_of(weighted, maps)

    expected = np.zeros_like(maps)
    for target, window in windows(pixels, size):
        _, height, width, _ = maps[window].shape
        expected[window] = factors[target][:, None, None] / (height * width)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


@pytest.mark.parametrize("known", [True, False])
def test_layer_of_maps_of_known_and_unknown_size(known):
    inputs = keras.Input((11, 7, 3) if known else (None, None, 3))
    model = keras.Model(inputs, AveragePooling(2, "channels_last")(inputs))
    assert model.output_shape == ((None, 6, 4, 3) if known else (None, None, None, 3))
    maps = random_maps((11, 7))

    pooled = model.predict(maps, verbose=0)

    np.testing.assert_allclose(
        pooled, as_array(average_pool(maps, 2, "channels_last")), atol=1e-6
    )
    layer = model.layers[-1]
    assert AveragePooling.from_config(layer.get_config()).get_config() == (
        layer.get_config()
    )


@pytest.mark.backends("torch")
def test_maps_and_gradients_keep_their_layout():
    """Copies of every map before would cost more than the pooling."""
    import torch

    maps = torch.tensor(random_maps((8, 7)), requires_grad=True)
    layouts = []
    maps.register_hook(lambda gradient: layouts.append(gradient.is_contiguous()))

    pooled = average_pool(maps, 2, "channels_last")
    pooled.backward(torch.ones(pooled.shape))

    assert pooled.is_contiguous()
    assert layouts == [True]
