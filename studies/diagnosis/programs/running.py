"""From a program's tables to a compiled model and its training."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from studies.diagnosis.programs.data import Rows, load
from studies.diagnosis.programs.networks import build
from studies.diagnosis.programs.program import Program


class BroadcastSquaredError(keras.losses.Loss):
    """A mean over (n, 1) minus (n,), which is every prediction minus every target."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.square(y_pred - ops.reshape(y_true, (-1,)))


class NegatedLoss(keras.losses.Loss):
    """A score to be maximised, given to an optimizer that minimises."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.loss = loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return -self.loss(y_true, y_pred)


_TASK_LOSSES: dict[str, Callable[[bool], Any]] = {
    "classes": lambda logits: keras.losses.SparseCategoricalCrossentropy(logits),
    "binary": lambda logits: keras.losses.BinaryCrossentropy(logits),
    "number": lambda logits: keras.losses.MeanSquaredError(),
}

# A name to a function of the program's own loss.
LOSSES: dict[str, Callable[[Any], Any]] = {
    "task": lambda task: task,
    "broadcast": lambda task: BroadcastSquaredError(),
    "negated": NegatedLoss,
    "mae": lambda task: keras.losses.MeanAbsoluteError(),
    "mse": lambda task: keras.losses.MeanSquaredError(),
    "huber": lambda task: keras.losses.Huber(),
    "probabilities": lambda task: keras.losses.BinaryCrossentropy(),
}

SCHEDULES: dict[str, Callable[[int], Any]] = {
    # A typing error: half the rate each step.
    "halved_each_step": lambda steps: keras.optimizers.schedules.ExponentialDecay(
        0.005, decay_steps=1, decay_rate=0.5
    ),
    "tenth_each_10": lambda steps: keras.optimizers.schedules.ExponentialDecay(
        0.005, decay_steps=10, decay_rate=0.1
    ),
    "cosine": lambda steps: keras.optimizers.schedules.CosineDecay(0.01, steps),
    "warm_up": lambda steps: keras.optimizers.schedules.CosineDecay(
        1e-4, steps, warmup_target=0.01, warmup_steps=steps // 5
    ),
}


@dataclass
class Case:
    """A program ready to train."""

    program: Program
    rows: Rows
    model: keras.Model

    def fit(self, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
        """Train as the program says, in two phases if it unfreezes."""
        training = self.program.training
        arguments: dict[str, Any] = {
            "batch_size": training.batch_size,
            "shuffle": training.shuffle,
            "validation_data": (self.rows.validation_x, self.rows.validation_y),
            "validation_batch_size": 256,
            "verbose": 0,
            "callbacks": list(callbacks),
        }
        frozen = training.unfreeze
        self.model.fit(
            self.rows.x, self.rows.y, epochs=frozen or training.epochs, **arguments
        )
        if frozen:
            for layer in self.model.layers:
                layer.trainable = True
            compile_model(self.program, self.model, self.rows, rate_factor=0.1)
            self.model.fit(
                self.rows.x, self.rows.y, epochs=training.epochs - frozen, **arguments
            )

    def metric(self) -> float:
        """Validation accuracy, or R squared clipped to -1 to 1; NaN counts as worst."""
        x, y = self.rows.validation_x, self.rows.validation_y
        outputs = np.asarray(
            self.model.predict(x, batch_size=256, verbose=0), "float64"
        )
        return metric(self.program.task, outputs, y)


def metric(task: str, outputs: np.ndarray, y: np.ndarray) -> float:
    """Accuracy, or R squared for numbers.

    Args:
        task: `"classes"`, `"binary"` or `"number"`.
        outputs: What a model predicts.
        y: What is right.
    """
    if not np.isfinite(outputs).all():
        return -1.0 if task == "number" else 0.0
    if task == "number":
        outputs = outputs.mean(axis=-1) if outputs.ndim > 1 else outputs
        error = np.mean((outputs - y) ** 2) / np.var(y)
        return float(max(-1.0, 1 - error))
    if outputs.shape[-1] == 1:
        return float(np.mean((outputs[:, 0] > 0.5) == y))
    return float(np.mean(outputs.argmax(-1) == y))


def prepare(program: Program, seed: int = 0) -> Case:
    """Load, build and compile a program.

    Args:
        program: The tables.
        seed: Of data, first values and the order of rows. Defaults to 0.
    """
    keras.utils.set_random_seed(seed)
    rows = load(program.data, seed)
    with _policy(program.training.policy):
        model = build(program.network, rows)
        for fault in program.network.faults:
            if fault in _AFTER_BUILDING:
                _AFTER_BUILDING[fault](model)
        compile_model(program, model, rows)
    return Case(program, rows, model)


def compile_model(
    program: Program, model: keras.Model, rows: Rows, rate_factor: float = 1.0
) -> None:
    """Compile with the program's loss, optimizer and metric."""
    training = program.training
    rate: Any = training.learning_rate
    if isinstance(rate, str):
        steps = training.epochs * math.ceil(len(rows.y) / training.batch_size)
        rate = SCHEDULES[rate](steps)
    else:
        rate *= rate_factor
    optimizer = keras.optimizers.get(
        {
            "class_name": training.optimizer,
            "config": {"learning_rate": 0.001, **dict(training.options)},
        }
    )
    optimizer.learning_rate = rate
    model.compile(
        optimizer,
        loss_of(program),
        metrics=[] if program.task == "number" else ["accuracy"],
    )


def loss_of(program: Program) -> Any:
    """The loss that the program compiles with."""
    faults = program.network.faults
    logits = program.network.output is None and "from_logits" not in faults
    if "from_logits" in faults:
        logits = True
    if "not_from_logits" in faults:
        logits = False
    return LOSSES[program.training.loss](_TASK_LOSSES[program.task](logits))


def _freeze_hidden(model: keras.Model) -> None:
    for layer in model.layers:
        layer.trainable = layer.name == "head"


def _freeze_all_but_norms(model: keras.Model) -> None:
    for layer in model.layers:
        layer.trainable = "norm" in layer.name


def _freeze_head(model: keras.Model) -> None:
    for layer in model.layers:
        layer.trainable = layer.name != "head"


def _freeze(model: keras.Model) -> None:
    model.trainable = False


_AFTER_BUILDING: dict[str, Callable[[keras.Model], None]] = {
    "frozen": _freeze,
    "frozen_hidden": _freeze_hidden,
    "frozen_all_but_norms": _freeze_all_but_norms,
    "frozen_head": _freeze_head,
}


@contextlib.contextmanager
def _policy(name: str) -> Any:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
