"""One batch run through a model."""

import keras
import numpy as np
import pytest

from keras_gradattn.diagnosis.probe import Probe


@pytest.mark.parametrize("outputs", ["one", "named"])
def test_loss_of_outputs_is_the_loss_of_another_pass(outputs):
    inputs = keras.Input((4,))
    first = keras.layers.Dense(3, name="first", activity_regularizer="l2")(inputs)
    second = keras.layers.Dense(1, name="second")(first)
    named = {"first": first, "second": second}
    model = keras.Model(inputs, second if outputs == "one" else named)
    model.compile("sgd", "mse" if outputs == "one" else dict.fromkeys(named, "mse"))
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 4)), random.normal(size=(8, 1))
    labels = y if outputs == "one" else {"first": np.tile(y, 3), "second": y}
    probe = Probe(model, x, labels)

    found, *_ = probe.forward()

    assert probe.loss_after(found) == pytest.approx(probe.loss(), rel=1e-6)
    by_hand = np.square(found[-1] - y).mean()
    if outputs == "named":
        by_hand += np.square(found[0] - labels["first"]).mean()
    assert probe.loss_after(found) == pytest.approx(by_hand, rel=1e-5)
