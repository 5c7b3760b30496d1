"""PyTorch's own pooling against Keras'."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from tests._kernels.switched import assert_same, outputs_and_gradients, without

pytestmark = pytest.mark.backends("torch")


@settings(max_examples=6, deadline=None)
@given(
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    pool_size=st.integers(2, 3),
    strides=st.integers(1, 3),
    padding=st.integers(0, 1),
)
def test_outputs_and_gradients_are_keras_own(
    height, width, pool_size, strides, padding
):
    # Few different values: equal ones share no gradient, the first has it all.
    maps = np.random.default_rng(0).integers(-2, 1, (2, height, width, 3))
    maps = maps.astype("float32")
    pool_size = min(pool_size, height, width)
    layer = layers.SymmetricMaxPooling2D(pool_size, strides, padding)

    with_kernel = outputs_and_gradients(layer, maps)
    with without("memory_layout"):
        expected = outputs_and_gradients(layer, maps)

    np.testing.assert_array_equal(with_kernel[0], expected[0])
    # A pixel that wins several windows adds their gradients in another order.
    assert_same(with_kernel[1:], expected[1:], rtol=1e-6, atol=1e-6)
