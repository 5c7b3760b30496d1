"""Random weights at the start, against NumPy and the formulas of their ranges."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_gradattn import GradAttnV1
from keras_gradattn.layers._initializers import (
    FanInUniform,
    FanOutNormal,
    Normal,
    Uniform,
)

KERNEL = (3, 3, 16, 64)
INITIALIZERS = pytest.mark.parametrize(
    "make",
    [
        lambda seed=None: Uniform(-0.5, 0.25, seed=seed),
        lambda seed=None: Normal(1.0, 0.1, seed=seed),
        lambda seed=None: FanInUniform(seed=seed),
        lambda seed=None: FanOutNormal(seed=seed),
    ],
    ids=["uniform", "normal", "fan_in_uniform", "fan_out_normal"],
)


def drawn(initializer, shape=KERNEL, dtype="float32"):
    return ops.convert_to_numpy(initializer(shape, dtype=dtype))


@pytest.mark.parametrize(
    ("initializer", "low", "high"),
    [(Uniform(-0.5, 0.25, seed=3), -0.5, 0.25), (FanInUniform(3), -1 / 12, 1 / 12)],
    ids=["uniform", "fan_in_uniform"],
)
def test_uniform_numbers_fill_their_range(initializer, low, high):
    values = drawn(initializer)
    assert low <= values.min() < low + 1e-3
    assert high - 1e-3 < values.max() <= high
    # Of 9,216 draws the mean lies within four standard errors.
    error = (high - low) / 12**0.5 / values.size**0.5
    assert abs(values.mean() - (low + high) / 2) < 4 * error


@pytest.mark.parametrize(
    ("initializer", "mean", "stddev"),
    [(Normal(1.0, 0.1, seed=3), 1.0, 0.1), (FanOutNormal(3), 0.0, (2 / 576) ** 0.5)],
    ids=["normal", "fan_out_normal"],
)
def test_normal_numbers_have_their_mean_and_deviation(initializer, mean, stddev):
    values = drawn(initializer)
    assert abs(values.mean() - mean) < 4 * stddev / values.size**0.5
    assert abs(values.std() / stddev - 1) < 4 / (2 * values.size) ** 0.5


def test_a_linear_kernel_has_its_inputs_as_fan():
    values = drawn(FanInUniform(seed=1), (256, 50))
    assert 0.99 / 16 < np.abs(values).max() <= 1 / 16


@INITIALIZERS
def test_a_seed_gives_its_numbers_and_no_seed_new_ones(make):
    np.testing.assert_array_equal(drawn(make(seed=5)), drawn(make(seed=5)))
    assert (drawn(make(seed=5)) != drawn(make(seed=6))).mean() > 0.99
    keras.utils.set_random_seed(11)
    first, second = drawn(make()), drawn(make())
    assert (first != second).mean() > 0.99
    keras.utils.set_random_seed(11)
    np.testing.assert_array_equal(drawn(make()), first)


def test_numbers_are_numpys():
    by_hand = np.random.default_rng(5).random(KERNEL, dtype="float32")
    np.testing.assert_allclose(
        drawn(Uniform(-0.5, 0.25, seed=5)), 0.75 * by_hand - 0.5, atol=1e-7
    )
    by_hand = np.random.default_rng(5).standard_normal(KERNEL, dtype="float32")
    np.testing.assert_allclose(
        drawn(FanOutNormal(seed=5)), by_hand / 288**0.5, atol=1e-7
    )


def test_a_seeded_network_starts_alike_on_every_backend():
    keras.utils.set_random_seed(0)
    network = GradAttnV1(10, input_shape=(28, 28, 1))
    weights = [np.asarray(weight, "float64") for weight in network.get_weights()]
    # One number for all three backends; the tests run on each of them.
    assert sum(map(np.sum, weights)) == pytest.approx(9435.24131258158, rel=1e-9)


@INITIALIZERS
def test_serialised_initialisers_come_back(make):
    copy = keras.initializers.deserialize(keras.initializers.serialize(make(seed=5)))
    np.testing.assert_array_equal(drawn(copy), drawn(make(seed=5)))


@INITIALIZERS
def test_other_dtypes_are_the_same_numbers_rounded(make):
    values = make(seed=5)(KERNEL, dtype="bfloat16")
    assert keras.backend.standardize_dtype(values.dtype) == "bfloat16"
    np.testing.assert_allclose(
        ops.convert_to_numpy(ops.cast(values, "float32")),
        drawn(make(seed=5)),
        rtol=1e-2,
    )
