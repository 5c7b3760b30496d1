"""Layer-output taps: the gradient with respect to what a layer returns.

A tap is an identity whose backward pass also returns statistics of the gradient that
flows through it, as the "gradient" of a small weight marked
`overwrite_with_gradient` (the mechanism of Keras' float8 layers, which keeps such
weights out of clipping, decay and the update).
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.gradients import _norms
from keras_gradattn.gradients._layer_order import outputs_seen_by, run_symbolically
from keras_gradattn.gradients.depth_groups import group_of_layers, suggestion

TRAINING_STATISTICS = ("norm", "rms", "product")
ALL_STATISTICS = (*TRAINING_STATISTICS, "mean_abs", "std", "max_abs", "zero_share")
# One number a time step: `norm_step_0`, `norm_step_1`, and so on.
BY_STEP = "norm_by_step"
_STEP = "norm_step_"

# Norms of a gradient whose squares are summed as they are: those that float32 loses,
# of up to 1e6 elements a sample, have a norm below 1e-16.
_TRUSTED = (1e-8, 1e18)


@dataclasses.dataclass(frozen=True)
class GradientTap:
    """What a tap measures: the layer's name, its depth group, the statistics."""

    layer: str
    group: str
    statistics: tuple[str, ...]


def with_output_taps(
    model: keras.Model,
    layers: Sequence[str | keras.layers.Layer],
    statistics: Sequence[str] = TRAINING_STATISTICS,
) -> "TappedModel":
    """A model that shares all weights and measures gradients of layer outputs.

    Compile the returned model and fit it with a `GradientNorms` callback. Then the
    callback's record has `layer_outputs`. Both models share their weights, so `model`
    is trained too. Save and use `model`, not the returned one.

    These statistics can be taken for each step and layer. Here `g` is the gradient, `a`
    the output, `B` the number of samples, and `i` one sample:

    * `norm`: |g| of the whole batch, as in the paper.
    * `rms`: |g| sqrt(B) / sqrt(elements per sample). It does not depend on the batch,
      if the loss is a mean over the batch.
    * `product`: sum over samples of |a_i| |g_i|. Compare layers with maps of different
      size by this.
    * `mean_abs`, `std` (with n - 1) and `max_abs` of the elements of `g`.
    * `zero_share`: share of elements of `g` that are exactly zero, 0 to 1.
    * `norm_by_step`: the norm at each time step of a sequence, recorded as
      `norm_step_0`, `norm_step_1`, and so on. Of the layer that feeds a recurrent one
      it shows how far back in time the gradient reaches.

    If a layer returns several tensors, the first one is tapped.

    Args:
        model: A built Keras model.
        layers: Layers of the model at any depth, or their names. If a name occurs more
            than once, give the layer's path.
        statistics: Names of the statistics to take. Defaults to `norm`, `rms` and
            `product`.

    Returns:
        An uncompiled `keras.Model` that computes what `model` computes.

    Raises:
        ValueError: If a layer is unknown, is not called, returns no float tensor or
            lies inside a recurrent layer, or if the model is distributed.

    Example:

    ```python
    tapped = with_output_taps(model, ["stage1", "head"])
    tapped.compile("adam", "sparse_categorical_crossentropy")
    norms = GradientNorms()
    tapped.fit(x, y, callbacks=[norms])
    norms.to_dataframe("layer_outputs")
    ```
    """
    for method in ("train_step", "compute_loss"):
        if getattr(type(model), method) is not getattr(keras.Model, method):
            raise ValueError(
                f"The model has a `{method}` of its own, which the tapped model would "
                "not use: its gradients would be those of another training. "
                f"Received: model={model.name!r} of type {type(model).__name__}"
            )
    return TappedModel(model, layers, statistics)


