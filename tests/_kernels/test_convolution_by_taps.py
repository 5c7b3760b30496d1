"""One matrix product per kernel tap against the backend's own convolution."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from tests._kernels.switched import assert_same, convolving, outputs_and_gradients


def convolved(form, maps, **arguments):
    layer = layers.SymmetricConv2D(3, bias_initializer="ones", **arguments)
    layer.build(maps.shape)
    kernel = np.random.default_rng(2).normal(size=layer.kernel.shape)
    layer.set_weights([kernel, *layer.get_weights()[1:]])
    with convolving(form):
        return outputs_and_gradients(layer, maps)


@settings(max_examples=6, deadline=None)
@given(
    # Of one pixel, some settings see nothing but padding: no gradient to compare.
    height=st.integers(2, 5),
    width=st.integers(2, 5),
    kernel_size=st.sampled_from([1, 2, 3, (3, 1)]),
    strides=st.integers(1, 2),
    use_bias=st.booleans(),
)
def test_outputs_and_gradients_are_the_backends(
    height, width, kernel_size, strides, use_bias
):
    maps = np.random.default_rng(0).normal(size=(2, height, width, 4))
    settings = {
        "kernel_size": kernel_size,
        "strides": strides,
        "padding": 1,
        "use_bias": use_bias,
    }

    by_taps, expected = (
        convolved(form, maps.astype("float32"), **settings)
        for form in ("taps", "backend")
    )

    assert_same(by_taps, expected, rtol=1e-5, atol=2e-6)
