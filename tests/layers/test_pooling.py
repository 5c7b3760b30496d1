"""Max-pooling against PyTorch's own."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers


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


def test_padding_beyond_half_the_window_is_refused():
    with pytest.raises(ValueError, match="Received: padding=2, pool_size=3"):
        layers.SymmetricMaxPooling2D(3, 2, 2)
