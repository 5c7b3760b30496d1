"""PyTorch's own Adam against the same steps in Keras' operations."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn.training.coupled_adam import CoupledAdam
from tests._kernels.switched import assert_same, without

pytestmark = pytest.mark.backends("torch")
SHAPES = [(2, 3), (4,), ()]
STEPS = 5


def moved(start, gradients, weight_decay):
    """Weights and both moments after all steps."""
    variables = [keras.Variable(value) for value in start]
    # Learnt without decay, as biases often are.
    optimizer = CoupledAdam(1e-2, weight_decay=weight_decay)
    optimizer.exclude_from_weight_decay(var_list=variables[1:2])
    optimizer.build(variables)
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
    moments = [moment for v in variables for moment in optimizer.moments(v)]
    return [keras.ops.convert_to_numpy(v) for v in [*variables, *moments]]


@settings(max_examples=6, deadline=None)
@given(
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-6, 1e-2, 1.0]),
    weight_decay=st.sampled_from([0.0, 1e-4, 1e-1]),
)
def test_weights_and_moments_are_the_same(seed, scale, weight_decay):
    random = np.random.default_rng(seed)
    start = [np.asarray(random.normal(size=shape), "float32") for shape in SHAPES]
    gradients = [
        [np.asarray(random.normal(0, scale, shape), "float32") for shape in SHAPES]
        for _ in range(STEPS)
    ]

    with_kernel = moved(start, gradients, weight_decay)
    with without("adam"):
        expected = moved(start, gradients, weight_decay)

    assert_same(with_kernel, expected, rtol=1e-5, atol=1e-6)
