"""PyTorch's own kernel against Keras' separate operations."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from tests._kernels.switched import assert_same, outputs_and_gradients, without

pytestmark = pytest.mark.backends("torch")


def normalized(maps, training, axis=-1):
    """Outputs, gradients and the moving statistics afterwards."""
    layer = layers.BatchNormalization(axis)
    layer.build(maps.shape)
    channels = maps.shape[axis]
    start = np.linspace(0.5, 1.5, channels, dtype="float32")
    layer.set_weights([start, start - 1, start * 2 - 2, start * 3])
    arrays = outputs_and_gradients(layer, maps, training)
    statistics = [layer.moving_mean, layer.moving_variance]
    return [*arrays, *map(keras.ops.convert_to_numpy, statistics)]


@settings(max_examples=6, deadline=None)
@given(
    batch=st.integers(2, 4),
    height=st.integers(1, 5),
    width=st.integers(2, 5),
    channels=st.integers(1, 5),
    offset=st.sampled_from([0.0, 3.0]),
    training=st.booleans(),
)
def test_outputs_gradients_and_statistics_are_keras_own(
    batch, height, width, channels, offset, training
):
    random = np.random.default_rng(0)
    maps = random.normal(offset, 1, (batch, height, width, channels)).astype("float32")

    with_kernel = normalized(maps, training)
    with without("batch_normalization"):
        expected = normalized(maps, training)

    # The kernel takes the variance by another formula: up to 5e-6 of the largest value
    # was seen, on four values a channel.
    assert_same(with_kernel, expected, rtol=1e-5, atol=2e-5)
