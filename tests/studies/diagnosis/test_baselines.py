"""The two baselines see what their papers describe, on networks made for it."""

import keras
import numpy as np
import pytest

from studies.diagnosis.baselines import (
    Baselines,
    gradients_of,
    layer_outputs,
    watched_layers,
)


def network(**hidden):
    return keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, activation="relu", **hidden),
            keras.layers.Dense(1),
        ]
    )


@pytest.fixture(scope="module")
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(8, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def test_gradients_are_those_of_the_formula(rows):
    x, y = rows
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    kernel, bias = gradients_of(model, x, y)
    error = x @ before[0] + before[1] - y
    np.testing.assert_allclose(kernel, 2 * x.T @ error / len(x), rtol=1e-4)
    np.testing.assert_allclose(bias, 2 * error.mean(axis=0), rtol=1e-4)
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.any_backend
def test_outputs_come_with_their_activations(rows):
    outputs = layer_outputs(watched_layers(network()), rows[0])
    assert [name for name, _ in outputs] == ["relu", "linear"]
    assert [value.shape for _, value in outputs] == [(8, 4), (8, 1)]


@pytest.mark.any_backend
def test_dead_units_and_healthy_ones(rows):
    x, y = rows
    for bias, dead in ((-100.0, True), (0.0, False)):
        model = network(bias_initializer=keras.initializers.Constant(bias))
        model.compile("sgd", "mse")
        baselines = Baselines(x, y, 8, 2)
        model.fit(x, y, epochs=2, verbose=0, callbacks=[baselines])
        assert ("dead node" in baselines.names()["deepdiagnosis"]) is dead


@pytest.mark.any_backend
def test_nan_is_an_explosion_for_both(rows):
    x, y = rows
    model = network()
    model.compile("sgd", "mse")
    baselines = Baselines(x, y, 8, 1)
    model.fit(x, y * np.nan, epochs=1, verbose=0, callbacks=[baselines])
    said = baselines.names()
    assert said["autotrainer"] == ["exploding gradient"]
    assert "exploding tensor" in said["deepdiagnosis"]
