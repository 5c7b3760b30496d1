"""Training with and without a recorder of gradients, or a diagnosis."""

from typing import Any

import numpy as np

from benchmarks.works.keras_steps import KerasSteps
from keras_gradattn import TrainingDiagnosis
from keras_gradattn.gradients import GradientNorms


class RecordedSteps(KerasSteps):
    """Steps with and without recording, on one model with one optimizer.

    Where the weights of two models happen to lie in memory changes a step's time by
    more than recording does. On PyTorch there is also the usual way, a hook for each
    parameter that reads its gradient's norm.
    """

    # One batch at a usual rate is soon learnt by heart, and gradients that have
    # vanished are not those of a training.
    learning_rate = 1e-7

    def __init__(self, task: dict[str, Any], parts: tuple[str, ...]):
        super().__init__(task)
        self.parts = parts

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


class Fits(KerasSteps):
    """Whole `fit`s: plain, with a recorder, or with a diagnosis of the training.

    Args:
        task: As of steps.
        parts: Which of these, on one model with one optimizer.
        epochs: Of a fit. A diagnosis looks at layers between epochs.
    """

    learning_rate = RecordedSteps.learning_rate

    def __init__(self, task: dict[str, Any], parts: tuple[str, ...], epochs: int):
        super().__init__(task)
        self.parts, self.epochs = parts, epochs
        self.callbacks = {
            "plain": [],
            "recorded": [GradientNorms()],
            "diagnosed": [TrainingDiagnosis("ignore")],
        }

    def run(self, count: int, part: str) -> float:
        epochs = min(self.epochs, count)
        x, y = (np.concatenate([array] * (count // epochs)) for array in self.arrays)
        self.model.fit(x, y, self.task.batch, epochs, 0, self.callbacks[part])
        return count
