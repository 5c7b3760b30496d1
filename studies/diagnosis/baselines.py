"""AUTOTRAINER's and DeepDiagnosis' checks, beside ours on the same programs.

Written anew for Keras 3 from what their authors released: of the papers themselves only
the abstracts could be read, so no section is cited. Both look after epochs at
gradients, weights and layer outputs on the first batch, in inference, so they change
nothing in the training.

* AUTOTRAINER: Zhang, Zhai, Ma & Shen (2021), "AUTOTRAINER: An Automatic DNN Training
  Problem Detection and Repair System", ICSE. Five problems; values of
  `AutoTrainer/utils/monitor.py` and of `default_param` in `utils.py` beside it.
* DeepDiagnosis: Wardat, Cruz, Le & Rajan (2022), "DeepDiagnosis: Automatically
  Diagnosing Faults and Recommending Actionable Fixes in Deep Learning Programs", ICSE.
  Eight symptoms, and the check of the output's range; values of `mapFaluireToFix` in
  `callback/callbacks.py`.

What differs from the released code: both go on to the end where the originals stop at
their first finding, kernels of all layers are compared where DeepDiagnosis looks at
those of layers named "dense", and it sees gradients as often as AUTOTRAINER does,
not after each epoch, so that it cannot say that they stay the same.
"""

from typing import Any

import keras
import numpy as np

# AUTOTRAINER: `default_param`.
NORM_RATIO_VANISHING = 1e-3  # beta 1: first kernel's gradient over the last one's.
NORM_VANISHING = 1e-4  # beta 2: the first kernel's gradient itself.
NORM_RATIO_EXPLODING = 70.0  # beta 3.
ZERO_SHARE = 0.7  # gamma: zeros among all gradients.
OSCILLATION = 0.03  # zeta: between neighbouring maxima and minima of accuracy.
OSCILLATING_SHARE = 0.2  # eta: of all epochs.
SLOW_GAIN = 0.01  # delta: largest gain of accuracy from epoch to epoch.
WANTED_ACCURACY = 0.7  # Theta.
LARGE_LOSS = 1e5  # Of validation; `loss_issue`.
JUDGED_FROM = 0.3  # Share of epochs after which losses are judged; `loss_issue`.
CHECKED_EVERY = 3  # Epochs, from the first on: "epoch_3" of `model_train`.

# DeepDiagnosis: constants of the released callback.
DEAD_SHARE = 0.7  # Outputs of a ReLU that are 0.
SATURATED_SHARE = 0.5  # Outputs of a sigmoid or tanh,
SATURATED_INPUT = 5.0  # whose input is beyond this.
VANISHING_MEAN = 1e-7  # Mean absolute gradient of a kernel.
WINDOW = 5  # Epochs over which losses, weights and outputs are compared.
ACCURACY_WINDOW = 20  # The same for accuracies.
OUTPUT_SPREAD = 10.0  # Times the targets' spread.
_RANGES = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "elu": (-1.0, np.inf),
}
# Losses that its callback wants softmax for; it knows no logits.
_OF_SOFTMAX = ("categorical_crossentropy", "sparse_categorical_crossentropy")


