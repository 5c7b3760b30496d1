"""Gradient flow of a trained model, measured after the fact."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn._extras import optional
from keras_gradattn.gradients import plots
from keras_gradattn.gradients import report as _report
from keras_gradattn.gradients._batches import first_batches
from keras_gradattn.gradients.output_taps import (
    ALL_STATISTICS,
    STEPPING,
    TappedModel,
)
from keras_gradattn.gradients.thresholds import EXPLODING, VANISHING

FORWARD_STATISTICS = ("mean_square", "variance", "dead_relu_share")


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Gradients of layer outputs and the forward signal, by depth.

    Attributes:
        name: Name of the model.
        layers: Layer names, in the order of the forward pass.
        groups: Depth group of each layer.
        kinds: Class name of each layer.
        gradient: Arrays (batches, layers) by name of the statistic: `norm` (of the
            whole batch), `rms`, `product`, `mean_abs`, `std`, `max_abs` and
            `zero_share`. `with_output_taps` explains them.
        forward: Arrays (batches, layers) by name of the statistic. `mean_square` is the
            squared mean of a channel, `variance` its variance over batch and positions;
            both are averaged over the channels. `dead_relu_share` is the share of
            channels that a ReLU leaves at zero for the whole batch, 0 to 1. It is NaN
            for other layers.
        losses: (batches,) loss of each batch.
        silent: Names that the published analysis registers but cannot measure.

    Example:

    ```python
    flow = analyze_gradient_flow(model, (x_test, y_test), batches=1)
    flow.layers[0], flow.mean("norm")[0]
    ```
    """

    name: str
    layers: tuple[str, ...]
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    gradient: dict[str, np.ndarray]
    forward: dict[str, np.ndarray]
    losses: np.ndarray
    silent: tuple[str, ...] = ()

    @property
    def dead(self) -> np.ndarray:
        """(layers,) whether every gradient element was exactly zero, every time."""
        return np.all(self.gradient["zero_share"] == 1, axis=0)

    def mean(self, statistic: str) -> np.ndarray:
        """(layers,) mean over batches of one gradient or forward statistic.

        Args:
            statistic: A key of `gradient` or `forward`.

        Returns:
            One number per layer, in the order of depth.
        """
        table = self.gradient if statistic in self.gradient else self.forward
        return table[statistic].mean(axis=0)

    def health(
        self, vanishing: float = VANISHING, exploding: float = EXPLODING
    ) -> float:
        """Share of layers that can receive a gradient with a norm in between.

        Args:
            vanishing: Norm above which a layer counts. Defaults to the published 1e-6.
            exploding: Norm below which it counts. Defaults to the published 10.

        Returns:
            The share, 0 to 1 (the published score, over layers with a gradient).
        """
        norm = self.mean("norm")
        return float(np.mean((norm > vanishing) & (norm < exploding)))

    def decay_per_depth(self, statistic: str = "product") -> float:
        """Geometric-mean factor of the gradient per layer towards the input.

        One means that the gradient arrives at the input as it left the loss; below
        one it is attenuated. Dead layers are left out and reported apart.

        Args:
            statistic: A key of `gradient`. Defaults to `"product"`.

        Returns:
            `(first / last) ** (1 / (layers - 1))`; NaN for fewer than two layers.
        """
        alive = self.mean(statistic)[~self.dead]
        if len(alive) < 2:
            return float("nan")
        return float((alive[0] / alive[-1]) ** (1 / (len(alive) - 1)))

    def to_dict(self) -> dict[str, Any]:
        """Means over the batches, one entry per layer, as plain numbers."""
        return {
            "name": self.name,
            "batches": len(self.losses),
            "loss": float(self.losses.mean()),
            "health": self.health(),
            "decay_per_depth": self.decay_per_depth(),
            "layers": self._lines(),
        }

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, one line per layer in the order of depth."""
        pd = optional("pandas", "A DataFrame")

        return pd.DataFrame(self._lines())

    def _lines(self) -> Any:
        means = {key: self.mean(key) for key in (*self.gradient, *self.forward)}
        return [
            {
                "depth": i,
                "layer": layer,
                "group": self.groups[i],
                "kind": self.kinds[i],
                **{key: float(values[i]) for key, values in means.items()},
                "dead": bool(self.dead[i]),
            }
            for i, layer in enumerate(self.layers)
        ]

    def report(self) -> str:
        """What was seen, in words and one table."""
        return _report.flow_report(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Gradient and forward signal by depth (needs matplotlib).

        Args:
            path: Where to save the picture, or `None`.

        Returns:
            The `matplotlib.figure.Figure`.
        """
        return plots.plot_flow(self, path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one portable `.npz` file (no pickle inside).

        Args:
            path: Where to write it.
        """
        metadata = {
            "flow": 1,
            "name": self.name,
            "layers": self.layers,
            "groups": self.groups,
            "kinds": self.kinds,
            "silent": self.silent,
        }
        with open(path, "wb") as file:
            arrays: dict[str, Any] = {
                "metadata": np.array(json.dumps(metadata)),
                "losses": self.losses,
                **{f"gradient/{k}": v for k, v in self.gradient.items()},
                **{f"forward/{k}": v for k, v in self.forward.items()},
            }
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "GradientFlow":
        """Read what `save` wrote.

        Args:
            path: The file.

        Returns:
            A flow.

        Raises:
            ValueError: If the file is not a gradient flow.
        """
        with np.load(path, allow_pickle=False) as file:
            metadata = (
                json.loads(str(file["metadata"])) if "metadata" in file.files else {}
            )
            if "flow" not in metadata:
                raise ValueError(
                    f"The file holds no gradient flow. Received: {os.fspath(path)!r}"
                )
            tables: dict[str, dict[str, Any]] = {"gradient": {}, "forward": {}}
            for key in file.files:
                kind, _, statistic = key.partition("/")
                if kind in tables:
                    tables[kind][statistic] = file[key]
            return cls(
                name=metadata["name"],
                layers=tuple(metadata["layers"]),
                groups=tuple(metadata["groups"]),
                kinds=tuple(metadata["kinds"]),
                silent=tuple(metadata["silent"]),
                losses=file["losses"],
                **tables,
            )


def analyze_gradient_flow(
    model: keras.Model,
    data: Any,
    loss: str | Callable[..., Any] | keras.losses.Loss | None = None,
    *,
    batches: int = 20,
    batch_size: int = 128,
    layers: Sequence[str | keras.layers.Layer] | None = None,
    training: bool = True,
    name: str | None = None,
) -> GradientFlow:
    """Measure the loss gradient with respect to layer outputs, by depth.

    Everything runs on copies of the state. So weights, BatchNorm statistics, random
    seeds, optimizer and the model itself stay exactly as they were. If the model has
    float16 layers, the loss is scaled, and the scale is divided out of the result.

    Args:
        model: A built Keras model.
        data: `(x, y)` or `(x, y, sample_weight)` arrays, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, a PyTorch `DataLoader` or any iterable of batches
            of these. Weights may be one array, or one per output.
        loss: Name, function or `keras.losses.Loss`. Defaults to the one that the model
            was compiled with. The mean over the batch is taken. If the model has
            several outputs, a function gets all of them. What layers add to the loss
            (`add_loss`, activity regularizers) is added, as in training.
        batches: How many batches to measure. Defaults to 20.
        batch_size: Samples in a batch, if `data` are arrays. Defaults to 128.
        layers: Layers at any depth, objects or names. Defaults to every layer with a
            kernel and every ReLU.
        training: Whether to run in training mode, with batch statistics and dropout.
            Defaults to `True`.
        name: Name in reports and pictures. Defaults to the model's.

    Returns:
        A `GradientFlow`.

    Raises:
        ValueError: If the data are empty or malformed, the loss is not finite or not
            one function, a layer is unknown, or the model has no trainable weights.

    Example:

    ```python
    flow = analyze_gradient_flow(model, (x_test, y_test), batches=20)
    print(flow.report())
    ```

    Source: `norm` is the measure of Ghoshal & Buckchash (2026). `rms` and `product` are
    counterparts that do not depend on the batch; see `with_output_taps`.
    """
    for argument, value in (("batches", batches), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"`{argument}` must be an integer of at least 1. "
                f"Received: {argument}={value!r}"
            )
    if model.built and not model.trainable_variables:
        raise ValueError(
            f"The model has no trainable weights. Received: model={model.name!r}"
        )
    loss_function = _loss_function(model, loss)
    chosen = default_layers(model) if layers is None else layers
    measure, losses, gradients, forwards = None, [], [], []
    scale = _first_scale(model)
    for number, (x, y, weight) in enumerate(_batches(data, batch_size, batches)):
        if measure is None:
            tapped = TappedModel(model, chosen, ALL_STATISTICS, example=x)
            measure = _MEASURES[keras.backend.backend()](
                tapped, loss_function, training
            )
            state = [v.value for v in tapped.non_trainable_variables]
        while True:
            value, gradient, forward, after = measure(state, x, y, weight, scale)
            gradient = [keras.ops.convert_to_numpy(g) for g in gradient]
            if scale == 1 or all(np.all(np.isfinite(g)) for g in gradient):
                break
            # As training under a dynamic loss scale does.
            scale /= 2
        state = after
        value = float(keras.ops.convert_to_numpy(value)) / scale
        if not np.isfinite(value):
            raise ValueError(
                f"The loss of batch {number} is not finite, and so no gradient means "
                f"anything. Received: loss={value}"
            )
        losses.append(value)
        gradients.append(_unscaled(gradient, scale))
        forwards.append([keras.ops.convert_to_numpy(f) for f in forward])
    if not losses:
        raise ValueError("`data` holds no batch. Received: empty data")
    gradient = np.asarray(gradients, "float64")
    forward = np.asarray(forwards, "float64")
    taps = [variable.gradient_tap for variable in tapped.taps]
    layer_of = {id(layer): layer for layer in tapped._chosen}
    measured = [layer_of[key[0]] for key in tapped._taps]
    dead = FORWARD_STATISTICS.index("dead_relu_share")
    forward[:, [not _is_relu(layer) for layer in measured], dead] = np.nan
    return GradientFlow(
        name=name or model.name,
        layers=tuple(tap.layer for tap in taps),
        groups=tuple(tap.group for tap in taps),
        kinds=tuple(type(layer).__name__ for layer in measured),
        gradient={s: gradient[:, :, i] for i, s in enumerate(ALL_STATISTICS)},
        forward={s: forward[:, :, i] for i, s in enumerate(FORWARD_STATISTICS)},
        losses=np.asarray(losses),
    )


def default_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Every layer with a kernel of its own, and every ReLU, at any depth.

    Recurrent layers and others that run once per time step count as one layer.
    """
    chosen = []
    everything = keras_compat.flatten_layers(model, include_self=False)
    stepping = [layer for layer in everything if isinstance(layer, STEPPING)]
    # What runs once per time step has no one output: the layer around it does.
    inside = {
        id(layer)
        for parent in stepping
        for layer in keras_compat.flatten_layers(parent, include_self=False)
    }
    for layer in everything:
        if id(layer) in inside:
            continue
        leaf = layer in stepping or not keras_compat.flatten_layers(
            layer, include_self=False
        )
        has_kernel = any(v.ndim >= 2 for v in layer.trainable_variables)
        if leaf and (has_kernel or _is_relu(layer)):
            chosen.append(layer)
    if not chosen:
        raise ValueError(
            "The model has no layer with a kernel; name the `layers` to measure. "
            f"Received: model={model.name!r}"
        )
    return chosen


def _is_relu(layer: Any) -> Any:
    if isinstance(layer, keras.layers.ReLU):
        return True
    return getattr(layer, "activation", None) in (
        keras.activations.relu,
        keras.activations.relu6,
    )


def _loss_function(model: Any, loss: Any) -> Any:
    """From labels, outputs and weights to the loss without the layers' own ones."""
    if loss is None:
        if getattr(model, "loss", None) is None:
            raise ValueError(
                "Give a `loss`: the model is not compiled with one. "
                f"Received: loss=None, model={model.name!r}"
            )
        # With the weights of several losses, as training takes it.
        return keras_compat.compiled_loss(model)
    if isinstance(loss, (Mapping, list, tuple)):
        raise ValueError(
            "Give the `loss` as one function of labels and outputs, or compile the "
            f"model with several and leave it out. Received: loss={loss!r}"
        )
    function = keras.losses.get(loss)

    def mean_loss(y: Any, prediction: Any, weight: Any) -> Any:
        if weight is None:
            return keras.ops.mean(function(y, prediction))
        if keras.tree.is_nested(weight):
            raise ValueError(
                "One sample weight per output needs one loss per output: compile the "
                "model with them and leave `loss` out. "
                f"Received: weights of {len(weight)} outputs, loss={loss!r}"
            )
        if isinstance(function, keras.losses.Loss):
            return keras.ops.mean(function(y, prediction, sample_weight=weight))
        values = function(y, prediction)
        weight = keras.ops.cast(weight, values.dtype)
        weight = keras.ops.reshape(weight, (-1,) + (1,) * (len(values.shape) - 1))
        return keras.ops.mean(values * weight)

    return mean_loss


def _first_scale(model: Any) -> Any:
    """What the loss is multiplied by, so that float16 gradients do not vanish."""
    halves = any(
        getattr(layer, "compute_dtype", None) == "float16"
        for layer in keras_compat.flatten_layers(model)
    )
    return 2.0**15 if halves else 1.0


def _unscaled(gradients: Any, scale: Any) -> Any:
    """Statistics of taps, with the loss scale divided out of all but shares."""
    divide = [1.0 if s == "zero_share" else scale for s in ALL_STATISTICS]
    return [np.asarray(g, "float64") / divide for g in gradients]


def _batches(data: Any, batch_size: int, batches: int) -> Iterable[Any]:
    found = data
    if isinstance(data, tuple) and len(data) in (2, 3):
        lengths = [len(array) for array in keras.tree.flatten(data)]
        if len(set(lengths)) != 1:
            raise ValueError(
                "`x` and `y` must have the same length. "
                f"Received: arrays of lengths {lengths}"
            )
        found = (
            keras.tree.map_structure(lambda a, s=start: a[s : s + batch_size], data)
            for start in range(0, lengths[0], batch_size)
        )
    wanted = "`data` must be a pair of arrays, a data set or an iterable of batches."
    for batch in first_batches(found, batches, wanted):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise ValueError(
                "A batch must be `(x, y)` or `(x, y, sample_weight)`; arrays are "
                "given as a tuple. "
                f"Received: {type(batch).__name__} in {type(data).__name__}"
            )
        x, y, weight = (*batch, None)[:3]
        yield (
            *keras.tree.map_structure(keras.ops.convert_to_tensor, (x, y)),
            _weight_tensors(weight),
        )


def _weight_tensors(weight: Any) -> Any:
    """One weight per sample, or one of these per output, some of them `None`."""
    numbers = (int, float, np.number)
    if isinstance(weight, (list, tuple)) and all(
        isinstance(w, numbers) for w in weight
    ):
        return keras.ops.convert_to_tensor(weight)
    return keras.tree.map_structure(
        lambda w: None if w is None else keras.ops.convert_to_tensor(w), weight
    )


def _collected(tapped: Any) -> Any:
    """(collector to read afterwards, hook that fills it during the forward pass)."""
    collected = []

    def collect(_: Any, layer: Any, output: Any) -> None:
        collected.append(_forward_statistics(layer, output))

    tapped.on_output = collect
    return collected


def _forward_statistics(layer: Any, output: Any) -> Any:
    ops = keras.ops
    values = ops.cast(
        output, "float64" if "float64" in str(output.dtype) else "float32"
    )
    axis = 1 if getattr(layer, "data_format", "") == "channels_first" else -1
    axes = [i for i in range(len(values.shape)) if i != axis % len(values.shape)]
    means = ops.mean(values, axis=axes)
    # Not NaN, which whoever searches compiled steps for it would find.
    dead = ops.zeros((), values.dtype)
    if _is_relu(layer):
        silent = ops.equal(ops.max(ops.abs(values), axis=axes), 0)
        dead = ops.mean(ops.cast(silent, values.dtype))
    return ops.stack(
        [
            ops.mean(ops.square(means)),
            ops.mean(ops.var(values, axis=axes)),
            dead,
        ]
    )


def _jax_measure(tapped: Any, loss_function: Any, training: Any) -> Any:
    import jax

    fixed, taps = _split(tapped)

    def loss(
        values: Any, fixed: Any, state: Any, x: Any, y: Any, weight: Any, scale: Any
    ) -> Any:
        collected = _collected(tapped)
        prediction, state, own = tapped.stateless_call(
            _merged(tapped, fixed, values),
            state,
            x,
            training=training,
            return_losses=True,
        )
        value = _total(loss_function(y, prediction, weight), own) * scale
        return value, (list(collected), state)

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def measure(state: Any, x: Any, y: Any, weight: Any, scale: Any) -> Any:
        (value, (forward, state)), gradient = step(
            taps, fixed, state, x, y, weight, scale
        )
        return value, gradient, forward, state

    return measure


def _tensorflow_measure(tapped: Any, loss_function: Any, training: Any) -> Any:
    import tensorflow as tf

    fixed, taps = _split(tapped)

    @tf.function(reduce_retracing=True, autograph=False)
    def step(state: Any, x: Any, y: Any, weight: Any, scale: Any) -> Any:
        collected = _collected(tapped)
        values = [tf.identity(tap) for tap in taps]
        with tf.GradientTape() as tape:
            tape.watch(values)
            prediction, state, own = tapped.stateless_call(
                _merged(tapped, fixed, values),
                state,
                x,
                training=training,
                return_losses=True,
            )
            value = _total(loss_function(y, prediction, weight), own)
            value = value * tf.cast(scale, value.dtype)
        gradient = tape.gradient(
            value, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return value, gradient, list(collected), state

    return step


def _torch_measure(tapped: Any, loss_function: Any, training: Any) -> Any:
    import torch

    fixed, taps = _split(tapped)

    def measure(state: Any, x: Any, y: Any, weight: Any, scale: Any) -> Any:
        collected = _collected(tapped)
        values = [tap.detach().clone().requires_grad_() for tap in taps]
        prediction, state, own = tapped.stateless_call(
            _merged(tapped, fixed, values),
            state,
            x,
            training=training,
            return_losses=True,
        )
        value = _total(loss_function(y, prediction, weight), own) * scale
        gradient = torch.autograd.grad(
            value, values, allow_unused=True, materialize_grads=True
        )
        state = [tensor.detach() for tensor in state]
        return value.detach(), gradient, [f.detach() for f in collected], state

    return measure


_MEASURES = {
    "jax": _jax_measure,
    "tensorflow": _tensorflow_measure,
    "torch": _torch_measure,
}


def _total(loss: Any, own: Any) -> Any:
    """With what `add_loss` and regularizers add."""
    for value in own:
        loss = loss + keras.ops.cast(value, loss.dtype)
    return loss


def _split(tapped: Any) -> Any:
    """Values of the model's own trainable variables, and of the taps."""
    taps = set(map(id, tapped.taps))
    fixed = [v.value for v in tapped.trainable_variables if id(v) not in taps]
    return fixed, [v.value for v in tapped.taps]


def _merged(tapped: Any, fixed: Any, values: Any) -> Any:
    replaced = dict(zip(map(id, tapped.taps), values, strict=True))
    fixed = iter(fixed)
    return [
        replaced[id(v)] if id(v) in replaced else next(fixed)
        for v in tapped.trainable_variables
    ]
