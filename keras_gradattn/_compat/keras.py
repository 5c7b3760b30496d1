"""What Keras keeps to itself and we need.

Seen with Keras 3.8 and 3.15. Each function says what happens where the name is absent.
"""

import inspect
from collections import deque
from collections.abc import Callable
from typing import Any

import keras

# Methods that are exchanged on one object for the time of a `fit`.
# `Trainer._get_metrics_result_or_logs(logs)` makes the dictionary of an epoch's results
# that goes round all callbacks; the public way, a callback's own `logs`, reaches later
# callbacks only.
EPOCH_LOGS = "_get_metrics_result_or_logs"
# `Optimizer._overwrite_variable_with_gradient(variable)` says which variables take
# their gradient as their value; `LossScaleOptimizer` leaves those gradients scaled.
OVERWRITE_RULE = "_overwrite_variable_with_gradient"


class MissingPrivateNameError(RuntimeError):
    """This Keras does not have what a feature stands on."""


def _needed(owner: Any, name: str, feature: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        raise MissingPrivateNameError(
            f"{feature} needs `{name}`, which Keras 3.8 to 3.15 have. "
            f"Received: Keras {keras.__version__}, {type(owner).__name__}"
        ) from None


def flatten_layers(
    layer: Any, *, include_self: bool = True, recursive: bool = True
) -> list[Any]:
    """A layer and those inside it, at any depth.

    `Model.layers` is public but ends at the first level, and layers have no such name.
    Absent: layers are looked for in the attributes, which may give another order.

    Args:
        layer: A layer or model.
        include_self: Whether the list begins with it. Defaults to `True`.
        recursive: Whether layers inside layers are listed. Defaults to `True`.

    Returns:
        Each layer once.
    """
    if hasattr(layer, "_flatten_layers"):
        return list(
            layer._flatten_layers(include_self=include_self, recursive=recursive)
        )
    found: list[Any] = [layer] if include_self else []
    waiting = deque(_layers_among(vars(layer).values()))
    while waiting:
        inner = waiting.popleft()
        if any(inner is known for known in (layer, *found)):
            continue
        found.append(inner)
        if recursive:
            waiting.extendleft(_layers_among(vars(inner).values()))
    return found


def _layers_among(values: Any) -> list[Any]:
    return [
        value
        for value in keras.tree.flatten(list(values))
        if isinstance(value, keras.layers.Layer)
    ]


def input_structure(model: Any) -> Any:
    """What a model was made to take, in its own structure; `None` where unknown.

    All public: `inputs` is flat, `input` is not, but raises on models that have none.
    """
    try:
        return model.input
    except (AttributeError, ValueError):
        inputs = getattr(model, "inputs", None)
    return inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs


def takes_training(layer: Any) -> bool:
    """Whether `call` has a `training` argument (Keras: `_call_has_training_arg`)."""
    return "training" in inspect.signature(layer.call).parameters


def stored_value(variable: Any) -> Any:
    """The array that a variable holds, whatever stateless scope is open.

    `value` is public, but inside a stateless scope it is the scope's. Absent: `value`.
    """
    return getattr(variable, "_value", variable.value)


def track_variable(optimizer: Any, variable: Any) -> None:
    """Have the optimizer carry a variable through JAX' pure steps.

    `add_variable` is public but makes its own variable, and nothing removes it again.
    Absent: `MissingPrivateNameError`.
    """
    _needed(optimizer, "_track_variable", "Recording gradients on JAX")(variable)


def untrack_variable(optimizer: Any, variable: Any) -> None:
    """Undo `track_variable`; does nothing where the variable is not tracked."""
    if any(tracked is variable for tracked in optimizer.variables):
        name = "_untrack_variable"
        _needed(optimizer, name, "Recording gradients on JAX")(variable)


def update_count(optimizer: Any) -> Any:
    """The variable that counts calls of `apply`.

    `iterations` is public, and the same except under gradient accumulation, where it is
    a tensor that counts whole updates. Absent there: `MissingPrivateNameError`.
    """
    if not optimizer.gradient_accumulation_steps:
        return optimizer.iterations
    return _needed(optimizer, "_iterations", "Counting accumulated steps")


def trained_variables(optimizer: Any) -> list[Any]:
    """Variables that a built optimizer moves, in its order.

    A model's `trainable_variables` are the same unless layers were frozen since.
    Absent: `MissingPrivateNameError`.
    """
    name = "_trainable_variables"
    return list(_needed(optimizer, name, "Pairing gradients with variables"))


def moving_averages(optimizer: Any) -> list[tuple[Any, Any]]:
    """Each trained variable with the average that `use_ema` keeps of it.

    Keras' only public access overwrites the weights. Absent: `MissingPrivateNameError`.
    """
    name = "_model_variables_moving_average"
    averages = _needed(optimizer, name, "Reading weight averages")
    return list(zip(trained_variables(optimizer), averages, strict=True))


def epoch_logs(model: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The method `EPOCH_LOGS` of a model. Absent: `MissingPrivateNameError`."""
    return _needed(model, EPOCH_LOGS, "Adding gradient norms to an epoch's logs")


def overwrite_rule(optimizer: Any) -> Callable[[Any], bool] | None:
    """The method `OVERWRITE_RULE` of an optimizer.

    Absent (Keras 3.8): `None`. There `LossScaleOptimizer` divides every gradient by its
    scale, so that nothing has to be exchanged.
    """
    return getattr(optimizer, OVERWRITE_RULE, None)


def sync_jax_state(model: Any) -> None:
    """Write what JAX' training loop carries back into the variables.

    The name is public but not documented. Absent: nothing is carried.
    """
    if hasattr(model, "jax_state_sync"):
        model.jax_state_sync()


def note_shardings(model: Any) -> None:
    """Have JAX' training loop see variables that a callback tracked.

    Up to Keras 3.11 `fit` notes every variable's sharding before it tells callbacks
    that training begins, and fails over a variable that came later. Absent: later
    versions note them step by step, so there is nothing to do.
    """
    note = getattr(model, "_record_training_state_sharding_spec", None)
    if note is not None:
        note()


class OpenAdam(keras.optimizers.Adam):
    """Adam that a derived class may change where Keras has only private methods.

    Keras' public method, `update_step`, moves one variable; moving all in one kernel
    and leaving out the decoupled decay have no public place. Absent methods would never
    be called: `_needed` says so when the optimizer is made.
    """

    def __init__(self, **kwargs: Any):
        for name in ("_backend_update_step", "_apply_weight_decay"):
            _needed(super(), name, type(self).__name__)
        super().__init__(**kwargs)

    def update_all(self, gradients: Any, variables: Any, learning_rate: Any) -> None:
        """Move all variables, behind clipping and accumulation; by `update_step`."""
        super()._backend_update_step(gradients, variables, learning_rate)

    def decay_all(self, variables: Any) -> None:
        """Decay the weights beside the gradient's step."""
        super()._apply_weight_decay(variables)

    def moments(self, variable: Any) -> tuple[Any, Any]:
        """First and second moment of a variable."""
        index = self._get_variable_index(variable)
        return self._momentums[index], self._velocities[index]

    def decays(self, variable: Any) -> bool:
        """Whether `exclude_from_weight_decay` left the variable in."""
        return bool(self._use_weight_decay(variable))

    def _backend_update_step(
        self, grads: Any, trainable_variables: Any, learning_rate: Any
    ) -> None:
        self.update_all(grads, trainable_variables, learning_rate)

    def _apply_weight_decay(self, variables: Any) -> None:
        self.decay_all(variables)
