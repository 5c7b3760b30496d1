"""Layers of a model in the order in which they compute."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_gradattn._compat import keras as keras_compat

# Divisible by what networks usually divide sizes by.
_ANY_SIZE = 64

# One model's `call` is exchanged while it is traced: two threads must not do so.
_patching = threading.RLock()


class LayerOrder:
    """Children of layers in the order of computation.

    Args:
        model: A built model. Where it is not a graph of layers (a subclassed model),
            and only when asked, it is run once without values to see what it calls.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._called: Any = None

    def children(self, layer: keras.layers.Layer) -> list[keras.layers.Layer]:
        """Layers directly inside this one, the first to compute first."""
        if isinstance(layer, keras.Sequential) or _is_functional(layer):
            return list(layer.layers)
        children = keras_compat.flatten_layers(
            layer, include_self=False, recursive=False
        )
        if sum(1 for child in children if child.weights) < 2:
            return children
        last = len(self._calls())
        # A layer that is never called stands last, as its attribute does.
        return sorted(children, key=lambda child: self._calls().get(id(child), last))

    def _calls(self) -> Any:
        if self._called is None:
            self._called = {}
            everything = keras_compat.flatten_layers(self._model, include_self=False)
            # A cell or wrapper may refuse symbolic inputs: the order of attributes
            # has to do then.
            with contextlib.suppress(Exception):
                run_symbolically(
                    self._model,
                    lambda: outputs_seen_by(everything, lambda *_: _[-1], self._note),
                )
        return self._called

    def _note(self, layer: Any) -> None:
        self._called.setdefault(id(layer), len(self._called))


def _is_functional(layer: Any) -> Any:
    # A subclass with a `call` of its own computes in its own order.
    return isinstance(layer, keras.Model) and keras_compat.is_functional(layer)


def run_symbolically(
    model: keras.Model,
    context: Callable[..., Any],
    example: Any = None,
) -> bool:
    """Run a model without values inside a context.

    Args:
        model: A built model.
        context: Makes the context manager.
        example: Tensors with the shapes and types of its inputs, if known.

    Returns:
        Whether the model's inputs were known.
    """
    if example is None:
        example = example_of_inputs(model)
    if example is None:
        return False
    probe = _Probe(model, context)
    probe.compute_output_spec(
        keras.tree.map_structure(
            lambda t: keras.KerasTensor(
                tuple(t.shape), keras.backend.standardize_dtype(t.dtype)
            ),
            example,
        )
    )
    return True


class _Probe(keras.layers.Layer):
    """Runs a model symbolically inside a context."""

    def __init__(self, model: Any, context: Any) -> None:
        super().__init__()
        object.__setattr__(self, "_probed", (model,))
        object.__setattr__(self, "_context", context)

    def call(self, inputs: Any) -> Any:
        with self._context():
            return self._probed[0](inputs)


@contextlib.contextmanager
def outputs_seen_by(
    layers: list[Any],
    function: Callable[..., Any],
    entered: Callable[..., Any] | None = None,
    around: Sequence[Any] = (),
) -> Iterator[None]:
    """While open, `function(layer, call, outputs)` replaces those layers' outputs.

    The exchange is on the instances and only while the composite layers' code runs
    (that is, is traced), so layers inside of other layers are reached and nothing
    of the user's model is left changed.

    Args:
        layers: Layers to watch.
        function: From layer, number of the call and outputs to new outputs.
        entered: Called with each layer before it computes.
        around: Rematerialised layers around these. They compute once while open: what
            is computed again, later, would not be watched again.
    """
    with _patching:
        before = []
        calls = dict.fromkeys(map(id, layers), 0)

        def noted(layer: Any, original: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                if entered is not None:
                    entered(layer)
                outputs = original(*args, **kwargs)
                number = calls[id(layer)]
                calls[id(layer)] += 1
                return function(layer, number, outputs)

            return call

        def exchanged(layer: Any, name: Any) -> Any:
            original = getattr(layer, name)
            if name == "call":
                return noted(layer, original)
            # Makes the function that computes the outputs.
            return lambda *args, **kwargs: noted(layer, original(*args, **kwargs))

        try:
            for layer in layers:
                # What is computed again in the backward pass is measured around it.
                name = keras_compat.call_name(layer)
                before.append((layer, name, layer.__dict__.get(name)))
                layer.__dict__[name] = exchanged(layer, name)
            for layer in around:
                name = keras_compat.call_name(layer)
                before.append((layer, name, layer.__dict__.get(name)))
                layer.__dict__[name] = lambda call, *args, **kwargs: call
            yield
        finally:
            for layer, name, own in reversed(before):
                if own is None:
                    layer.__dict__.pop(name, None)
                else:
                    layer.__dict__[name] = own


def example_of_inputs(model: keras.Model) -> Any:
    """Shapes and types to try the model with, `None` where it does not say."""
    inputs = keras_compat.input_structure(model)
    if inputs is None:
        return keras_compat.example_of_built_shapes(model)
    size = _free_size(model)
    # Concrete sizes: layers may compare sizes, which unknown ones cannot be.
    return keras.tree.map_structure(
        lambda t: keras.KerasTensor(
            [size if s is None else s for s in t.shape], t.dtype
        ),
        inputs,
    )


def _free_size(model: Any) -> Any:
    """A length that position tables of the model have room for."""
    lengths = [
        length
        for layer in keras_compat.flatten_layers(model)
        if isinstance(length := getattr(layer, "sequence_length", None), int)
        or isinstance(length := getattr(layer, "max_sequence_length", None), int)
    ]
    return min([_ANY_SIZE, *lengths])
