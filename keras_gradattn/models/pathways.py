"""GradAttnPathways: a network whose shortcuts are attention over depth."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras

from keras_gradattn.layers._arguments import check_positive_integers
from keras_gradattn.layers._average_pooling import AveragePooling
from keras_gradattn.layers._depth_descriptor import DepthDescriptor
from keras_gradattn.layers.depth_mixing import (
    DepthMixing,
    check_mixing,
    check_mixing_heads,
)
from keras_gradattn.layers.gradattn_head import GradAttnHead, check_head_arguments
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.models.image_classifier import (
    ImageClassifier,
    image_input,
    standard_arguments,
)
from keras_gradattn.models.trunk import TrunkLayers, build_trunk, convolutions

HEADS = ("pool", "gradattn")


class _Pathways:
    """The sources that a block can draw from, gathered while the trunk is built."""

    def __init__(self, older_weight: float, **mixing: Any):
        self._mixing = mixing
        self._weights = mixing["weights"]
        self._older_weight = older_weight
        # Finished stages by name, each pooled as far as the current stage needs it.
        self._finished: dict[str, Any] = {}
        self._last_name = "stem"
        self._sources: list[Any] = []
        self._descriptors: list[Any] = []

    def block(self, x, filters, strides, name, output_name, layers: TrunkLayers):
        """Two convolutions, then everything so far, mixed.

        Takes and returns what `plain_block` does, and is called in the order in which
        the trunk is built.
        """
        stage, _, index = name.rpartition("_block")
        if index == "1":
            self._start_stage(x, filters, strides, stage, layers)
        branch = convolutions(x, filters, strides, name, layers)
        self._add_source(branch, name, layers)
        older = len(self._finished) - 1
        mixing = DepthMixing(
            **self._mixing,
            prior=[self._older_weight] * older + [1.0] * (len(self._sources) - older),
            # Aligned once for the whole stage, below.
            pool_sizes=[1] * len(self._sources),
            data_format=layers.data_format,
            dtype=layers.dtype,
            name=f"{name}_mixing",
        )
        descriptors = self._descriptors if self._weights == "attention" else None
        mixed, _ = mixing(self._sources, descriptors=descriptors, return_weights=True)
        self._last_name = output_name
        return layers.relu(output_name)(mixed)

    def _start_stage(self, x, filters, strides, stage, layers):
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

    def _add_source(self, features, name, layers):
        self._sources.append(features)
        if self._weights == "attention":
            descriptor = DepthDescriptor(
                layers.data_format, dtype=layers.dtype, name=f"{name}_descriptor"
            )
            self._descriptors.append(descriptor(features))


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnPathways(ImageClassifier):
    """A residual network whose shortcuts are attention over depth. Ours, not published.

    The input of every block is `relu(P sum_i a_i(image) align_i(h_i))`: a weighted sum
    over the stem, each finished stage and the current stage's blocks so far, in place
    of the residual sum (`keras_gradattn.layers.DepthMixing` has the formula and the
    relatives). `h` of a block is its second batch normalisation's output; stem and
    finished stages are brought to a later stage's shape by average pooling, a 1x1
    convolution and batch normalisation.

    By default the weights start as a plain average, whatever the image, which trained
    better than the start of a residual network: `normalized=False` with a small
    `older_weight`. There the previous stage and every block of the current one weigh
    one, the depths before `older_weight`; with that near zero the network at its start
    is the "ReLU-only pre-activation" residual network (He et al. 2016b, figure 4d) with
    ResNet-D's shortcuts (He et al. 2019).

    Args:
        num_classes: Number of classes, a positive integer.
        input_shape: Image height, width (pixels, at least 8 or `None` for any) and
            channels, in the order of `data_format`. Defaults to any size, 3 channels.
        stage_filters: Channels of each stage. Defaults to (64, 128, 256, 512).
        stage_blocks: Two-convolution blocks of each stage. Defaults to (2, 2, 2, 2), 18
            layers; (3, 4, 6, 3) are 34, (3, 6, 12, 3) 50 and (4, 8, 34, 4) 102.
        stem: `"imagenet"` (7x7 at stride 2, max-pooling) or `"cifar"` (3x3 at stride 1,
            no pooling).
        heads: Groups of channels with mixing weights of their own; must divide every
            stage's channels. Defaults to 4.
        weights: `"attention"` (the default), `"static"` (learned, the same for every
            image), `"prior"` (fixed where the others start) or `"equal"` (fixed, all
            sources alike).
        query: What asks for depths: `"map"` (the default), the current map's average;
            `"pixels"`, each of its positions; `"learned"`, a vector per block.
        gate: `"softmax"` (the default), sources compete; `"sigmoid"`, each has a gate.
        top_k: How many sources of the softmax take part; `None` (the default) is all.
        logit_cap: Bound of what is learned of a source's logit; `None` (the default)
            is none.
        normalized: Whether the weights of a sum add to one instead of to what they are
            at the start (`P` above). Only the head sees the difference: behind every
            other sum is a convolution with batch normalisation. Defaults to `True`.
        source_dropout: Rate at which a source is left out for an image in training.
            Defaults to 0.
        older_weight: Weight at the start of depths before the previous stage, a
            positive number; the other sources weigh 1. Defaults to 1.
        head: `"pool"` (the default: average pooling and a linear classifier) or
            `"gradattn"` (the head of `GradAttnV2` on stem and stages).
        width: Length of a token, of the GradAttn head alone, like the next four.
            Defaults to 256.
        num_heads: Attention heads; must divide `width`. Defaults to 8.
        feed_forward: Hidden width of the encoder blocks. Defaults to 512.
        num_layers: Number of encoder blocks. Defaults to 3.
        dropout: Rate of the head's dropouts. Defaults to 0.1.
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
        heads: int = 4,
        weights: str = "attention",
        query: str = "map",
        gate: str = "softmax",
        top_k: int | None = None,
        logit_cap: float | None = None,
        normalized: bool = True,
        source_dropout: float = 0.0,
        older_weight: float = 1.0,
        head: str = "pool",
        width: int = 256,
        num_heads: int = 8,
        feed_forward: int = 512,
        num_layers: int = 3,
        dropout: float = 0.1,
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
            name=name or "gradattn_pathways",
        )
        mixing = {
            "heads": int(heads),
            "weights": weights,
            "query": query,
            "gate": gate,
            "top_k": top_k,
            "logit_cap": logit_cap,
            "source_dropout": source_dropout,
        }
        _check_mixing_arguments(stage_filters, older_weight, **mixing)
        mixing["normalized"] = bool(normalized)
        head_arguments = _checked_head_arguments(
            head,
            num_classes=num_classes,
            width=width,
            num_heads=num_heads,
            feed_forward=feed_forward,
            num_layers=num_layers,
            dropout=dropout,
        )
        arguments |= (
            head_arguments
            | mixing
            | {
                "older_weight": float(older_weight),
                "head": head,
            }
        )

        # === Functional Model ===
        inputs, x = image_input(arguments)
        layers = TrunkLayers(arguments["data_format"], arguments["dtype"])
        features = build_trunk(
            x,
            _Pathways(arguments["older_weight"], **mixing).block,
            arguments["stage_filters"],
            arguments["stage_blocks"],
            stem,
            layers,
        )
        if head == "gradattn":
            outputs = GradAttnHead(
                num_classes,
                classifier_activation=classifier_activation,
                data_format=layers.data_format,
                dtype=layers.dtype,
                name="head",
                **head_arguments,
            )(list(features.values()))
        else:
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


def _check_mixing_arguments(stage_filters, older_weight, *, heads, **mixing):
    check_positive_integers(heads=heads)
    check_mixing(**mixing)
    for channels in stage_filters:
        check_mixing_heads(channels, heads)
    if not isinstance(older_weight, Real) or not 0 < older_weight < float("inf"):
        raise ValueError(
            "`older_weight` must be a positive number. "
            f"Received: older_weight={older_weight!r}"
        )


def _checked_head_arguments(head, *, num_classes, dropout, **counts):
    if head not in HEADS:
        raise ValueError(f"`head` must be one of {HEADS}. Received: head={head!r}")
    check_head_arguments(
        num_classes=num_classes, positions="learnable", dropout=dropout, **counts
    )
    return {name: int(count) for name, count in counts.items()} | {"dropout": dropout}
