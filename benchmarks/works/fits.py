"""Whole calls of `fit`, whose first one compiles."""

import keras
import numpy as np

from benchmarks.harness.work import Work
from keras_gradattn.gradients import GradientNorms


class Fits(Work):
    """`fit` for ten batches of 32, on a network of dense layers.

    Args:
        layers: How many.
        width: Of each.
        recorded: Whether gradients are recorded.
    """

    def __init__(self, layers: int, width: int, recorded: bool):
        self.layers, self.width, self.recorded = layers, width, recorded

    def build(self) -> None:
        inputs = x = keras.Input((self.width,))
        for _ in range(self.layers):
            x = keras.layers.Dense(self.width, activation="relu")(x)
        self.model = keras.Model(inputs, keras.layers.Dense(1)(x))
        self.model.compile("adam", "mse")
        random = np.random.default_rng(0)
        self.x = random.normal(size=(320, self.width)).astype("float32")
        self.y = np.ones((320, 1), "float32")
        self.callbacks = [GradientNorms()] if self.recorded else []

    def run(self, count: int, part: str) -> float:
        for _ in range(count):
            self.model.fit(
                self.x,
                self.y,
                batch_size=32,
                shuffle=False,
                verbose=0,
                callbacks=self.callbacks,
            )
        return count
