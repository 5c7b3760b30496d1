"""GradAttnPathways: a network whose shortcuts are attention over depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from keras_gradattn.layers._arguments import check_mixing, check_positive_integers
from keras_gradattn.layers._average_pooling import AveragePooling
from keras_gradattn.layers._depth_descriptor import DepthDescriptor
from keras_gradattn.layers._saved_by_0_1 import is_of_0_1, network_config
from keras_gradattn.layers.depth_mixing import (
    DepthMixing,
    check_channel_groups,
    check_start,
)
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.models.image_classifier import (
    ImageClassifier,
    image_input,
    standard_arguments,
)
from keras_gradattn.models.trunk import TrunkLayers, build_trunk, convolutions

if TYPE_CHECKING:
    from typing_extensions import Self

# What a depth before the previous stage weighs at the start of a residual network:
# near nothing, so that it is one, but not nothing, so that the weight can grow.
_OLDER_WEIGHT = 0.05


class _Pathways:
    """The sources that a block can draw from, gathered while the trunk is built."""

    def __init__(self, channel_groups: int, mixing: str, start: str) -> None:
        self._channel_groups = channel_groups
        self._mixing = mixing
        self._start = start
        # Finished stages by name, each pooled as far as the current stage needs it.
        self._finished: dict[str, Any] = {}
        self._last_name = "stem"
        self._sources: list[Any] = []
        self._descriptors: list[Any] = []

    def block(
        self,
        x: Any,
        filters: int,
        strides: int,
        name: str,
        output_name: str,
        layers: TrunkLayers,
    ) -> Any:
        """Two convolutions, then everything so far, mixed.

        Takes and returns what `plain_block` does, and is called in the order in which
        the trunk is built.
        """
        stage, _, index = name.rpartition("_block")
        if index == "1":
            self._start_stage(x, filters, strides, stage, layers)
        branch = convolutions(x, filters, strides, name, layers)
        self._add_source(branch, name, layers)
        mixing = DepthMixing.starting_at(
            self._start_weights(),
            channel_groups=self._channel_groups,
            mixing=self._mixing,
            start=self._start,
            # Aligned once for the whole stage, below.
            pool_sizes=[1] * len(self._sources),
            data_format=layers.data_format,
            dtype=layers.dtype,
            name=f"{name}_mixing",
        )
        mixed = mixing(self._sources, descriptors=self._descriptors or None)
        self._last_name = output_name
        return layers.relu(output_name)(mixed)

    def _start_weights(self) -> list[float] | None:
        older = len(self._finished) - 1
        if self._start == "average" or older == 0:
            return None
        return [_OLDER_WEIGHT] * older + [1.0] * (len(self._sources) - older)

    def _start_stage(
        self, x: Any, filters: int, strides: int, stage: str, layers: TrunkLayers
    ) -> None:
        """Bring every finished stage to the new one's size and channels, once."""
        self._finished[self._last_name] = x
        self._sources, self._descriptors = [], []
        for source, features in self._finished.items():
            name = f"{stage}_from_{source}"
            if strides != 1:
                # From size to size: the large maps are read only once.
                features = self._finished[source] = AveragePooling(
                    strides,
                    layers.data_format,
                    dtype=layers.dtype,
                    name=f"{name}_pool",
                )(features)
            if strides != 1 or features.shape[layers.channel_axis] != filters:
                features = layers.convolution(filters, 1, 1, f"{name}_convolution")(
                    features
                )
                features = layers.normalization(f"{name}_normalization")(features)
            self._add_source(features, name, layers)

    def _add_source(self, features: Any, name: str, layers: TrunkLayers) -> None:
        self._sources.append(features)
        if self._mixing == "attention":
            descriptor = DepthDescriptor(
                layers.data_format, dtype=layers.dtype, name=f"{name}_descriptor"
            )
            self._descriptors.append(descriptor(features))


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnPathways(ImageClassifier):
    """A network whose shortcuts are attention over depth. Ours, not from the paper.

    A residual network gives a block the sum of what the blocks before it returned. Here
    it is a weighted sum, `relu(P sum_i a_i(image) align_i(h_i))`. The sum is over the
    stem, each finished stage, and the blocks of the current stage so far. `h` of a
    block is the output of its second batch normalisation. `align` brings the stem and
    finished stages to the current stage's shape: by average pooling, a 1x1 convolution
    and batch normalisation. `keras_gradattn.layers.DepthMixing` has the formula of the
    weights `a`, and related work.

    Args:
        num_classes: Number of classes, a positive integer.
        input_shape: Image height, width (pixels, at least 8 or `None` for any) and
            channels, in the order of `data_format`. Defaults to any size, 3 channels.
        stage_filters: Channels of each stage. Defaults to (64, 128, 256, 512).
        stage_blocks: Two-convolution blocks of each stage. Defaults to (2, 2, 2, 2), 18
            layers; (3, 4, 6, 3) are 34, (3, 6, 12, 3) 50 and (4, 8, 34, 4) 102.
        stem: `"imagenet"` (7x7 at stride 2, max-pooling) or `"cifar"` (3x3 at stride 1,
            no pooling).
        channel_groups: Groups of channels with mixing weights of their own; must divide
            every stage's channels. Defaults to 4.
        mixing: Where the weights of depths come from: `"attention"` (the default), or
            for comparison weights that do not depend on the image: `"static"` (learned)
            or `"equal"` (a plain mean).
        start: What training starts from. `"average"` (the default): the average of all
            depths, whatever the image; `P` is 1. `"residual"`: a sum in which the
            previous stage and every block of the current one weigh 1, and the depths
            before 0.05; `P` is the sum of these. That is near the "ReLU-only
            pre-activation" residual network (He et al. 2016b, figure 4d) with
            ResNet-D's shortcuts (He et al. 2019, section 4.1).
        classifier_activation: `"softmax"` (the default), or `None` for logits.
        normalization: `(mean, std)` per channel in units of 0 to 1, to take raw 0-255
            images. Defaults to `None`: images come normalised.
        class_names: One string per class, kept with the model. Defaults to `None`.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        dtype: Dtype or policy; mixing weights and classifier stay float32 under mixed
            precision. `None` (the default) is Keras' global policy.
        name: Name of the model.

    Returns:
        A Functional `keras.Model`: images `(batch, height, width, channels)` to
        `(batch, num_classes)`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> model = keras_gradattn.GradAttnPathways(num_classes=10)
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """

    def __init__(
        self,
        num_classes: int,
        input_shape: Sequence[int | None] | None = None,
        *,
        stage_filters: Sequence[int] = (64, 128, 256, 512),
        stage_blocks: Sequence[int] = (2, 2, 2, 2),
        stem: str = "imagenet",
        channel_groups: int = 4,
        mixing: str = "attention",
        start: str = "average",
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
            name=name or "gradattn_pathways",
        )
        check_positive_integers(channel_groups=channel_groups)
        check_mixing(mixing)
        check_start(start)
        for channels in stage_filters:
            check_channel_groups(channels, channel_groups)
        mixing_arguments: dict[str, Any] = {
            "channel_groups": int(channel_groups),
            "mixing": mixing,
            "start": start,
        }
        arguments |= mixing_arguments

        # === Functional Model ===
        inputs, x = image_input(arguments)
        layers = TrunkLayers(arguments["data_format"], arguments["dtype"])
        features = build_trunk(
            x,
            _Pathways(**mixing_arguments).block,
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
            dtype=full_precision(layers.dtype),
            name="classifier",
        )(x)

        # === Config ===
        self._finish(inputs, outputs, features, arguments)

    @property
    def mixed_depths(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """What each mixing layer feeds, and the depths that it draws from, by name.

        The last feeds `head`. A finished stage, such as `stage1`, is what its last
        mixing returned.
        """
        names, sources = [], []
        finished = ["stem"]
        for stage, blocks in enumerate(self._arguments["stage_blocks"], start=1):
            own = [f"stage{stage}_block{index}" for index in range(1, blocks + 1)]
            names += own
            sources += [(*finished, *own[: index + 1]) for index in range(blocks)]
            finished.append(f"stage{stage}")
        targets = [*names[1:], "head"]
        return {
            f"{name}_mixing": (target, drawn)
            for name, target, drawn in zip(names, targets, sources, strict=True)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """A new network with these arguments, whether today's or those of 0.1."""
        if is_of_0_1(config):
            config = network_config(config)
        return super().from_config(config, custom_objects)