class Baselines(keras.callbacks.Callback):
    """Runs both sets of checks.

    Args:
        x: Inputs of `fit`.
        y: Targets of `fit`.
        batch_size: Of `fit`.
        epochs: Of `fit`.
    """

    def __init__(self, x: Any, y: np.ndarray, batch_size: int, epochs: int) -> None:
        super().__init__()
        rows = slice(0, batch_size)
        self._x = tuple(part[rows] for part in x) if isinstance(x, tuple) else x[rows]
        self._y, self._targets = y[rows], y
        self._epochs = epochs
        self._logs: list[dict[str, float]] = []
        self._autotrainer: set[str] = set()
        self._gradient_problems: set[str] = set()
        self._deepdiagnosis: set[str] = set()
        self._weight_means: list[list[float]] = []
        self._output_means: list[list[float]] = []
        self._layers: tuple[keras.Model | None, list[str]] = (None, [])

    def on_train_begin(self, logs: Any = None) -> None:
        self._layers = watched_layers(self.model)

    def names(self) -> dict[str, list[str]]:
        """What each of the two says."""
        return {
            "autotrainer": sorted(self._autotrainer),
            "deepdiagnosis": sorted(self._deepdiagnosis),
        }

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._logs.append({key: float(value) for key, value in (logs or {}).items()})
        seen = len(self._logs)
        last = seen >= self._epochs
        # A gradient costs most, so both look at it as often as AUTOTRAINER does.
        gradients = None
        if (seen - 1) % CHECKED_EVERY == 0 or last:
            gradients = gradients_of(self.model, self._x, self._y)
        weights = [np.asarray(w, "float32") for w in self.model.get_weights()]
        if gradients is not None:
            self._check_autotrainer(gradients, weights)
        self._check_deepdiagnosis(gradients, weights)

    # AUTOTRAINER.

    def _check_autotrainer(
        self, gradients: list[np.ndarray], weights: list[np.ndarray]
    ) -> None:
        keys = ("loss", "val_loss")
        losses = [log.get(key, 0.0) for log in self._logs for key in keys]
        arrays = [*gradients, *weights]
        if not np.isfinite(losses).all() or losses[-1] >= LARGE_LOSS:
            self._autotrainer.add("exploding gradient")
        if not all(np.isfinite(array).all() for array in arrays):
            self._autotrainer.add("exploding gradient")
        self._gradient_problems |= self._problems_of_gradients(gradients)
        if len(self._logs) < JUDGED_FROM * self._epochs:
            return
        accuracies = [log.get("accuracy") for log in self._logs]
        if self._autotrainer or accuracies[0] is None:
            # It is made for classifiers: nothing else is judged by its accuracy.
            return
        validation = [log["val_accuracy"] for log in self._logs]
        training = [log["accuracy"] for log in self._logs]
        slow = max(_largest_gain(validation), _largest_gain(training)) < SLOW_GAIN
        if slow or min(max(validation), max(training)) < WANTED_ACCURACY:
            for problem in ("dying ReLU", "exploding gradient", "vanishing gradient"):
                if problem in self._gradient_problems:
                    self._autotrainer.add(problem)
                    return
            if slow:
                self._autotrainer.add("slow convergence")
        elif _oscillates(training):
            self._autotrainer.add("oscillating loss")

    @staticmethod
    def _problems_of_gradients(gradients: list[np.ndarray]) -> set[str]:
        norms = [float(np.linalg.norm(g)) for g in gradients if g.ndim > 1]
        if not norms:
            return set()
        zeros = sum(int((g == 0).sum()) for g in gradients)
        ratio = norms[0] / norms[-1] if norms[-1] else np.inf * (norms[0] > 0)
        problems = set()
        if ratio < NORM_RATIO_VANISHING and norms[0] < NORM_VANISHING:
            problems.add("vanishing gradient")
        if ratio > NORM_RATIO_EXPLODING:
            problems.add("exploding gradient")
        if zeros >= ZERO_SHARE * sum(g.size for g in gradients):
            problems.add("dying ReLU")
        return problems

    # DeepDiagnosis.

    def _check_deepdiagnosis(
        self, gradients: list[np.ndarray] | None, weights: list[np.ndarray]
    ) -> None:
        outputs = layer_outputs(self._layers, self._x)
        found = self._deepdiagnosis
        # Not the last layer's: a softmax' mean never changes.
        self._output_means.append([float(value.mean()) for _, value in outputs[:-1]])
        self._weight_means.append([float(w.mean()) for w in weights if w.ndim > 1])
        means = [float(value.mean()) for _, value in outputs] + self._weight_means[-1]
        # A mean of exactly 0 is a numerical error to it as well.
        if not np.isfinite(means).all() or 0 in means:
            found.add("exploding tensor")
        if gradients is not None:
            kernels = [g for g in gradients if g.ndim > 1]
            if not all(np.isfinite(g.mean()) for g in gradients):
                found.add("exploding gradient")
            elif any(np.abs(g).mean() < VANISHING_MEAN for g in kernels):
                found.add("vanishing gradient")
        if len(self._logs) == 1 and outputs and self._out_of_range(*outputs[-1]):
            found.add("out of range")
        if len(self._logs) >= self._epochs and any(
            name == "relu" and (value <= 0).mean() >= DEAD_SHARE
            for name, value in outputs
        ):
            found.add("dead node")
        if len(self._logs) % WINDOW == 0:
            if any(_saturated(*output) for output in outputs[:-1]):
                found.add("saturated activation")
            if _still([log["loss"] for log in self._logs[-WINDOW:]]):
                found.add("loss not decreasing")
            for means_by_epoch in (self._weight_means, self._output_means):
                if any(map(_still, zip(*means_by_epoch[-WINDOW:], strict=True))):
                    found.add("unchanged weight")
        accuracy = self._logs[-1].get("accuracy")
        if not np.isfinite(self._logs[-1]["loss"]):
            found.add("loss not decreasing")
        if accuracy is None:
            return
        last = [log["accuracy"] for log in self._logs[-ACCURACY_WINDOW:]]
        every = len(self._logs) % ACCURACY_WINDOW == 0
        if not np.isfinite(accuracy) or accuracy == 0 or (every and _still(last)):
            found.add("accuracy not increasing")

    def _out_of_range(self, activation: str, values: np.ndarray) -> bool:
        targets = self._targets
        loss = str(getattr(self.model.loss, "name", ""))
        if activation in ("linear", "relu") and loss in _OF_SOFTMAX:
            return True
        if activation == "linear":
            return bool(np.ptp(values) > OUTPUT_SPREAD * np.ptp(targets))
        if activation not in _RANGES:
            return False
        low, high = _RANGES[activation]
        return bool(targets.min() < low or targets.max() > high)


