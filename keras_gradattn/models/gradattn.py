"""GradAttn: a plain trunk whose depths are weighed by a transformer at the end."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_gradattn.layers.gradattn_head import GradAttnHead, check_head_arguments
from keras_gradattn.models.image_classifier import (
    ImageClassifier,
    image_input,
    standard_arguments,
)
from keras_gradattn.models.trunk import TrunkLayers, build_trunk, plain_block

_ARGUMENTS = """

    A trunk without shortcuts gives features at five depths: those of a stem and of four
    stages. Each becomes a token. Transformer encoder blocks let the tokens attend to
    each other, and the mean token goes to a linear classifier. The three variants
    differ in how a token learns its depth (Ghoshal & Buckchash, 2026).

    Args:
        num_classes: Number of classes, a positive integer.
        input_shape: Image height, width (pixels, at least 8 or `None` for any) and
            channels, in the order of `data_format`. Defaults to any size, 3 channels.
        stage_filters: Channels of each stage. Defaults to (64, 128, 256, 512).
        stage_blocks: Two-convolution blocks of each stage. Defaults to (2, 2, 2, 2);
            (3, 4, 6, 3) is the 34-layer trunk.
        stem: `"imagenet"` (as published: 7x7 at stride 2, max-pooling) or `"cifar"`
            (3x3 at stride 1, no pooling).
        width: Length of a token. Defaults to 256.
        num_heads: Attention heads; must divide `width`. Defaults to 8.
        feed_forward: Hidden width of the encoder blocks. Defaults to 512.
        num_layers: Number of encoder blocks. Defaults to 3.
        dropout: Rate of the head's dropouts. Defaults to 0.1.
        mixing: Where the weights of depths come from: `"attention"` (the default), or
            for comparison weights that do not depend on the image: `"static"` (learned)
            or `"equal"` (a plain mean).
        identical_blocks: Whether the encoder blocks start alike, as the released V1 and
            V2 do. Defaults to `False`.
        classifier_activation: `"softmax"` (the default), or `None` for logits.
        normalization: `(mean, std)` per channel in units of 0 to 1, to take raw 0-255
            images. Defaults to `None`: images come normalised.
        class_names: One string per class, kept with the model. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        dtype: Dtype or policy; the classifier stays float32 under mixed precision.
            `None` (the default) is Keras' global policy.
        name: Name of the model.

    Returns:
        A Functional `keras.Model`: images `(batch, height, width, channels)` to
        `(batch, num_classes)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> model = keras_gradattn.{name}(num_classes=10)
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """


class _GradAttn(ImageClassifier):
    """The three variants differ only in how a token learns its depth."""

    _positions: str

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int | None] | None = None,
        *,
        stage_filters: Sequence[int] = (64, 128, 256, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2),
        stem: str = "imagenet",
        width: int = 256,
        num_heads: int = 8,
        feed_forward: int = 512,
        num_layers: int = 3,
        dropout: float = 0.1,
        mixing: str = "attention",
        identical_blocks: bool = False,
        classifier_activation: Any = "softmax",
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
        class_names: Sequence[str] | None = None,
        data_format: str | None = None,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        arguments = standard_arguments(
            num_classes=num_classes,
            input_shape=input_shape,
            stage_filters=stage_filters,
            stage_blocks=stage_blocks,
            stem=stem,
            classifier_activation=classifier_activation,
            normalization=normalization,
            class_names=class_names,
            data_format=data_format,
            dtype=dtype,
            name=name or self._default_name,
        )
        head_arguments: dict[str, Any] = {
            "width": width,
            "num_heads": num_heads,
            "feed_forward": feed_forward,
            "num_layers": num_layers,
            "dropout": dropout,
            "mixing": mixing,
        }
        check_head_arguments(
            num_classes=num_classes, positions=self._positions, **head_arguments
        )
        head_arguments |= {
            name: int(head_arguments[name])
            for name in ("width", "num_heads", "feed_forward", "num_layers")
        }
        arguments |= head_arguments | {"identical_blocks": identical_blocks}

        # === Functional Model ===
        inputs, x = image_input(arguments)
        layers = TrunkLayers(arguments["data_format"], arguments["dtype"])
        features = build_trunk(
            x,
            plain_block,
            arguments["stage_filters"],
            arguments["stage_blocks"],
            stem,
            layers,
        )
        outputs = GradAttnHead(
            num_classes,
            positions=self._positions,
            identical_blocks=identical_blocks,
            classifier_activation=classifier_activation,
            data_format=arguments["data_format"],
            dtype=arguments["dtype"],
            name="head",
            **head_arguments,
        )(list(features.values()))

        # === Config ===
        self._finish(inputs, outputs, features, arguments)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnV1(_GradAttn):
    __doc__ = (
        "GradAttn without positional encoding (the published V1)."
        + _ARGUMENTS.replace("{name}", "GradAttnV1")
    )
    _positions = "none"
    _default_name = "gradattn_v1"


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnV2(_GradAttn):
    __doc__ = (
        "GradAttn with a learnable positional encoding (the published V2)."
        + _ARGUMENTS.replace("{name}", "GradAttnV2")
    )
    _positions = "learnable"
    _default_name = "gradattn_v2"


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnV3(_GradAttn):
    __doc__ = (
        "GradAttn with a rotary positional encoding (the published V3)."
        + _ARGUMENTS.replace("{name}", "GradAttnV3")
    )
    _positions = "rotary"
    _default_name = "gradattn_v3"
