"""One batch run through a model, with every state left as it was.

Everything goes through a stateless scope: weights, BatchNorm statistics and random
seeds are handed in and come out beside the outputs, and none is written back.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import jax as jax_compat
from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.layer_outputs import (
    STATISTICS,
    LayerOutput,
    positions_of,
    statistics_of,
    watched_layers,
)
from keras_gradattn.gradients._layer_order import outputs_seen_by
from keras_gradattn.gradients._recorded_step import exchanged


class Probe:
    """A model and one batch.

    Args:
        model: A built Keras model.
        x: Inputs of one batch, NumPy arrays in the structure that the model takes.
        y: Labels of the batch, or `None`.

    Attributes:
        x: The inputs as tensors.
        layers: Layers whose outputs are looked at, those that hold no others.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any = None) -> None:
        self.model = model
        self.x = keras.tree.map_structure(_as_fit_does, x)
        self.y = None if y is None else keras.tree.map_structure(_as_fit_does, y)
        self.layers = watched_layers(model)
        self._calls: dict[bool, list[tuple[Any, int, int]]] = {}
        self._modes: dict[bool, dict[int, bool]] = {}
        self._compiled: dict[Any, Callable[..., Any]] = {}
        self._structure: Any = None

    def values(self) -> list[Any]:
        """The trainable variables' values."""
        return [v.value for v in self.model.trainable_variables]

    def state(self) -> list[Any]:
        """Values of all other variables: BatchNorm statistics, seeds."""
        return [v.value for v in self.model.non_trainable_variables]

    def outputs(
        self, x: Any = None, *, training: bool = False, values: Any = None
    ) -> list[np.ndarray]:
        """Outputs of the model, flat, as NumPy arrays.

        Args:
            x: Other inputs of the same shapes.
            training: Whether to run in training mode.
            values: Other values of the trainable variables.
        """
        return self.forward(x, training=training, values=values)[0]

    def forward(
        self, x: Any = None, *, training: bool = False, values: Any = None
    ) -> tuple[list[np.ndarray], list[np.ndarray], list[LayerOutput], float]:
        """Outputs, state after them, statistics by layer call, penalties' sum."""
        run = self._forward(training)
        x = self.x if x is None else keras.tree.map_structure(_as_fit_does, x)
        values = self.values() if values is None else values
        outputs, state, seen, penalty = run(values, self.state(), x)
        table = _numpy(seen)
        layers = [
            LayerOutput(
                layer,
                gives,
                dict(zip(STATISTICS, map(float, row), strict=True)),
                positions,
            )
            for (layer, gives, positions), row in zip(
                self._calls[training], table, strict=True
            )
        ]
        return (
            [_numpy(one) for one in keras.tree.flatten(outputs)],
            [_numpy(one) for one in state],
            layers,
            float(_numpy(penalty)),
        )

    def in_training_mode(self, layer: Any, training: bool = True) -> bool:
        """Whether a layer is in training mode.

        Args:
            layer: One that has the two modes.
            training: The mode that the model is in. Defaults to `True`.
        """
        if training not in self._modes:
            self.forward(training=training)
        # A layer that is never called is another matter.
        return self._modes[training].get(id(layer), training)

    def loss(self) -> float:
        """The compiled loss in inference mode, without penalties of layers."""
        # Where programs are compiled, that of the outputs is there already.
        return self.loss_after(self.outputs())

    def loss_after(self, outputs: list[np.ndarray]) -> float:
        """The compiled loss of the batch's labels and what `forward` gave.

        Args:
            outputs: Of the last forward pass, flat.
        """
        return self.loss_of(
            self.y, keras.tree.pack_sequence_as(self._structure, outputs)
        )

    def loss_of(self, y: Any, outputs: Any) -> float:
        """The compiled loss of labels and outputs that are given.

        Args:
            y: Labels, in the structure of the batch's.
            outputs: Outputs, in the structure of the model's.
        """
        y, outputs = (
            keras.tree.map_structure(_as_fit_does, one) for one in (y, outputs)
        )
        with keras.StatelessScope():
            return float(
                _numpy(keras_compat.compiled_loss(self.model)(y, outputs, None))
            )

    def gradients(self, values: Any = None) -> list[np.ndarray | None]:
        """Gradient of the loss, one per trainable variable; `None` where unreached.

        Args:
            values: Other values of the trainable variables.
        """
        values = self.values() if values is None else values
        run = _GRADIENTS[keras.backend.backend()]
        found = run(self, values, self.state(), self.x, self.y)
        return [None if g is None else _numpy(g) for g in found]

    def _run(self, values: Any, state: Any, x: Any, training: bool) -> Any:
        model = self.model
        mapping = [
            *zip(model.trainable_variables, values, strict=True),
            *zip(model.non_trainable_variables, state, strict=True),
        ]
        options: dict[str, Any] = {"training": training}
        if keras.backend.backend() == "jax":
            # There `fit` gives the mode only to a model that asks for it.
            options = options if keras_compat.takes_training(model) else {}
            outputs, after, losses = model.stateless_call(
                values, state, x, return_losses=True, **options
            )
        else:
            with keras.StatelessScope(
                state_mapping=mapping, collect_losses=True
            ) as scope:
                outputs = model(x, **options)
                losses = list(model.losses)
            found = (scope.get_current_value(v) for v in model.non_trainable_variables)
            after = [
                old if new is None else new
                for old, new in zip(state, found, strict=True)
            ]
        # Those of regularizers stand last, and say nothing about what is connected.
        own = sum(v.regularizer is not None for v in model.trainable_weights)
        return outputs, after, (_sum(losses), _sum(losses[: len(losses) - own]))

    def _forward(self, training: bool) -> Callable[..., Any]:
        def run(values: Any, state: Any, x: Any) -> Any:
            noted: list[tuple[Any, Any, Any]] = []

            def note(layer: Any, call: int, outputs: Any) -> Any:
                noted.append((layer, outputs, statistics_of(layer, outputs)))
                return outputs

            modes: dict[int, bool] = {}
            # Once is enough, and where layers run one by one it is as slow as they.
            known = training in self._modes
            noting = contextlib.nullcontext() if known else self._noting_modes(modes)
            with noting, outputs_seen_by(self.layers, note):
                outputs, after, (penalty, _) = self._run(values, state, x, training)
            self._structure = keras.tree.map_structure(lambda _: 0, outputs)
            ends = {id(one): i for i, one in enumerate(keras.tree.flatten(outputs))}
            self._modes.setdefault(training, modes)
            self._calls[training] = [
                (
                    layer,
                    ends.get(id((keras.tree.flatten(output) or [None])[0]), -1),
                    positions_of(layer, output),
                )
                for layer, output, _ in noted
            ]
            rows = [row for _, _, row in noted]
            table = (
                keras.ops.stack(rows) if rows else keras.ops.zeros((0, len(STATISTICS)))
            )
            return outputs, after, table, penalty

        return self._compile(("forward", training), run)

    @contextlib.contextmanager
    def _noting_modes(self, modes: dict[int, bool]) -> Iterator[None]:
        """While open, layers with two modes note which one they are called in."""

        def noting(layer: Any, original: Callable[..., Any]) -> Callable[..., Any]:
            signature = inspect.signature(original)

            @functools.wraps(original)
            def call(*args: Any, **kwargs: Any) -> Any:
                given = signature.bind(*args, **kwargs).arguments.get("training")
                modes[id(layer)] = bool(given) or modes.get(id(layer), False)
                return original(*args, **kwargs)

            return call

        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                if keras_compat.takes_training(layer):
                    stack.enter_context(
                        exchanged(layer, "call", noting(layer, layer.call))
                    )
            yield

    def _loss_of(
        self, values: Any, state: Any, x: Any, y: Any, training: bool = False
    ) -> Any:
        outputs, _, (_, penalty) = self._run(values, state, x, training)
        # Losses of several outputs are kept in metrics, which must not move.
        with keras.StatelessScope():
            loss = keras_compat.compiled_loss(self.model)(y, outputs, None)
        return keras.ops.cast(loss, "float32") + (penalty if training else 0.0)

    def _compile(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compiled on JAX, where single operations are slow; without gradients."""
        if key not in self._compiled:
            self._compiled[key] = _COMPILED[keras.backend.backend()](function)
        return self._compiled[key]


def _jax_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    import jax

    return jax.jit(function)


def _torch_generators_kept() -> Any:
    """Dropout without a seed of its own draws from the process's generators."""
    import torch

    # Without a list, those of every device of the machine would be copied.
    on_devices = torch.cuda.is_available()
    return torch.random.fork_rng([torch.cuda.current_device()] if on_devices else [])


def _torch_without_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    def run(*arguments: Any) -> Any:
        with _torch_generators_kept(), torch.no_grad():
            return function(*arguments)

    return run


_COMPILED: dict[str, Callable[..., Any]] = {
    "jax": _jax_compiled,
    "torch": _torch_without_gradients,
    "tensorflow": lambda function: function,
}


def _jax_gradients(probe: Probe, values: Any, state: Any, x: Any, y: Any) -> Any:
    import jax

    gradient = jax.grad(functools.partial(probe._loss_of, training=True))
    if "reached" not in probe._compiled:
        reached = jax_compat.reached(gradient, values, state, x, y)
        probe._compiled["reached"] = lambda: reached
    found = probe._compile("gradients", gradient)(values, state, x, y)
    reached = probe._compiled["reached"]()
    return [
        g if is_reached else None for g, is_reached in zip(found, reached, strict=True)
    ]


def _tensorflow_gradients(probe: Probe, values: Any, state: Any, x: Any, y: Any) -> Any:
    import tensorflow as tf

    values = [tf.identity(value) for value in values]
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = probe._loss_of(values, state, x, y, training=True)
    found = tape.gradient(loss, values)
    return [None if g is None else tf.convert_to_tensor(g) for g in found]


def _torch_gradients(probe: Probe, values: Any, state: Any, x: Any, y: Any) -> Any:
    import torch

    values = [value.detach().clone().requires_grad_() for value in values]
    with _torch_generators_kept():
        loss = probe._loss_of(values, state, x, y, training=True)
    if not loss.requires_grad:
        return [None] * len(values)
    return torch.autograd.grad(loss, values, allow_unused=True)


_GRADIENTS: dict[str, Callable[..., Any]] = {
    "jax": _jax_gradients,
    "tensorflow": _tensorflow_gradients,
    "torch": _torch_gradients,
}


def _sum(losses: list[Any]) -> Any:
    total = keras.ops.zeros((), "float32")
    for one in losses:
        total = total + keras.ops.cast(keras.ops.sum(one), "float32")
    return total


def _as_fit_does(array: Any) -> Any:
    """A tensor; floats in the precision that `fit` gives them."""
    array = np.asarray(array) if not hasattr(array, "dtype") else array
    if isinstance(array, np.ndarray) and array.dtype.kind == "f":
        array = array.astype(keras.config.floatx())
    return keras.ops.convert_to_tensor(array)


def _numpy(tensor: Any) -> np.ndarray:
    array = keras.ops.convert_to_numpy(tensor)
    # NumPy knows no bfloat16, and calls it a void type.
    return array.astype("float32") if array.dtype.kind not in "biuf" else array