class TappedModel(keras.Model):
    """A model with taps on chosen layers. Made by `with_output_taps`."""

    def __init__(
        self,
        model: Any,
        layers: Any,
        statistics: Any = TRAINING_STATISTICS,
        example: Any = None,
    ) -> None:
        super().__init__(name=f"{model.name}_tapped")
        _refuse(model, statistics)
        self.untapped = model
        self._statistics = tuple(statistics)
        self._taps: dict[tuple[int, int], Any] = {}
        self._shapes: dict[tuple[int, int], tuple[int, ...]] = {}
        # Called with (tap name, output) during each call where set.
        self.on_output: Callable[..., Any] | None = None
        chosen = find_layers(model, layers)
        # Held outside of Keras' tracking: they belong to the model already.
        object.__setattr__(self, "_chosen", tuple(chosen))
        object.__setattr__(self, "_around", tuple(_rematerialised(model, chosen)))
        self._make_taps(self._call_order(example))
        self.built = True

    def _make_taps(self, order: Any) -> None:
        names = unique_names(self.untapped)
        groups = group_of_layers(self.untapped)
        dtype = (
            _norms.wide_dtype(self.untapped.variables)
            if self.untapped.variables
            else "float32"
        )
        for layer, call in order:
            name = names[id(layer)] + (f" (call {call + 1})" if call else "")
            statistics = self._expanded(layer, call)
            weight = self.add_weight(
                shape=(len(statistics),),
                initializer="zeros",
                dtype=dtype,
                autocast=False,
                name="tap_" + name.replace("/", "_"),
            )
            # A keyword of `add_weight` from Keras 3.10 on, an attribute everywhere.
            weight.overwrite_with_gradient = True
            weight.gradient_tap = GradientTap(name, groups[id(layer)], statistics)
            self._taps[(id(layer), call)] = weight

    def _expanded(self, layer: Any, call: Any) -> Any:
        """Names of the statistics, one for each time step where these are wanted."""
        if BY_STEP not in self._statistics:
            return self._statistics
        shape = self._shapes.get((id(layer), call), ())
        if len(shape) < 3 or shape[1] is None:
            raise ValueError(
                "`norm_by_step` needs an output of shape (batch, steps, features) with "
                f"a known number of steps. Received: shape={tuple(shape)} of layer "
                f"{layer.name!r}"
            )
        steps = [f"{_STEP}{step}" for step in range(shape[1])]
        names = [[s] if s != BY_STEP else steps for s in self._statistics]
        return tuple(name for part in names for name in part)

    def _call_order(self, example: Any) -> Any:
        """(layer, number of the call) in the order of the forward pass."""
        order, problems = [], []

        def note(layer: Any, call: Any, outputs: Any) -> Any:
            # Shape inference may run the model more than once.
            if (layer, call) not in order:
                order.append((layer, call))
            if not _is_float_tensor(_first(outputs)):
                problems.append(layer.name)
            else:
                self._shapes[(id(layer), call)] = tuple(_first(outputs).shape)
            return outputs

        known = run_symbolically(self.untapped, lambda: self._seen_by(note), example)
        if not known:
            return [(layer, 0) for layer in self._chosen]
        if problems:
            raise ValueError(
                "A tap needs a layer whose (first) output is a floating-point tensor. "
                f"Received: layers={problems}"
            )
        missing = [layer.name for layer in self._chosen if (layer, 0) not in order]
        if missing:
            raise ValueError(
                "These layers are not called in the model's forward pass and have no "
                f"output to tap. Received: layers={missing}"
            )
        return order

    def _seen_by(self, function: Any) -> Any:
        return outputs_seen_by(self._chosen, function, around=self._around)

    def call(self, inputs: Any, training: Any = None) -> Any:
        with self._seen_by(self._tap):
            if keras_compat.takes_training(self.untapped):
                return self.untapped(inputs, training=training)
            return self.untapped(inputs)

    def _tap(self, layer: Any, call: Any, outputs: Any) -> Any:
        weight = self._taps.get((id(layer), call))
        if weight is None:
            raise ValueError(
                f"Layer {layer.name!r} is called {call + 1} times in a forward pass, "
                "more often than when the taps were made. Leave it out of `layers`."
            )
        first = _first(outputs)
        if self.on_output is not None:
            self.on_output(weight.gradient_tap.layer, layer, first)
        tapped = _identity(
            first,
            keras.ops.convert_to_tensor(weight),
            weight.gradient_tap.statistics,
        )
        # Nested models hand their mask over with the tensor.
        keras_compat.copy_mask(first, tapped)
        if not isinstance(outputs, (list, tuple)):
            return tapped
        if hasattr(outputs, "_fields"):  # a named tuple takes its fields one by one
            return type(outputs)(tapped, *outputs[1:])
        return type(outputs)([tapped, *outputs[1:]])

    @property
    def taps(self) -> list[keras.Variable]:
        """The tap weights, in the order of the forward pass."""
        return list(self._taps.values())

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        for inner in _with_averages(self.optimizer):
            _average_taps_too(inner)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Save `untapped`, which holds the same weights and needs none of our code."""
        self.untapped.save(filepath, *args, **kwargs)

    def get_config(self) -> None:
        raise NotImplementedError(
            "A tapped model is a measuring instrument: save `tapped.untapped`, which "
            "holds the same weights."
        )


def _rematerialised(model: Any, chosen: Any) -> Any:
    """Layers that would compute tapped layers again in the backward pass."""
    ids = set(map(id, chosen))
    around = [
        layer
        for layer in keras_compat.flatten_layers(model)
        if keras_compat.call_name(layer) != "call"
        and any(
            id(inner) in ids
            for inner in keras_compat.flatten_layers(layer, include_self=False)
        )
    ]
    if around:
        warnings.warn(
            "Rematerialised layers around tapped ones compute once in the tapped "
            "model, which takes more memory and gives the same numbers. "
            f"Received: {[layer.name for layer in around]}",
            RuntimeWarning,
            stacklevel=4,
        )
    return around


def _with_averages(optimizer: Any) -> Iterator[Any]:
    """Optimizers at any depth that keep averages of what they train."""
    while isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    for inner in getattr(optimizer, "optimizers", [optimizer]):
        if getattr(inner, "use_ema", False):
            yield inner


def _average_taps_too(optimizer: Any) -> None:
    """Give taps an average, like any weight.

    Keras keeps none of variables that are overwritten by their gradient, and then
    reads the averages of all.
    """
    if keras_compat.fill_averages(optimizer) or optimizer.built:
        return
    build = optimizer.build

    def build_with_averages(variables: Any) -> None:
        build(variables)
        optimizer.__dict__.pop("build", None)
        keras_compat.fill_averages(optimizer)

    optimizer.__dict__["build"] = build_with_averages


def _identity(values: Any, weight: Any, statistics: Any) -> Any:
    if keras.backend.backend() == "torch":
        return _torch_identity()(values, weight, statistics)

    @keras.ops.custom_gradient
    def identity(values: Any, weight: Any) -> Any:
        def backward(*args: Any, upstream: Any = None) -> Any:
            if upstream is None:
                (upstream,) = args
            measured = _measure(values, upstream, statistics)
            dtype = keras.backend.standardize_dtype(weight.dtype)
            return upstream, _norms.cast(measured, dtype)

        return values, backward

    return identity(values, weight)


@functools.cache
def _torch_identity() -> Any:
    """The identity where what backward needs is freed as soon as it was used.

    A closure, which `keras.ops.custom_gradient` asks for, holds every tapped output
    until the whole graph is gone: memory that each step has to fetch anew.
    """
    import torch

    class Identity(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, values: Any, weight: Any, statistics: Any) -> Any:
            context.save_for_backward(values)
            context.statistics = statistics
            context.dtype = weight.dtype
            return values

        @staticmethod
        def backward(context: Any, upstream: Any) -> Any:
            (values,) = context.saved_tensors
            measured = _quickly_measured(values, upstream, context.statistics)
            if measured is None:
                measured = _measure(values, upstream, context.statistics)
            return upstream, measured.to(context.dtype), None

    return Identity.apply


def _quickly_measured(output: Any, gradient: Any, statistics: Any) -> Any:
    """The statistics of training in few operations; `None` where they would not do.

    PyTorch runs one operation after the other: on a CPU the cost of small maps is the
    number of operations. Elsewhere the step is compiled, or asking for a number
    would make the host wait for the device.
    """
    if set(statistics) - set(TRAINING_STATISTICS):
        return None
    import torch

    if gradient.device.type != "cpu" or {gradient.dtype, output.dtype} != {
        torch.float32
    }:
        return None
    if output.ndim < 2:
        return None
    # Flattened, a map that is kept channels first would be copied.
    inside = tuple(range(1, output.ndim))
    per_sample, activations = (
        torch.linalg.vector_norm(values, dim=inside) for values in (gradient, output)
    )
    norm = float(torch.linalg.vector_norm(per_sample))
    if not _TRUSTED[0] < norm < _TRUSTED[1]:
        return None
    values = {
        "norm": norm,
        "rms": norm * len(gradient) / gradient.numel() ** 0.5,
        "product": float(torch.dot(per_sample, activations)),
    }
    return torch.tensor([values[name] for name in statistics])


def _measure(output: Any, gradient: Any, statistics: Any) -> Any:
    ops = keras.ops
    g, a = _norms.dense(gradient), _norms.dense(output)
    shape = ops.shape(g)
    batch, elements = (_size(sizes, g.dtype) for sizes in (shape[:1], shape))
    flat = ops.reshape(g, (shape[0], -1))
    per_sample, scale = _norms.scaled_row_norms(flat)
    norm = scale * ops.sqrt(ops.sum(ops.square(per_sample)))
    values = {
        "norm": lambda: norm,
        # norm * sqrt(batch) / sqrt(elements per sample)
        "rms": lambda: norm * (batch / elements**0.5),
        "product": lambda: (
            scale
            * ops.sum(per_sample * _norms.row_norms(ops.reshape(a, (shape[0], -1))))
        ),
        "mean_abs": lambda: ops.mean(ops.abs(g)),
        "std": lambda: ops.sqrt(
            ops.sum(ops.square(g - ops.mean(g))) / (_at_least_two(elements) - 1)
        ),
        "max_abs": lambda: _norms.largest(flat),
        "zero_share": lambda: ops.mean(ops.cast(ops.equal(g, 0), g.dtype)),
    }
    parts = []
    for name in statistics:
        if name == f"{_STEP}0":
            parts.append(_norm_by_step(g))
        elif not name.startswith(_STEP):
            parts.append(ops.reshape(ops.cast(values[name](), g.dtype), (1,)))
    return parts[0] if len(parts) == 1 else ops.concatenate(parts)


def _norm_by_step(gradient: Any) -> Any:
    """(steps,) norm over the batch and the features."""
    ops = keras.ops
    steps = int(gradient.shape[1])
    by_step = ops.reshape(ops.swapaxes(gradient, 0, 1), (steps, -1))
    norms, scale = _norms.scaled_row_norms(by_step)
    return norms * scale


def _size(sizes: Any, dtype: Any) -> Any:
    """Product of sizes: a number where they are known, a scalar tensor otherwise."""
    if all(isinstance(size, int) for size in sizes):
        return float(math.prod(sizes))
    return keras.ops.cast(keras.ops.prod(keras.ops.convert_to_tensor(sizes)), dtype)


def _at_least_two(elements: Any) -> Any:
    if isinstance(elements, float):
        return max(elements, 2.0)
    return keras.ops.maximum(elements, 2)


def _first(outputs: Any) -> Any:
    # Attention layers return their scores beside the output where asked to.
    return outputs[0] if isinstance(outputs, (list, tuple)) else outputs


def _is_float_tensor(value: Any) -> Any:
    return hasattr(value, "dtype") and keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(value.dtype)
    )


def _refuse(model: Any, statistics: Any) -> None:
    known = (*ALL_STATISTICS, BY_STEP)
    if not statistics or any(name not in known for name in statistics):
        raise ValueError(f"`statistics` must be among {known}. Received: {statistics}")
    if not model.built:
        raise ValueError(
            "The model must be built before its layers can be tapped: call it on a "
            f"batch first. Received: model={model.name!r}"
        )
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        strategy = tf.distribute.get_strategy()
        replicas = max(
            strategy.num_replicas_in_sync,
            model.distribute_strategy.num_replicas_in_sync,
        )
        if replicas > 1:
            raise ValueError(
                "Layer-output gradients cannot be recorded under a strategy with "
                "several replicas: norms of parts of the batch do not add up to the "
                f"norm of the batch. Received: {replicas} replicas"
            )


def find_layers(
    model: keras.Model, layers: Sequence[str | keras.layers.Layer]
) -> list[keras.layers.Layer]:
    """Layers of the model at any depth, by object, name or path."""
    if isinstance(layers, (str, keras.layers.Layer)):
        layers = [layers]
    everything = keras_compat.flatten_layers(model, include_self=False)
    names = unique_names(model)
    found = []
    for wanted in layers:
        if isinstance(wanted, str):
            hits = [
                layer
                for layer in everything
                if wanted in (layer.name, names[id(layer)])
            ]
        else:
            hits = [layer for layer in everything if layer is wanted]
        if len(hits) != 1:
            label = wanted if isinstance(wanted, str) else wanted.name
            known = sorted(set(names.values()))
            problem = (
                f"is the name of {len(hits)} layers, give one of "
                f"{[names[id(h)] for h in hits]}"
                if hits
                else "is not part of the model" + suggestion(label, known)
            )
            raise ValueError(f"Layer {label!r} {problem} Received: {label!r}")
        if hits[0] not in found:
            found.append(hits[0])
    if not found:
        raise ValueError(f"No layers to tap. Received: layers={layers!r}")
    _refuse_recurrent(everything, found)
    return found


# Layers that run what is inside them once per time step.
STEPPING = (
    keras.layers.RNN,
    keras.layers.Bidirectional,
    keras.layers.TimeDistributed,
)


def _refuse_recurrent(everything: Any, found: Any) -> None:
    for parent in everything:
        if isinstance(parent, STEPPING):
            inside = [
                layer
                for layer in keras_compat.flatten_layers(parent, include_self=False)
                if any(layer is one for one in found)
            ]
            if inside:
                raise ValueError(
                    "Layers that run once per time step cannot be tapped: the norms "
                    "of the steps would be added up. Tap the layer around them. "
                    f"Received: {inside[0].name!r} inside {parent.name!r}"
                )


def unique_names(model: keras.Model) -> dict[int, str]:
    """Per layer id its name, prefixed by its parents' where names repeat."""
    paths: dict[int, tuple[str, ...]] = {}

    def walk(layer: Any, prefix: Any) -> None:
        for child in keras_compat.flatten_layers(
            layer, include_self=False, recursive=False
        ):
            if id(child) not in paths:
                paths[id(child)] = (*prefix, child.name)
                walk(child, paths[id(child)])

    walk(model, ())
    counts: dict[str, int] = {}
    for path in paths.values():
        counts[path[-1]] = counts.get(path[-1], 0) + 1
    return {
        key: path[-1] if counts[path[-1]] == 1 else "/".join(path)
        for key, path in paths.items()
    }
