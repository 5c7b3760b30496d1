"""The residual baselines: the same trunk with shortcuts, and gates on the branch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras

from keras_gradattn.layers._initializers import FanOutNormal, Normal
from keras_gradattn.layers.cbam import CBAM
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.layers.squeeze_excite import SqueezeExcite
from keras_gradattn.models.image_classifier import (
    ImageClassifier,
    image_input,
    standard_arguments,
)
from keras_gradattn.models.trunk import TrunkLayers, build_trunk, convolutions

INITIALIZATIONS = ("pytorch", "kaiming_fan_out")

_ARGUMENTS = """

    Args:
        num_classes: Number of classes, a positive integer.
        input_shape: Image height, width (pixels, at least 8 or `None` for any) and
            channels, in the order of `data_format`. Defaults to any size, 3 channels.
        stage_filters: Channels of each stage. Defaults to (64, 128, 256, 512).
        stage_blocks: Two-convolution blocks of each stage. Defaults to (2, 2, 2, 2);
            (3, 4, 6, 3) is the 34-layer trunk.
        stem: `"imagenet"` (7x7 at stride 2, max-pooling) or `"cifar"` (3x3 at stride 1,
            no pooling).
        shortcuts: `False` leaves the plain network (He et al. 2016, section 3.3): the
            same layers, with nothing around the branches. Defaults to `True`.
        initialization: `"pytorch"` (the default: uniform within `1 / sqrt(fan_in)`) or
            `"kaiming_fan_out"` (the released SE and CBAM networks: kaiming-normal
            fan-out convolutions, linear layers N(0, 0.01) with zero bias).
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


def residual_block(
    x: Any,
    filters: int,
    strides: int,
    name: str,
    output_name: str,
    layers: TrunkLayers,
    gate: Callable[[str, TrunkLayers], Any] | None = None,
    shortcut: bool = True,
) -> Any:
    """Two convolutions, an optional gate, and a shortcut around them.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        filters: Output channels of both convolutions.
        strides: Of the first convolution, pixels.
        name: Prefix of the layers' names.
        output_name: Name of the last ReLU.
        layers: Makes the layers.
        gate: Makes the layer at the branch's end from a name and `layers`.
        shortcut: `False` leaves it out.

    Returns:
        Feature map `(batch, height / strides, width / strides, filters)`.
    """
    branch = convolutions(x, filters, strides, name, layers)
    if gate is not None:
        branch = gate(f"{name}_gate", layers)(branch)
    if not shortcut:
        return layers.relu(output_name)(branch)
    if strides != 1 or x.shape[layers.channel_axis] != filters:
        x = layers.convolution(filters, 1, strides, f"{name}_shortcut_convolution")(x)
        x = layers.normalization(f"{name}_shortcut_normalization")(x)
    x = keras.layers.Add(dtype=layers.dtype, name=f"{name}_sum")([branch, x])
    return layers.relu(output_name)(x)


def _squeeze_excite(name: str, layers: TrunkLayers) -> SqueezeExcite:
    released = layers.kernel_initializer() is not None
    return SqueezeExcite(
        kernel_initializer=_small_normal() if released else None,
        data_format=layers.data_format,
        dtype=layers.dtype,
        name=name,
    )


def _cbam(name: str, layers: TrunkLayers) -> CBAM:
    return CBAM(
        kernel_initializer=layers.kernel_initializer(),
        data_format=layers.data_format,
        dtype=layers.dtype,
        name=name,
    )


def _small_normal() -> Normal:
    return Normal(stddev=0.01)


class _ResNet(ImageClassifier):
    """The three baselines differ only in the gate at each branch's end."""

    _gate: Callable[[str, TrunkLayers], Any] | None = None
    _default_name: str

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int | None] | None = None,
        *,
        stage_filters: Sequence[int] = (64, 128, 256, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2),
        stem: str = "imagenet",
        shortcuts: bool = True,
        initialization: str = "pytorch",
        classifier_activation: Any = "softmax",
        normalization: tuple[Sequence[float], Sequence[float]] | None = None,
        class_names: Sequence[str] | None = None,
        data_format: str | None = None,
        dtype: Any = None,
        name: str | None = None,
    ):
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
        if initialization not in INITIALIZATIONS:
            raise ValueError(
                f"`initialization` must be one of {INITIALIZATIONS}. "
                f"Received: initialization={initialization!r}"
            )
        arguments |= {"shortcuts": bool(shortcuts), "initialization": initialization}
        released = initialization == "kaiming_fan_out"

        # === Functional Model ===
        inputs, x = image_input(arguments)
        layers = TrunkLayers(
            arguments["data_format"],
            arguments["dtype"],
            FanOutNormal if released else lambda: None,
        )
        features = build_trunk(
            x,
            partial(
                residual_block,
                gate=type(self)._gate,
                shortcut=arguments["shortcuts"],
            ),
            arguments["stage_filters"],
            arguments["stage_blocks"],
            stem,
            layers,
        )
        x = keras.layers.GlobalAveragePooling2D(
            data_format=layers.data_format, dtype=layers.dtype, name="pool"
        )(list(features.values())[-1])
        outputs = Linear(
            arguments["num_classes"],
            activation=classifier_activation,
            kernel_initializer=_small_normal() if released else None,
            bias_initializer="zeros" if released else None,
            dtype=full_precision(layers.dtype),
            name="classifier",
        )(x)

        # === Config ===
        self._finish(inputs, outputs, features, arguments)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class ResNet18(_ResNet):
    __doc__ = "ResNet-18 (He et al. 2016)." + _ARGUMENTS.replace("{name}", "ResNet18")
    _default_name = "resnet18"


@keras.saving.register_keras_serializable(package="keras_gradattn")
class SEResNet18(_ResNet):
    __doc__ = (
        "ResNet-18 with squeeze-and-excitation (Hu et al. 2018)."
        + _ARGUMENTS.replace("{name}", "SEResNet18")
    )
    _gate = staticmethod(_squeeze_excite)
    _default_name = "se_resnet18"


@keras.saving.register_keras_serializable(package="keras_gradattn")
class CBAMResNet18(_ResNet):
    __doc__ = (
        "ResNet-18 with convolutional block attention (Woo et al. 2018)."
        + _ARGUMENTS.replace("{name}", "CBAMResNet18")
    )
    _gate = staticmethod(_cbam)
    _default_name = "cbam_resnet18"
