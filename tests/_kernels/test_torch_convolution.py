"""Convolution without copying maps against Keras' own, which copies them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from tests._kernels.switched import (
    assert_same,
    convolving,
    outputs_and_gradients,
    without,
)

pytestmark = pytest.mark.backends("torch")


@settings(max_examples=20, deadline=None)
@given(
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    kernel_size=st.sampled_from([1, 2, 3, (3, 1)]),
    strides=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    filters=st.sampled_from([1, 4]),
    data_format=st.sampled_from(["channels_last", "channels_first"]),
)
def test_outputs_and_gradients_are_keras_own(
    height, width, kernel_size, strides, groups, filters, data_format
):
    if filters == 1:
        groups = 1
    shape = (2, height, width, 4)
    if data_format == "channels_first":
        shape = (2, 4, height, width)
    maps = np.random.default_rng(0).normal(size=shape).astype("float32")
    layer = layers.SymmetricConv2D(
        filters, kernel_size, strides, groups=groups, data_format=data_format
    )

    with convolving("backend"):
        without_copies = outputs_and_gradients(layer, maps)
        with without("memory_layout"):
            expected = outputs_and_gradients(layer, maps)

    assert_same(without_copies, expected, rtol=1e-5, atol=2e-6)
