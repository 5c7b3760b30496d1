"""Max-pooling against PyTorch's own."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from tests.backend_gradients import gradient_of


@settings(max_examples=20, deadline=None)
@given(height=st.integers(2, 9), width=st.integers(2, 9), strides=st.integers(1, 3))
def test_equals_pytorch_also_for_negative_values(height, width, strides):
    maps = -1 - np.random.default_rng(0).random((2, height, width, 3), "float32")

    pooled = layers.SymmetricMaxPooling2D(3, strides, 1)(maps)

    expected = torch.nn.functional.max_pool2d(
        torch.tensor(maps.transpose(0, 3, 1, 2)), 3, strides, 1
    )
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(pooled), expected.numpy().transpose(0, 2, 3, 1)
    )


def test_gradient_goes_to_the_first_of_equal_pixels():
    """Backgrounds are constant, so equal pixels are the rule, not the exception."""
    maps = np.random.default_rng(0).integers(0, 3, (2, 9, 8, 3)).astype("float32")
    weights = np.random.default_rng(1).normal(size=(2, 5, 4, 3)).astype("float32")
    layer = layers.SymmetricMaxPooling2D(3, 2, 1)

    gradient = gradient_of(
        lambda x: keras.ops.sum(keras.ops.multiply(layer(x), weights)), maps
    )

    reference = torch.tensor(maps.transpose(0, 3, 1, 2), requires_grad=True)
    pooled = torch.nn.functional.max_pool2d(reference, 3, 2, 1)
    (pooled * torch.tensor(weights.transpose(0, 3, 1, 2))).sum().backward()
    expected = reference.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-7)


def test_what_is_not_a_number_stays_so():
    maps = np.zeros((1, 6, 6, 1), "float32")
    maps[0, 3, 3] = np.nan

    pooled = keras.ops.convert_to_numpy(layers.SymmetricMaxPooling2D(3, 2, 1)(maps))

    expected = torch.nn.functional.max_pool2d(
        torch.tensor(maps.transpose(0, 3, 1, 2)), 3, 2, 1
    )
    np.testing.assert_array_equal(pooled, expected.numpy().transpose(0, 2, 3, 1))


def test_padding_beyond_half_the_window_is_refused():
    with pytest.raises(ValueError, match="Received: padding=2, pool_size=3"):
        layers.SymmetricMaxPooling2D(3, 2, 2)
