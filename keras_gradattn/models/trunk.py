"""The common trunk: a stem and four stages of two-convolution blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from keras_gradattn.layers._arguments import (
    check_positive_integers,
    is_positive_integer,
)
from keras_gradattn.layers.batch_normalization import BatchNormalization
from keras_gradattn.layers.symmetric_conv2d import SymmetricConv2D
from keras_gradattn.layers.symmetric_max_pooling2d import SymmetricMaxPooling2D

STEMS = ("imagenet", "cifar")
SMALLEST_IMAGE = 8


@dataclass(frozen=True)
class TrunkLayers:
    """Makes a trunk's layers, all of one data format, dtype and initialisation."""

    data_format: str
    dtype: Any
    # Makes a fresh initialiser for each kernel: an instance repeats its values.
    kernel_initializer: Callable[[], Any] = lambda: None

    def convolution(
        self, filters: int, kernel_size: int, strides: int, name: str
    ) -> SymmetricConv2D:
        return SymmetricConv2D(
            filters,
            kernel_size,
            strides=strides,
            use_bias=False,
            kernel_initializer=self.kernel_initializer(),
            data_format=self.data_format,
            dtype=self.dtype,
            name=name,
        )

    def normalization(self, name: str) -> BatchNormalization:
        return BatchNormalization(axis=self.channel_axis, dtype=self.dtype, name=name)

    def relu(self, name: str) -> keras.layers.ReLU:
        return keras.layers.ReLU(dtype=self.dtype, name=name)

    @property
    def channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1


def plain_block(
    x: Any, filters: int, strides: int, name: str, output_name: str, layers: TrunkLayers
) -> Any:
    """Two convolutions without a shortcut: conv-norm-ReLU-conv-norm-ReLU.

    Args:
        x: Feature map `(batch, height, width, channels)`.
        filters: Output channels of both convolutions.
        strides: Of the first convolution, pixels.
        name: Prefix of the layers' names.
        output_name: Name of the last ReLU.
        layers: Makes the layers.

    Returns:
        Feature map `(batch, height / strides, width / strides, filters)`.
    """
    x = convolutions(x, filters, strides, name, layers)
    return layers.relu(output_name)(x)


def convolutions(
    x: Any, filters: int, strides: int, name: str, layers: TrunkLayers
) -> Any:
    """The branch of every block: conv-norm-ReLU-conv-norm."""
    x = layers.convolution(filters, 3, strides, f"{name}_convolution1")(x)
    x = layers.normalization(f"{name}_normalization1")(x)
    x = layers.relu(f"{name}_relu1")(x)
    x = layers.convolution(filters, 3, 1, f"{name}_convolution2")(x)
    return layers.normalization(f"{name}_normalization2")(x)


def build_trunk(
    inputs: Any,
    block: Callable[..., Any],
    stage_filters: Sequence[int],
    stage_blocks: Sequence[int],
    stem: str,
    layers: TrunkLayers,
) -> dict[str, Any]:
    """Stem and stages on top of an image.

    Args:
        inputs: Images, a symbolic tensor of rank 4.
        block: Builds one block, with `plain_block`'s arguments.
        stage_filters: Channels of each stage.
        stage_blocks: Number of blocks of each stage.
        stem: `"imagenet"` (7x7 at stride 2, then 3x3 max-pooling at stride 2) or
            `"cifar"` (3x3 at stride 1, no pooling).
        layers: Makes the layers.

    Returns:
        Symbolic feature maps by name, shallow to deep: `stem`, `stage1`, `stage2`, ...
        Each is the output of the layer of that name.
    """
    pooled = stem == "imagenet"
    kernel_size, strides = (7, 2) if pooled else (3, 1)
    x = layers.convolution(stage_filters[0], kernel_size, strides, "stem_convolution")(
        inputs
    )
    x = layers.normalization("stem_normalization")(x)
    x = layers.relu("stem_relu" if pooled else "stem")(x)
    if pooled:
        x = SymmetricMaxPooling2D(
            data_format=layers.data_format, dtype=layers.dtype, name="stem"
        )(x)

    features = {"stem": x}
    for stage, (filters, blocks) in enumerate(
        zip(stage_filters, stage_blocks, strict=True), start=1
    ):
        for index in range(1, blocks + 1):
            name = f"stage{stage}_block{index}"
            output_name = f"stage{stage}" if index == blocks else name
            first_strides = 2 if stage > 1 and index == 1 else 1
            x = block(x, filters, first_strides, name, output_name, layers)
        features[f"stage{stage}"] = x
    return features


def check_trunk_arguments(
    *,
    num_classes: int,
    input_shape: Sequence[int | None],
    stage_filters: Sequence[int],
    stage_blocks: Sequence[int],
    stem: str,
    data_format: str,
) -> None:
    """Refuse arguments of a network before anything is built.

    Raises:
        ValueError: Saying what was received and what is allowed.
    """
    check_positive_integers(num_classes=num_classes)
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {STEMS}. Received: stem={stem!r}")
    for name, values in (
        ("stage_filters", stage_filters),
        ("stage_blocks", stage_blocks),
    ):
        if not isinstance(values, list | tuple):
            raise ValueError(
                f"`{name}` must be a list or tuple. Received: {name}={values!r}"
            )
    if len(stage_filters) != len(stage_blocks) or not stage_filters:
        raise ValueError(
            "`stage_filters` and `stage_blocks` must have the same, positive length. "
            f"Received: stage_filters={stage_filters}, stage_blocks={stage_blocks}"
        )
    for name, values in (
        ("stage_filters", stage_filters),
        ("stage_blocks", stage_blocks),
    ):
        if not all(is_positive_integer(value) for value in values):
            raise ValueError(
                f"`{name}` must hold positive integers. Received: {name}={values}"
            )
    _check_input_shape(input_shape, data_format)


def _check_input_shape(input_shape: Any, data_format: str) -> None:
    if not isinstance(input_shape, list | tuple) or len(input_shape) != 3:
        raise ValueError(
            "`input_shape` must have three entries: height, width and channels in the "
            f"order of `data_format`. Received: input_shape={input_shape!r}"
        )
    last = data_format == "channels_last"
    channels = input_shape[-1] if last else input_shape[0]
    size = input_shape[:-1] if last else input_shape[1:]
    if not is_positive_integer(channels):
        raise ValueError(
            "The channels of `input_shape` must be a positive integer "
            f"({data_format}). Received: input_shape={tuple(input_shape)}"
        )
    if not all(pixels is None or is_positive_integer(pixels) for pixels in size):
        raise ValueError(
            "Height and width must be positive integers or None. "
            f"Received: input_shape={tuple(input_shape)}"
        )
    check_image_size(input_shape, data_format)


def check_image_size(shape: Sequence[Any], data_format: str) -> None:
    """Refuse images that are smaller than what the trunk halves five times.

    Args:
        shape: Of one image or a batch; unknown sizes pass.
        data_format: Where height and width stand in it.

    Raises:
        ValueError: If height or width is known and below 8 pixels.
    """
    size = shape[-3:-1] if data_format == "channels_last" else shape[-2:]
    if any(isinstance(pixels, int) and pixels < SMALLEST_IMAGE for pixels in size):
        raise ValueError(
            f"Images must be at least {SMALLEST_IMAGE} pixels high and wide. "
            f"Received: shape={tuple(shape)}"
        )
