"""What Keras keeps to itself and we need.

Seen with Keras 3.8 and 3.15. Each function says what happens where the name is absent.
"""

import contextlib
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
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


def callback_model(callback: Any) -> Any:
    """The model that a callback was given, as it is.

    `model` is public, but on JAX it writes the whole training state back into the
    variables each time. Absent: `model`.
    """
    found = getattr(callback, "_model", None)
    return callback.model if found is None else found


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


def accumulated_gradients(optimizer: Any) -> list[tuple[int, Any]]:
    """Identity of each trained variable, and the variable that sums its gradients.

    Only `gradient_accumulation_steps` is public. Absent: `MissingPrivateNameError`.
    """
    name = "_accumulated_gradients"
    sums = _needed(optimizer, name, "Measuring gradient noise by accumulation")
    trained = trained_variables(optimizer)
    return [(id(v), held) for v, held in zip(trained, sums, strict=True)]


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


@contextlib.contextmanager
def with_shardings(model: Any, added: Iterable[tuple[int, Any]]) -> Iterator[None]:
    """Have JAX' step know the shardings of arrays that join the optimizer's for a step.

    Up to Keras 3.11 `fit` notes every variable's sharding before it tells callbacks
    that training begins, and the step fails over an array that came later. Absent:
    later versions note them step by step, so there is nothing to do.

    Args:
        model: A model whose step is called inside of this context.
        added: New arrays with their places among the optimizer's, ascending.
    """
    name = "_optimizer_variable_shardings"
    noted = vars(model).get(name)
    if noted is None:
        yield
        return
    extended = list(noted)
    for place, array in added:
        extended.insert(place, array.sharding)
    vars(model)[name] = extended
    try:
        yield
    finally:
        vars(model)[name] = noted


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


def call_name(layer: Any) -> str:
    """The method of a layer to exchange where its outputs are to be changed.

    A rematerialised layer runs `call` once more in the backward pass, through
    `rematerialized_call`: what is added to its outputs must stand outside of that.
    Absent: nothing is rematerialised.
    """
    if getattr(layer, "_remat_mode", None) is not None:
        return "rematerialized_call"
    return "call"


def example_of_built_shapes(model: Any) -> Any:
    """Tensors of the shapes that a subclassed model was built with.

    Public is only that it is built. Absent, or with several inputs: `None`.
    """
    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes or len(shapes) != 1:
        return None
    (shape,) = shapes.values()
    if not isinstance(shape, (tuple, list)) or not all(
        size is None or isinstance(size, int) for size in shape
    ):
        return None
    sizes = [2 if size is None else size for size in shape]
    return keras.KerasTensor(sizes, keras.config.floatx())


def is_functional(model: Any) -> bool:
    """Whether a model is a graph of layers, whose `layers` are in its order.

    The class `Functional` has no public name. Absent: `False`, and the order is found
    by running the model without values.
    """
    return has_graph(model) and "call" not in _own_methods(model)


def has_graph(model: Any) -> bool:
    """Whether a model was made from a graph of layers, whatever its `call` does.

    The class `Functional` has no public name. Absent: `False`, as above.
    """
    return getattr(model, "_operations_by_depth", None) is not None


def _own_methods(model: Any) -> set[str]:
    """Methods that classes outside of Keras give to a model."""
    return {
        name
        for kind in type(model).__mro__
        if not kind.__module__.startswith("keras.")
        for name in vars(kind)
    }


def copy_mask(source: Any, target: Any) -> None:
    """Give a tensor the mask that Keras attached to another one.

    Layers hand masks on beside their outputs; a layer's `compute_mask` is public, but a
    nested model has used it already. Absent: there is no mask.
    """
    if target is source:
        return
    try:
        from keras.src.backend.common.masking import get_keras_mask, set_keras_mask
    except ImportError:
        return
    if (mask := get_keras_mask(source)) is not None:
        set_keras_mask(target, mask)


def fill_averages(optimizer: Any) -> bool:
    """Give an average to those variables of a built optimizer that have none.

    Returns:
        Whether the optimizer keeps averages by now.
    """
    averages = getattr(optimizer, "_model_variables_moving_average", None)
    if averages is None:
        return False
    for i, variable in enumerate(trained_variables(optimizer)):
        if averages[i] is None:
            averages[i] = optimizer.add_variable_from_reference(variable, "average")
    return True


def rate_schedule(optimizer: Any) -> Any:
    """The schedule that an optimizer takes its learning rate from, or `None`.

    `learning_rate` is public but gives the current value alone. Absent: `None`.
    """
    rate = getattr(optimizer, "_learning_rate", None)
    schedules = keras.optimizers.schedules
    return rate if isinstance(rate, schedules.LearningRateSchedule) else None


def make_training_state(model: Any, batch: Any) -> None:
    """Make what the first training step would make: slots of the optimizer, metrics.

    `Trainer._symbolic_build` does so without computing anything, and on JAX and PyTorch
    `fit` begins with it. On TensorFlow a step that makes variables is traced twice.
    Absent, or where it fails: nothing is made, and the step is traced twice.

    Args:
        model: A compiled model.
        batch: What the step gets, as `keras.KerasTensor`s and `None`.
    """
    try:
        model._symbolic_build(data_batch=batch)
    except Exception:
        # What is wrong with the batch is told by the step itself.
        return


def compiled_loss(model: Any) -> Callable[[Any, Any, Any], Any]:
    """From labels, outputs and sample weights to the loss a model is compiled with.

    `compute_loss` is public, but adds losses of layers that its last call has left, and
    moves metrics. Absent: `MissingPrivateNameError`.
    """
    loss = _needed(model, "_compile_loss", "Analysing with the compiled loss")
    return lambda y, outputs, weight: loss(y, outputs, sample_weight=weight)
