"""The GradAttn head on any Keras backbone."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import keras

from keras_gradattn.layers.gradattn_head import GradAttnHead, check_head_arguments


def attach(
    backbone: keras.Model,
    features: Sequence[str] | None = None,
    num_classes: int = 1000,
    *,
    positions: str = "learnable",
    width: int = 256,
    num_heads: int = 8,
    feed_forward: int = 512,
    num_layers: int = 3,
    dropout: float = 0.1,
    classifier_activation: Any = "softmax",
    data_format: str | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> keras.Model:
    """Put the GradAttn head on features of several depths of any Keras backbone.

    Args:
        backbone: A Functional model, such as a `keras.applications` network made with
            `include_top=False`, or a KerasHub or KerasCV backbone. Its layers are
            shared, not copied.
        features: Names of layers, shallow to deep. If the backbone has a pyramid, as
            those of KerasHub have, names of its levels such as `"P3"` work too. `None`
            (the default) takes all levels of the pyramid. Layers that come after the
            last one are left out.
        num_classes: Number of classes, a positive integer.
        positions: How a token learns its depth: `"none"` (as in V1), `"learnable"`
            (the default, as in V2) or `"rotary"` (as in V3).
        width: Length of a token. Defaults to 256.
        num_heads: Attention heads; must divide `width`. Defaults to 8.
        feed_forward: Hidden width of the encoder blocks. Defaults to 512.
        num_layers: Number of encoder blocks. Defaults to 3.
        dropout: Rate of the head's dropouts. Defaults to 0.1.
        classifier_activation: `"softmax"` (the default), or `None` for logits.
        data_format: `"channels_last"` or `"channels_first"` of the backbone's maps.
            `None` (the default) takes the backbone's own. If it has none, Keras' global
            setting counts.
        dtype: Dtype or policy of the head. `None` (the default) is Keras' global one.
        name: Name of the model. Defaults to the backbone's with `_gradattn`.

    Returns:
        A Functional model from the backbone's inputs to `(batch, num_classes)`, whose
        last layer is named `head`.

    Raises:
        ValueError: If the backbone is not Functional, lacks one of the features, or an
            argument of the head is out of range.

    Example:

    >>> backbone = keras.applications.MobileNetV2(
    ...     (64, 64, 3), include_top=False, weights=None)
    >>> model = keras_gradattn.attach(
    ...     backbone, ["block_3_expand_relu", "block_6_expand_relu", "out_relu"],
    ...     num_classes=10)
    """
    head_arguments: dict[str, Any] = {
        "positions": positions,
        "width": width,
        "num_heads": num_heads,
        "feed_forward": feed_forward,
        "num_layers": num_layers,
        "dropout": dropout,
    }
    check_head_arguments(num_classes=num_classes, **head_arguments)
    maps = _feature_maps(backbone, features)
    head = GradAttnHead(
        num_classes,
        classifier_activation=classifier_activation,
        data_format=data_format or getattr(backbone, "data_format", None),
        dtype=dtype,
        name="head",
        **head_arguments,
    )
    inputs = backbone.inputs[0] if len(backbone.inputs) == 1 else backbone.inputs
    model = keras.Model(inputs, head(maps), name=name or f"{backbone.name}_gradattn")
    # Keras decides by the model's own policy whether the loss is scaled.
    model.dtype_policy = head.dtype_policy
    return model


def _feature_maps(backbone: Any, features: Sequence[str] | None) -> list[Any]:
    if not isinstance(backbone, keras.Model) or not getattr(backbone, "inputs", None):
        raise ValueError(
            "`backbone` must be a Functional Keras model, whose layers have symbolic "
            f"outputs. Received: backbone={backbone!r}"
        )
    pyramid = _pyramid(backbone)
    if features is None:
        features = list(pyramid)
    if isinstance(features, str) or not features:
        raise ValueError(
            "`features` must be a list of layer names or pyramid levels; `None` works "
            f"only on a backbone with a pyramid. Received: features={features!r}"
        )
    layers = {layer.name: layer for layer in backbone.layers}
    absent = [name for name in features if name not in pyramid and name not in layers]
    if absent:
        near = get_close_matches(absent[0], [*pyramid, *layers], n=5, cutoff=0.4)
        raise ValueError(
            f"'{backbone.name}' has no features {absent}. Pyramid levels: "
            f"{list(pyramid) or 'none'}; layers with names near '{absent[0]}': "
            f"{near or 'none'}. Received: features={list(features)}"
        )
    maps = [
        pyramid[name] if name in pyramid else layers[name].output for name in features
    ]
    for name, tensor in zip(features, maps, strict=True):
        if not hasattr(tensor, "shape") or len(tensor.shape) < 2:
            raise ValueError(
                "Every feature must be one tensor of rank 2 or more. "
                f"Received: features={list(features)}, where '{name}' gives {tensor}"
            )
    return maps


def _pyramid(backbone: Any) -> dict[str, Any]:
    """Pyramid levels of a KerasHub (tensors) or KerasCV (layer names) backbone."""
    outputs = getattr(backbone, "pyramid_outputs", None)
    if outputs:
        return dict(outputs)
    names = getattr(backbone, "pyramid_level_inputs", None) or {}
    return {level: backbone.get_layer(name).output for level, name in names.items()}