def _largest_gain(accuracies: list[float]) -> float:
    return float(max(np.diff(accuracies), default=0.0))


def _oscillates(accuracies: list[float]) -> bool:
    a = np.asarray(accuracies)
    middle, before, after = a[1:-1], a[:-2], a[2:]
    maxima = middle[(middle >= before) & (middle >= after)]
    minima = middle[(middle <= before) & (middle <= after)]
    count = min(len(maxima), len(minima))
    wide = (maxima[:count] - minima[:count]) >= OSCILLATION
    return bool(wide.sum() >= OSCILLATING_SHARE * len(a))


def _still(values: Any) -> bool:
    return bool(np.mean(values) == np.max(values))


def _saturated(activation: str, values: np.ndarray) -> bool:
    if activation == "tanh":
        beyond = np.abs(values) >= np.tanh(SATURATED_INPUT)
    elif activation == "sigmoid":
        beyond = np.abs(values - 0.5) >= 1 / (1 + np.exp(-SATURATED_INPUT)) - 0.5
    else:
        return False
    return bool(beyond.mean() > SATURATED_SHARE)


def watched_layers(model: keras.Model) -> tuple[keras.Model | None, list[str]]:
    """A model that gives each layer's output, and the layers' activations.

    Layers before the first weights are left out: what they give never changes.

    Args:
        model: Any model; of a subclassed one there is nothing, as with the originals.
    """
    if not getattr(model, "outputs", None):
        return None, []
    layers = [
        layer
        for layer in model.layers
        # A model among the layers has outputs of its own, from other inputs.
        if not isinstance(layer, keras.layers.InputLayer | keras.Model)
        and not isinstance(layer.output, list | tuple | dict)
    ]
    while layers and not layers[0].weights:
        layers.pop(0)
    names = [
        getattr(getattr(layer, "activation", None), "__name__", "")
        or ("relu" if isinstance(layer, keras.layers.ReLU) else "")
        for layer in layers
    ]
    return keras.Model(model.inputs, [layer.output for layer in layers]), names


def layer_outputs(
    watched: tuple[keras.Model | None, list[str]], x: Any
) -> list[tuple[str, np.ndarray]]:
    """Activation and output of each layer.

    Args:
        watched: What `watched_layers` gives.
        x: One batch.
    """
    model, names = watched
    if model is None:
        return []
    values = model(list(x) if isinstance(x, tuple) else x, training=False)
    values = values if isinstance(values, list | tuple) else [values]
    return [
        (name, keras.ops.convert_to_numpy(value).astype("float32"))
        for name, value in zip(names, values, strict=True)
    ]


def gradients_of(model: keras.Model, x: Any, y: np.ndarray) -> list[np.ndarray]:
    """Gradients of the loss by the trainable weights on one batch, in inference.

    Args:
        model: A compiled model, of which nothing changes.
        x: Inputs.
        y: Targets.
    """
    x = list(x) if isinstance(x, tuple) else x
    variables = model.trainable_variables
    if not variables:
        return []
    gradients: Any
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        with torch.enable_grad():
            loss = model.compute_loss(x, y, model(x, training=False), training=False)
            if not loss.requires_grad:
                return [np.zeros(v.shape, "float32") for v in variables]
            gradients = torch.autograd.grad(
                loss, [v.value for v in variables], allow_unused=True
            )
    elif backend == "tensorflow":
        import tensorflow

        with tensorflow.GradientTape() as tape:
            loss = model.compute_loss(x, y, model(x, training=False), training=False)
        gradients = tape.gradient(loss, [v.value for v in variables])
    else:
        import jax

        def loss_of(values: Any) -> Any:
            state = [v.value for v in model.non_trainable_variables]
            outputs, _ = model.stateless_call(values, state, x, training=False)
            return model.compute_loss(x, y, outputs, training=False)

        gradients = jax.grad(loss_of)([v.value for v in variables])
    return [
        np.zeros(v.shape, "float32")
        if g is None
        else keras.ops.convert_to_numpy(g).astype("float32")
        for v, g in zip(variables, gradients, strict=True)
    ]
