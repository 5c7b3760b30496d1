"""Weights and module names of the released PyTorch networks."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from keras_gradattn.layers.cbam import CBAM
from keras_gradattn.layers.encoder_block import EncoderBlock
from keras_gradattn.layers.gradattn_head import GradAttnHead
from keras_gradattn.layers.learnable_positions import LearnablePositions
from keras_gradattn.layers.squeeze_excite import SqueezeExcite
from keras_gradattn.models import (
    CBAMResNet18,
    GradAttnV1,
    GradAttnV2,
    GradAttnV3,
    ResNet18,
    SEResNet18,
)

_PUBLISHED = (GradAttnV1, GradAttnV2, GradAttnV3, ResNet18, SEResNet18, CBAMResNet18)


@dataclass(frozen=True)
class _Slot:
    """One released tensor: which variables it fills, and how it is laid out there."""

    variables: tuple[Any, ...]
    to_keras: Callable[[np.ndarray], np.ndarray]
    to_pytorch: Callable[[np.ndarray], np.ndarray]

    @property
    def shape(self) -> tuple[int, ...]:
        joined = np.concatenate([np.empty(v.shape) for v in self.variables], axis=-1)
        return self.to_pytorch(joined).shape

    def fill(self, values: np.ndarray) -> None:
        parts = np.split(self.to_keras(values), len(self.variables), axis=-1)
        for variable, part in zip(self.variables, parts, strict=True):
            variable.assign(part)


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _as_is(*variables: Any) -> _Slot:
    return _Slot(variables, _same, _same)


def _linear(*kernels: Any) -> _Slot:
    # PyTorch stores (outputs, inputs), Keras (inputs, outputs).
    return _Slot(kernels, np.transpose, np.transpose)


def _convolution(kernel: Any) -> _Slot:
    return _Slot(
        (kernel,),
        lambda values: values.transpose(2, 3, 1, 0),
        lambda values: values.transpose(3, 2, 0, 1),
    )


def _pointwise(kernel: Any) -> _Slot:
    # CBAM's shared network is written with 1x1 convolutions there.
    return _Slot(
        (kernel,),
        lambda values: values[:, :, 0, 0].T,
        lambda values: values.T[:, :, None, None],
    )


def load_pytorch_weights(model: keras.Model, state_dict: Mapping[str, Any]) -> None:
    """Fill a network with the weights of its released PyTorch counterpart.

    Args:
        model: A network of the paper, of the same sizes: `GradAttnV1` to `GradAttnV3`,
            `ResNet18`, `SEResNet18` or `CBAMResNet18`.
        state_dict: NumPy arrays or torch tensors by their released names, as
            `torch_model.state_dict()` gives them. Keras has no use for
            `num_batches_tracked`, so such entries are passed over.

    Raises:
        ValueError: If the model is another one, or if tensors are missing, left over or
            of the wrong shape. All of them are named. Nothing is changed then.

    Example:

    >>> state = torch.load("gradattn_v2.pth", weights_only=True)  # doctest: +SKIP
    >>> model = keras_gradattn.GradAttnV2(num_classes=10)
    >>> keras_gradattn.load_pytorch_weights(model, state)  # doctest: +SKIP
    """
    if not is_published(model):
        raise ValueError(
            "`load_pytorch_weights` fills one of this package's six networks. "
            f"Received: {type(model).__name__} '{model.name}'"
        )
    slots = released_tensors(model)
    given = {
        name: _as_array(values)
        for name, values in state_dict.items()
        if not name.endswith("num_batches_tracked")
    }
    problems = [f"missing: {name}" for name in slots if name not in given]
    problems += [f"unknown: {name}" for name in given if name not in slots]
    problems += [
        f"shape of {name}: expected {slots[name].shape}, received {values.shape}"
        for name, values in given.items()
        if name in slots and values.shape != slots[name].shape
    ]
    if problems:
        raise ValueError(
            f"The weights do not fit {type(model).__name__} '{model.name}':\n  "
            + "\n  ".join(problems)
        )
    for name, slot in slots.items():
        slot.fill(given[name])


def is_published(model: keras.Model) -> bool:
    """Whether a network is one of the six of the publication."""
    return isinstance(model, _PUBLISHED)


def _as_array(values: Any) -> np.ndarray:
    # A torch tensor may require a gradient or live on another device.
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        # NumPy has no bfloat16.
        values = (values.float() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def released_tensors(model: keras.Model) -> dict[str, _Slot]:
    """Where each tensor of the released network lives in this one.

    Args:
        model: One of this package's six networks.

    Returns:
        Released names to slots, parameters and running statistics.
    """
    slots = {}
    for name, layer in _modules(model):
        slots.update(_tensors_of(name, layer))
    return slots


def _tensors_of(name: str, layer: keras.layers.Layer) -> dict[str, _Slot]:
    """Slots of one layer, whose kind decides how its tensors are laid out."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return {
            f"{name}.weight": _as_is(layer.gamma),
            f"{name}.bias": _as_is(layer.beta),
            f"{name}.running_mean": _as_is(layer.moving_mean),
            f"{name}.running_var": _as_is(layer.moving_variance),
        }
    if isinstance(layer, keras.layers.LayerNormalization):
        return {
            f"{name}.weight": _as_is(layer.gamma),
            f"{name}.bias": _as_is(layer.beta),
        }
    if isinstance(layer, keras.layers.Conv2D):
        return {f"{name}.weight": _convolution(layer.kernel)}
    if isinstance(layer, keras.layers.Dense):
        layout = _pointwise if ".shared_mlp." in name else _linear
        slots = {f"{name}.weight": layout(layer.kernel)}
        if layer.use_bias:
            slots[f"{name}.bias"] = _as_is(layer.bias)
        return slots
    if isinstance(layer, LearnablePositions):
        return {name: _as_is(layer.positions)}
    if isinstance(layer, EncoderBlock):
        return {}
    if layer.mixing != "attention":
        raise ValueError(
            "The released networks have no attention without queries and keys. "
            f"Received: mixing={layer.mixing!r}"
        )
    # What is left is plain attention, whose three input projections are one matrix.
    inward = (layer.query_projection, layer.key_projection, layer.value_projection)
    return {
        f"{name}.in_proj_weight": _linear(*(part.kernel for part in inward)),
        f"{name}.in_proj_bias": _as_is(*(part.bias for part in inward)),
        f"{name}.out_proj.weight": _linear(layer.output_projection.kernel),
        f"{name}.out_proj.bias": _as_is(layer.output_projection.bias),
    }


