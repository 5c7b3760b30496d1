"""The callback that applies a recipe epoch by epoch and can go on after a kill."""

import dataclasses
import random
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat.keras import flatten_layers, moving_averages
from keras_gradattn.gradients.depth_groups import inner_model
from keras_gradattn.training import _checkpoint
from keras_gradattn.training._validation_rules import BestEpoch, PlateauRule
from keras_gradattn.training.devices import OneDevice
from keras_gradattn.training.recipe import Recipe

# Steps between two looks at what BatchNorm remembers, which itself goes back about
# ten steps; and steps until it has forgotten how it was initialised (0.9**50 < 1 %).
_STRIDE, _FORGOTTEN = 10, 50


class TrainingLoop(keras.callbacks.Callback):
    """Plateau schedule, early stopping, best weights, averaged weights, checkpoint.

    Keras has a callback for each; together they cannot be resumed, since
    `BackupAndRestore` keeps weights and optimizer only.

    Args:
        model: The compiled model that `fit` gets.
        recipe: The protocol, for one data set.
        seed: Seed of the run.
        path: Checkpoint file.
        companions: Objects whose `state()` is saved and given back to `restore()`.
        devices: What is trained on; only its first process writes the checkpoint.
        validated: Validation images of this process.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: Recipe,
        seed: int,
        path: Path,
        companions: dict[str, Any] | None = None,
        devices: OneDevice | None = None,
        validated: int = 0,
    ):
        super().__init__()
        self._recipe = recipe
        self._seed = seed
        self._path = path
        self._companions = companions or {}
        self._devices = devices or OneDevice()
        self._validated = validated
        self._plateau = self._new_plateau()
        self._best_epoch = BestEpoch(recipe.early_stopping_patience)
        self._best_weights: list[np.ndarray] = []
        self._epoch_start = 0.0
        self.history: list[dict[str, float]] = []
        self.steps = 0
        self.finished = False
        self.stopped_early = False
        self._phase = 0
        self.begin_phase(model, 0)

    def begin_phase(self, model: keras.Model, number: int) -> None:
        """A part of the training with an optimizer of its own.

        Args:
            model: The compiled model that `fit` gets.
            number: Which part, from 0.
        """
        self._variables = _checkpoint.training_variables(model)
        network = inner_model(model)
        self._model_variables = list(network.variables)
        self._averages = _moving_averages(model) if self._recipe.ema_momentum else None
        self._generators = [
            variable
            for variable in self._model_variables
            if variable.name == "seed_generator_state"
        ]
        self._statistics = _statistics(network)
        # What BatchNorm remembers, averaged like the weights; empty at first.
        self._mean_statistics: list[np.ndarray] = []
        if number > self._phase:
            self._plateau = self._new_plateau()
            self._best_epoch.waited = 0
        self._phase = number

    def _new_plateau(self) -> PlateauRule:
        recipe = self._recipe
        return PlateauRule(
            recipe.plateau_factor, recipe.plateau_patience, recipe.minimum_learning_rate
        )

    @property
    def _is_last_phase(self) -> bool:
        return self._phase >= len(self._recipe.phases) - 1

    def stored_phase(self) -> int:
        """The part of the training that the checkpoint was written in."""
        if not self._path.exists():
            return 0
        return int(_checkpoint.load(self._path)[1].get("phase", 0))

    @property
    def epochs_run(self) -> int:
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """Epoch with the highest validation accuracy, counted from 1."""
        return self._best_epoch.epoch

    def resume(self) -> bool:
        """Go to the end of the last finished epoch; whether there was one."""
        if not self._path.exists():
            return False
        groups, state = _checkpoint.load(self._path)
        if state["backend"] != keras.backend.backend():
            raise ValueError(
                "A training does not go on to the same result on another backend. "
                f"Resume it with KERAS_BACKEND={state['backend']}, or delete its "
                f"folder. Received: {self._path} on {keras.backend.backend()}"
            )
        _checkpoint.assign(self._variables, groups["training"])
        self._best_weights = groups.get("best", [])
        self._mean_statistics = groups.get("mean_statistics", [])
        self._plateau = PlateauRule(**state["plateau"])
        self._best_epoch = BestEpoch(**state["best_epoch"])
        self.history = state["history"]
        self.steps = state["steps"]
        self.finished = state["finished"]
        self.stopped_early = state["stopped_early"]
        for name, companion in self._companions.items():
            companion.restore(state["companions"][name])
        return True

    def final_weights(self) -> dict[str, list[np.ndarray]]:
        """Weights of the `"best"` and of the `"last"` epoch, averaged where the recipe
        averages; what the recipe tests comes first."""
        weights = {"best": self._best_weights, "last": self._tested_weights()}
        order = (
            ("best", "last") if self._recipe.restore_best_weights else ("last", "best")
        )
        # A checkpoint of before both were kept may lack the best.
        return {name: weights[name] for name in order if weights[name]}

    def put(self, weights: list[np.ndarray]) -> None:
        """Give the model some of `final_weights()`."""
        _checkpoint.assign(self._model_variables, weights)

    # === Callback ===

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch_start = time.monotonic()
        _seed_generators_of_libraries(self._seed, epoch, self._devices.rank)
        self._devices.seed_others(self._generators, self._seed, epoch)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self.steps += 1
        if self._averages and self.steps % _STRIDE == 0 and self.steps >= _FORGOTTEN:
            self._average_statistics()
        if self._recipe.max_steps and self.steps >= self._recipe.max_steps:
            self.finished = True
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._devices.count > 1:
            # Touched for JAX, whose variables are brought up to date by that.
            _ = self.model
            self._share_statistics()
        self._swap_averages()
        self._devices.before_validation()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self._devices.after_validation()
        self._swap_averages()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        record = {name: float(value) for name, value in (logs or {}).items()}
        record = self._devices.agree(record, self._validated)
        record |= {"learning_rate": rate, "epoch": epoch + 1, "steps": self.steps}
        record["seconds"] = time.monotonic() - self._epoch_start
        self.history.append(record)

        accuracy = record["val_accuracy"]
        if self._recipe.schedule == "plateau":
            lower = self._plateau.next_rate(accuracy, rate)
            # Assigned only when it differs: float32 -> float64 -> float32 is exact,
            # but a rate that nobody changed should not be touched at all.
            if lower < rate:
                self.model.optimizer.learning_rate = lower
        if self._best_epoch.is_best(epoch + 1, accuracy):
            self._best_weights = self._tested_weights()
        if self._best_epoch.patience_is_over and self._is_last_phase:
            self.finished = self.stopped_early = True
        if epoch + 1 == self.params["epochs"] and self._is_last_phase:
            self.finished = True
        if self.finished:
            self.model.stop_training = True
        self._save()

    def _save(self) -> None:
        if self._devices.rank:
            return
        groups = {
            "training": _checkpoint.values(self._variables),
            "best": self._best_weights,
        }
        if self._mean_statistics:
            groups["mean_statistics"] = self._mean_statistics
        state = {
            "backend": keras.backend.backend(),
            "phase": self._phase,
            "plateau": dataclasses.asdict(self._plateau),
            "best_epoch": dataclasses.asdict(self._best_epoch),
            "history": self.history,
            "steps": self.steps,
            "finished": self.finished,
            "stopped_early": self.stopped_early,
            "companions": {k: c.state() for k, c in self._companions.items()},
        }
        _checkpoint.save(self._path, groups, state)

    def _tested_weights(self) -> list[np.ndarray]:
        self._swap_averages()
        weights = _checkpoint.values(self._model_variables)
        self._swap_averages()
        return weights

    def _swap_averages(self) -> None:
        # Keras' SwapEMAWeights swaps by adding and subtracting on TensorFlow, which
        # rounds: this one gives back the same bits.
        for variable, average in self._averages or ():
            last = np.array(keras.ops.convert_to_numpy(variable))
            variable.assign(average)
            average.assign(last)
        if self._mean_statistics:
            remembered = _checkpoint.values(self._statistics)
            _checkpoint.assign(self._statistics, self._mean_statistics)
            self._mean_statistics = remembered

    def _average_statistics(self) -> None:
        """Average what BatchNorm remembers over the steps that the weights' average
        goes back: averaged weights with the last weights' statistics do not fit."""
        # Touched for JAX, whose variables are brought up to date by that.
        _ = self.model
        found = self._devices.values(self._statistics)
        assert self._recipe.ema_momentum is not None
        momentum = np.float32(self._recipe.ema_momentum**_STRIDE)
        self._mean_statistics = [
            momentum * mean + (1 - momentum) * value
            for mean, value in zip(self._mean_statistics or found, found, strict=True)
        ]

    def _share_statistics(self) -> None:
        if not self._statistics:
            return
        found = self._devices.values(self._statistics)
        means = self._devices.mean([*found, *self._mean_statistics])
        _checkpoint.assign(self._statistics, means[: len(self._statistics)])
        self._mean_statistics = means[len(self._statistics) :]


def _statistics(network: keras.Model) -> list[keras.Variable]:
    return [
        variable
        for layer in flatten_layers(network)
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _moving_averages(
    model: keras.Model,
) -> list[tuple[keras.Variable, keras.Variable]]:
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return moving_averages(optimizer)


def _seed_generators_of_libraries(seed: int, epoch: int, rank: int) -> None:
    """Make every library's global random state a function of seed and epoch.

    Keras' own generators are variables and stand in the checkpoint; PyTorch's
    unseeded dropout draws from PyTorch's global state, which does not.
    """
    entropy = [seed, epoch, rank] if rank else [seed, epoch]
    value = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed(value)
