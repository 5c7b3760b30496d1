"""Training with and without a recorder of gradients."""

from typing import Any

import keras
import numpy as np

from benchmarks.harness.session import Work
from benchmarks.works.keras_steps import KerasSteps
from keras_gradattn.gradients import GradientNorms

WIDTH = 64


class RecordedSteps(KerasSteps):
    """Steps with and without recording, on one model with one optimizer.

    Where the weights of two models happen to lie in memory changes a step's time by
    more than recording does. On PyTorch there is also the usual way, a hook for each
    parameter that reads its gradient's norm.
    """

    # One batch at a usual rate is soon learnt by heart, and gradients that have
    # vanished are not those of a training.
    learning_rate = 1e-7

    def __init__(self, task: dict[str, Any]):
        super().__init__(task)
        self.parts = ("plain", "recorded")
        if keras.backend.backend() == "torch":
            self.parts += ("hooks",)

    def compile(self) -> None:
        super().compile()
        self.model.train_on_batch(*self.arrays)
        plain = self.model.train_function
        # What `fit` does through the callback.
        self.norms = GradientNorms()
        self.norms.set_model(self.model)
        self.norms.on_train_begin()
        self.norms.on_epoch_begin(0)
        self.functions = {
            "plain": plain,
            "hooks": plain,
            "recorded": self.model.train_function,
        }

    def run(self, count: int, part: str) -> float:
        self.model.train_function = self.functions[part]
        hooks = []
        if part == "hooks":
            variables = self.model.trainable_variables
            hooks = [v.value.register_hook(self._read_norm) for v in variables]
        for _ in range(count):
            self.model.train_on_batch(*self.arrays)
        for hook in hooks:
            hook.remove()
        return count

    def _read_norm(self, gradient: Any) -> None:
        self.last_norm = gradient.norm().item()


class Fits(Work):
    """Whole calls of `fit`, ten batches of 32, on a network of dense layers.

    Args:
        layers: How many.
        recorded: Whether gradients are recorded.
    """

    def __init__(self, layers: int, recorded: bool):
        self.layers, self.recorded = layers, recorded

    def build(self) -> None:
        inputs = x = keras.Input((WIDTH,))
        for _ in range(self.layers):
            x = keras.layers.Dense(WIDTH, activation="relu")(x)
        self.model = keras.Model(inputs, keras.layers.Dense(1)(x))
        self.model.compile("adam", "mse")
        random = np.random.default_rng(0)
        x = random.normal(size=(320, WIDTH)).astype("float32")
        self.data = x, np.ones((320, 1), "float32")
        self.callbacks = [GradientNorms()] if self.recorded else []

    def run(self, count: int, part: str) -> float:
        for _ in range(count):
            self.model.fit(*self.data, 32, verbose=0, callbacks=self.callbacks)
        return count
