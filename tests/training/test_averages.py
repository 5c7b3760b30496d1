"""Averaged weights are tested with averaged BatchNorm statistics."""

import keras
import numpy as np
import pytest

from keras_gradattn import datasets, paper, training
from keras_gradattn.training import _training_loop
from keras_gradattn.training._building import build_loss, build_model, build_optimizer
from keras_gradattn.training._training_loop import TrainingLoop

NARROW = {"stage_filters": (4, 4, 8, 8), "stage_blocks": (1, 1, 1, 1)}
MOMENTUM = 0.8


class _Watch(keras.callbacks.Callback):
    """Keeps the weights after every step, and those that are tested."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.steps, self.tested, self.after = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        _ = self.model  # brings JAX' variables up to date
        self.steps.append(self.network.get_weights())

    def on_test_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.tested.append(self.network.get_weights())

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(self.network.get_weights())


@pytest.fixture
def every_second_step(monkeypatch):
    monkeypatch.setattr(_training_loop, "_STRIDE", 2)
    monkeypatch.setattr(_training_loop, "_FORGOTTEN", 4)


@pytest.mark.usefixtures("without_traces")
def test_what_is_tested_is_the_average_of_weights_and_statistics(
    tmp_path, every_second_step
):
    digits = datasets.load("digits", limit=48)
    recipe = training.Recipe(
        name="averages", ema_momentum=MOMENTUM, restore_best_weights=False, max_epochs=2
    )
    network = build_model("resnet18", digits.spec, recipe, **NARROW)
    optimizer = build_optimizer(recipe, network, total_steps=12)
    network.compile(optimizer, build_loss(recipe), metrics=["accuracy"])
    loop = TrainingLoop(network, recipe, 0, tmp_path / "checkpoint.npz")
    watch = _Watch(network)
    options = {"batch_size": 8, "engine": "pydataset"}
    network.fit(
        datasets.batches(digits.train, digits.spec, training=True, **options),
        validation_data=datasets.batches(
            digits.validation, digits.spec, training=False, **options
        ),
        epochs=2,
        callbacks=[loop, watch],
        shuffle=False,
        verbose=0,
    )
    moving = [i for i, v in enumerate(network.weights) if "moving" in v.path]
    trained = [
        i
        for i, weight in enumerate(network.weights)
        if any(weight is v for v in network.trainable_variables)
    ]
    assert len(moving) == 2 * 12
    assert len(moving) + len(trained) == len(network.weights)
    average, statistics = None, None
    for step, weights in enumerate(watch.steps, start=1):
        share = 1 - MOMENTUM if average else 1.0
        average = average or weights
        average = [a + share * (w - a) for a, w in zip(average, weights, strict=True)]
        if step % 2 == 0 and step >= 4:
            share = 1 - MOMENTUM**2 if statistics else 1.0
            statistics = statistics or weights
            statistics = [
                s + share * (w - s) for s, w in zip(statistics, weights, strict=True)
            ]
        if step % 6 == 0:
            tested = watch.tested[step // 6 - 1]
            for index in trained:
                np.testing.assert_allclose(
                    tested[index], average[index], rtol=1e-4, atol=1e-6
                )
            for index in moving:
                np.testing.assert_allclose(
                    tested[index], statistics[index], rtol=1e-4, atol=1e-6
                )
            # Training goes on with the last weights, to the bit.
            for found, expected in zip(
                watch.after[step // 6 - 1], weights, strict=True
            ):
                np.testing.assert_array_equal(found, expected)
    assert any((statistics[i] != watch.steps[-1][i]).any() for i in moving)
    loop.put(loop.final_weights()["last"])
    for found, expected in zip(network.get_weights(), watch.tested[-1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_without_an_average_nothing_is_swapped(tmp_path, every_second_step):
    recipe = paper.RECIPES["as_described"]
    digits = datasets.load("digits", limit=8)
    network = build_model("resnet18", digits.spec, recipe, **NARROW)
    network.compile("adam", build_loss(recipe))
    loop = TrainingLoop(network, recipe, 0, tmp_path / "checkpoint.npz")
    for _ in range(8):
        loop.on_train_batch_end(0)
    before = network.get_weights()
    loop.on_test_begin()
    for found, expected in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