def published_modules(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Layers whose output gradient the published analysis measured, in its order.

    It hooks every convolution, linear and encoder layer. Attention's output projection
    in V1 and V2 is called functionally and never fires; in V3 the feed-forward's first
    layer is lost to an in-place ReLU and its encoder layers are not hooked at all.

    Args:
        model: One of this package's six networks.

    Returns:
        Released module names to layers, which may live inside a composite layer.
    """
    head = _head(model)
    rotary = head is not None and head.positions == "rotary"
    measured = {}
    for name, layer in _modules(model):
        hooked = isinstance(
            layer, keras.layers.Conv2D | keras.layers.Dense | EncoderBlock
        )
        if hooked and not (rotary and name.endswith(".linear1")):
            measured[name] = layer
    return measured


def _head(model: keras.Model) -> GradAttnHead | None:
    return next((x for x in model.layers if isinstance(x, GradAttnHead)), None)


def _modules(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Released module names and our layers, in the released order of registration."""
    head = _head(model)
    if head is not None and head.learnable_positions is not None:
        yield "positional_embedding", head.learnable_positions
    yield "conv1", model.get_layer("stem_convolution")
    yield "bn1", model.get_layer("stem_normalization")
    yield from _block_modules(model)
    if head is None:
        yield "fc", model.get_layer("classifier")
        return
    for index, projection in enumerate(head.tokens.projections):
        yield f"projections.{index}.2", projection
    for index, block in enumerate(head.blocks):
        yield from _encoder_modules(index, block, head.positions == "rotary")
    yield "classifier", head.classifier


_BLOCK_LAYERS = {
    "convolution1": "conv1",
    "normalization1": "bn1",
    "convolution2": "conv2",
    "normalization2": "bn2",
    "gate": None,
    "shortcut_convolution": "downsample.0",
    "shortcut_normalization": "downsample.1",
}


def _block_modules(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    by_name = {layer.name: layer for layer in model.layers}
    blocks = dict.fromkeys(
        match.groups()
        for name in by_name
        if (match := re.match(r"stage(\d+)_block(\d+)_", name))
    )
    for stage, block in blocks:
        released_block = f"layer{stage}.{int(block) - 1}"
        for ours, released in _BLOCK_LAYERS.items():
            layer = by_name.get(f"stage{stage}_block{block}_{ours}")
            if isinstance(layer, SqueezeExcite):
                yield f"{released_block}.se.excitation.1", layer.squeeze
                yield f"{released_block}.se.excitation.3", layer.excite
            elif isinstance(layer, CBAM):
                channel = f"{released_block}.cbam.channel_attention.shared_mlp"
                yield f"{channel}.0", layer.squeeze
                yield f"{channel}.2", layer.excite
                yield f"{released_block}.cbam.spatial_attention.conv", layer.spatial
            elif layer is not None:
                yield f"{released_block}.{released}", layer


def _encoder_modules(
    index: int, block: EncoderBlock, rotary: bool
) -> Iterator[tuple[str, keras.layers.Layer]]:
    attention = block.attention
    if rotary:
        name = f"transformer_layers.{index}"
        if attention.mixing == "attention":
            yield f"{name}.self_attn.w_q", attention.query_projection
            yield f"{name}.self_attn.w_k", attention.key_projection
        yield f"{name}.self_attn.w_v", attention.value_projection
        yield f"{name}.self_attn.w_o", attention.output_projection
    else:
        name = f"transformer_encoder.layers.{index}"
        # The encoder layer itself has no tensors, but a hook.
        yield name, block
        yield f"{name}.self_attn", attention
    yield f"{name}.linear1", block.expansion
    yield f"{name}.linear2", block.contraction
    yield f"{name}.norm1", block.attention_normalization
    yield f"{name}.norm2", block.feed_forward_normalization
