"""PyTorch inference without the layers in between."""

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

from keras_gradattn._compat import torch as torch_compat
from keras_gradattn._compat.keras import flatten_layers

# Capturing takes as long as some fifty passes through the layers lose: once that many
# images of a shape came, more of them are likely.
CALLS_BEFORE_CAPTURE = 16
# Shapes whose operations are kept at a time.
_MOST_CAPTURES = 4


class _Capture(NamedTuple):
    """Operations of one forward pass, and what they stand for."""

    run: Callable[[Any], Any]
    layers: tuple[Any, ...]
    # Each variable and the tensor that was its value: assigning writes into it.
    values: tuple[tuple[Any, Any], ...]


class CapturedInference:
    """The forward pass of a network on PyTorch as a list of its operations.

    A hundred Keras layers take some ten milliseconds of Python a pass, whatever the
    batch: as long as the mathematics of one image. Where JAX and TensorFlow trace a
    function once and run what they saw, Keras walks through the layers each time. This
    does what they do: after a few passes without gradient on images of one shape it
    keeps the operations (of PyTorch, on the network's own variables, with the same
    results bit by bit) and runs these.

    Whatever a capture cannot stand for goes through the layers: gradients, hooks,
    layers whose `call` was exchanged, variables in a stateless scope, compilation and
    export. As on the other backends, attributes of layers that are changed later count
    after the next `compile()`.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Walk through the layers again, and capture anew."""
        self._passes: collections.Counter[Any] = collections.Counter()
        self._captures: dict[Any, _Capture] = {}

    def __call__(self, model: Any, images: Any, forward: Callable[[Any], Any]) -> Any:
        """What `forward(images)` returns.

        Args:
            model: The network whose layers `forward` runs.
            images: Its input.
            forward: Its forward pass, without dropout and the like.

        Returns:
            The output.
        """
        if not _is_plain_inference(images):
            return forward(images)
        # Images in another memory layout have other views.
        key = (images.shape, images.stride(), images.dtype, images.device)
        capture = self._captures.get(key)
        if capture is None:
            self._passes[key] += 1
            if self._passes[key] > CALLS_BEFORE_CAPTURE:
                self._captures[key] = _captured(model, images, forward)
                if len(self._captures) > _MOST_CAPTURES:
                    oldest = next(iter(self._captures))
                    # Counted anew, or shapes that take turns were captured each time.
                    del self._captures[oldest], self._passes[oldest]
            return forward(images)
        return capture.run(images) if _holds(capture) else forward(images)


def _captured(model: Any, images: Any, forward: Callable[[Any], Any]) -> _Capture:
    import torch

    layers = tuple(flatten_layers(model, include_self=False))
    capture = _Capture(forward, layers, tuple((v, v.value) for v in model.variables))
    if not _holds(capture):
        return capture
    run = torch_compat.operations_of(forward, images)
    if run is None:
        return capture
    # One that computes outside of PyTorch was captured as a constant.
    other_images = images.new_ones(()) - images
    same = torch.equal(run(other_images), forward(other_images))
    return capture._replace(run=run) if same else capture


def _is_plain_inference(images: Any) -> bool:
    import torch

    return (
        # Neither a symbol nor one of the subclasses with which PyTorch traces.
        type(images) is torch.Tensor
        and images.device.type != "meta"
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled(images.device.type)
        and not torch.compiler.is_compiling()
        # Public, but not among the names that PyTorch types.
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


def _holds(capture: _Capture) -> bool:
    """Whether the layers would compute what was captured, and nobody watches them."""
    return not torch_compat.are_watched(capture.layers) and (
        not any("call" in layer.__dict__ for layer in capture.layers)
        and all(variable.value is value for variable, value in capture.values)
    )
