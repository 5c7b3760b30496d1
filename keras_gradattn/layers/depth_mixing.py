"""Attention over depth as the shortcut: a weighted sum of earlier feature maps."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_gradattn.layers._arguments import (
    check_mixing,
    check_positive_integers,
    checked_data_format,
    is_positive_integer,
)
from keras_gradattn.layers._average_pooling import average_pool
from keras_gradattn.layers._depth_descriptor import DepthDescriptor
from keras_gradattn.layers._saved_by_0_1 import is_of_0_1, layer_config
from keras_gradattn.layers.batch_normalization import BatchNormalization
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.layers.symmetric_conv2d import SymmetricConv2D

if TYPE_CHECKING:
    from typing_extensions import Self

STARTS = ("average", "residual")


@keras.saving.register_keras_serializable(package="keras_gradattn")
class DepthMixing(keras.layers.Layer):
    """Sum feature maps of several depths with weights that depend on the image.

    For each group g of channels and maps `h_1 .. h_n`:

        x_g = P sum_i a_gi align(h_i)_g
        a_g = softmax_i(b_gi + q_g . k_gi / sqrt(channels / channel_groups))
        q = W d(h_n) + v,    k_i = d(align(h_i))

    `d` describes a map by its average over positions, divided by the RMS of this over
    channels. `b`, `W` and `v` are learned and start at zero. So at the start
    `a_gi = 1 / n`, whatever the image. `P` is 1 for an average of the maps, and `n` for
    their sum, which is what a residual network computes. During training the weights
    come to follow the image, and their sum stays `P`.

    The last map is the current one, and the query is made of it. `align` brings the
    other maps to its size and channels where they differ: by average pooling, a 1x1
    convolution and batch normalisation (the shortcut of ResNet-D, He et al. 2019,
    section 4.1).

    This is not from the GradAttn paper. Queries, keys and the scale are those of scaled
    dot-product attention (Vaswani et al. 2017, equation 1), over depths in place of
    positions. `d` ends in RMSNorm (Zhang & Sennrich 2019, equation 4). Related work:

    * MRLA (Fang et al. 2023): cross-layer attention beside the residual sum.
    * Attention Residuals (Kimi Team 2026): a softmax over previous outputs, with a
      learned query and RMS-normalised keys.
    * DenseFormer (Pagliardini et al. 2024): learned weights that do not see the input.
    * Hyper-connections (Zhu et al. 2025).

    Args:
        channel_groups: Number of groups of channels. Each has weights of its own. It
            must divide the channels. Defaults to 4.
        mixing: Where the weights come from: `"attention"` (the default), or for
            comparison weights that do not depend on the image: `"static"`
            (`a = softmax(b)`, learned) or `"equal"` (`a_gi = 1 / n`, nothing is
            learned).
        start: `"average"` (the default, `P = 1`) or `"residual"` (`P = n`).
        pool_sizes: For each map the window and stride of the pooling that brings it to
            the last one's size, in pixels. `None` (the default) takes them from the
            sizes, which must be known then.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`. Weights are computed
            in float32 where maps are of 16 bits.

    Returns:
        As a layer: a list of maps `(batch, height, width, channels)`, each of any size
        and channels, to the shape of the last. With `return_weights=True` in the call
        also `a`, `(batch, channel_groups, maps)`, whose rows sum to one. If other
        layers mix the same maps, give `descriptors=[...]` in the call: `d` of each map,
        `(batch, channels)`. Then the maps are not averaged again.

    Raises:
        ValueError: If an argument is out of range, or the maps do not fit it.

    Example:

    >>> maps = [keras.Input((32, 32, 16)), keras.Input((16, 16, 64))]
    >>> keras_gradattn.layers.DepthMixing(channel_groups=4)(maps).shape
    (None, 16, 16, 64)
    """

    def __init__(
        self,
        channel_groups: int = 4,
        *,
        mixing: str = "attention",
        start: str = "average",
        pool_sizes: Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integers(channel_groups=channel_groups)
        check_mixing(mixing)
        check_start(start)
        self.channel_groups = int(channel_groups)
        self.mixing = mixing
        self.start = start
        self.pool_sizes = _checked_pool_sizes(pool_sizes)
        self.data_format = checked_data_format(data_format)
        self.alignments: list[Any] = []
        # What each map weighs at the start where that is not one: `log` of it is added
        # to the logits, and `P` of a sum is their sum.
        self._start_weights: tuple[float, ...] | None = None

    @classmethod
    def starting_at(
        cls, start_weights: Sequence[float] | None, **arguments: Any
    ) -> Self:
        """A layer whose maps do not weigh the same at the start.

        Args:
            start_weights: One positive number per map; `None` is one each.
            **arguments: Those of the constructor.

        Returns:
            A new layer, not built.
        """
        layer = cls(**arguments)
        layer._start_at(start_weights)
        return layer

    def _start_at(self, weights: Sequence[float] | None) -> None:
        if weights is not None:
            self._start_weights = tuple(float(weight) for weight in weights)

    # === Building ===

    def build(self, maps_shape: Any, descriptors_shape: Any = None) -> None:
        shapes = self._checked_shapes(maps_shape)
        channels: Any = shapes[-1][self._channel_axis]
        check_channel_groups(channels, self.channel_groups)
        for name, given in (
            ("pool_sizes", self.pool_sizes),
            ("start_weights", self._start_weights),
        ):
            if given is not None and len(given) != len(shapes):
                raise ValueError(
                    f"`{name}` must have one entry for each of the {len(shapes)} maps. "
                    f"Received: {name}={given}"
                )
        pool_sizes = self.pool_sizes or [self._pool_size(s, shapes) for s in shapes]
        self.alignments = [
            self._alignment(index, shape, pool_size, channels)
            for index, (shape, pool_size) in enumerate(
                zip(shapes, pool_sizes, strict=True)
            )
        ]
        wide = full_precision(self.dtype_policy)
        if self.mixing != "equal":
            self.bias = self.add_weight(
                name="bias",
                shape=(self.channel_groups, len(shapes)),
                initializer="zeros",
                dtype=wide.variable_dtype,
                # In 16 bits small differences of large logits would be lost.
                autocast=False,
            )
        if self.mixing == "attention":
            self.descriptor = DepthDescriptor(
                self.data_format, dtype=self.dtype_policy, name="descriptor"
            )
            # Built even where it is not called: Keras traces a model with an unbuilt
            # layer anew at every `train_on_batch`.
            self.descriptor.build(shapes[-1])
            self.query = Linear(
                channels,
                kernel_initializer="zeros",
                bias_initializer="zeros",
                dtype=wide,
                name="query",
            )
            self.query.build((None, channels))
        self.built = True

    def _checked_shapes(self, shapes: Any) -> list[tuple[Any, ...]]:
        if not shapes or not all(isinstance(s, list | tuple) for s in shapes):
            raise ValueError(
                "`DepthMixing` takes a non-empty list of feature maps. "
                f"Received: input_shape={shapes}"
            )
        if any(len(shape) != 4 for shape in shapes):
            raise ValueError(
                "Every map must be (batch, height, width, channels) in the order of "
                f"`data_format`. Received: input_shape={shapes}"
            )
        return [tuple(shape) for shape in shapes]

    @property
    def _channel_axis(self) -> int:
        return 3 if self.data_format == "channels_last" else 1

    def _size(self, shape: Any) -> Any:
        return shape[1:3] if self.data_format == "channels_last" else shape[2:4]

    def _pool_size(self, shape: Any, shapes: list[Any]) -> int:
        """Window that brings a map to the last one's size, where that is known."""
        size, target = self._size(shape), self._size(shapes[-1])
        if (
            size == target
            and shape[self._channel_axis] == shapes[-1][self._channel_axis]
        ):
            # Unknown sizes included: maps of the same kind are taken to be alike.
            return 1
        if None in (*size, *target):
            raise ValueError(
                "The maps' sizes are not known: give `pool_sizes`, the window that "
                "brings each map to the last one's size. "
                f"Received: input_shape={shapes}"
            )
        window = -(-size[0] // target[0])
        if tuple(-(-pixels // window) for pixels in size) != tuple(target):
            raise ValueError(
                "Average pooling by a whole number of pixels must bring every map to "
                f"the size of the last, rounded up. Received: input_shape={shapes}"
            )
        return int(window)

    def _alignment(self, index: int, shape: Any, pool_size: int, channels: int) -> Any:
        if pool_size == 1 and shape[self._channel_axis] == channels:
            return None
        alignment = _Alignment(
            channels,
            pool_size,
            self.data_format,
            dtype=self.dtype_policy,
            name=f"alignment{index}",
        )
        alignment.build(shape)
        return alignment

    # === Computing ===

    def call(
        self,
        maps: Sequence[Any],
        descriptors: Sequence[Any] | None = None,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        maps = [
            source if alignment is None else alignment(source, training=training)
            for source, alignment in zip(maps, self.alignments, strict=True)
        ]
        weights = self._weights_of(maps, descriptors)
        mixed = self._weighted_sum(maps, weights)
        if not return_weights:
            return mixed
        # Of one image or for all: `(batch, maps, channel_groups)` either way.
        shape = (ops.shape(maps[0])[0], len(maps), self.channel_groups)
        return mixed, ops.transpose(ops.broadcast_to(weights, shape), (0, 2, 1))

    def _weights_of(self, maps: list[Any], descriptors: Sequence[Any] | None) -> Any:
        """Weight of every map, `(batch or 1, maps, channel_groups)`."""
        wide = full_precision(self.dtype_policy).compute_dtype
        count = len(maps)
        if count == 1 or self.mixing == "equal":
            return ops.full((1, count, self.channel_groups), 1 / count, dtype=wide)
        logits = ops.transpose(self.bias)[None]
        if self.mixing == "attention":
            logits = logits + self._products(maps, descriptors, wide)
        if self._start_weights is not None:
            start = np.log(self._start_weights).reshape(1, count, 1)
            logits = logits + ops.cast(start, wide)
        return ops.softmax(logits, axis=1)

    def _products(
        self, maps: list[Any], descriptors: Sequence[Any] | None, wide: str
    ) -> Any:
        """Query times key of every map, `(batch, maps, channel_groups)`."""
        count = len(maps)
        if descriptors is None:
            descriptors = [self.descriptor(source) for source in maps]
        # Keras casts what a layer is given; TensorFlow multiplies no two dtypes.
        descriptors = [ops.cast(descriptor, wide) for descriptor in descriptors]
        # All keys at once: PyTorch pays for every single operation.
        keys = ops.stack(descriptors, axis=1)
        channels = descriptors[-1].shape[-1]
        per_group = channels // self.channel_groups
        query = ops.reshape(self.query(descriptors[-1]), (-1, 1, channels))
        shape = (-1, count, self.channel_groups, per_group)
        return ops.sum(ops.reshape(keys * query, shape), axis=-1) * per_group**-0.5

    def _weighted_sum(self, maps: list[Any], weights: Any) -> Any:
        channels = maps[-1].shape[self._channel_axis]
        count = len(maps)
        if self.start == "residual":
            weights = weights * float(sum(self._start_weights or (1.0,) * count))
        lead = 1 if weights.shape[0] == 1 else ops.shape(weights)[0]
        # Every channel gets the weight of its group.
        shape = (lead, count, self.channel_groups, channels // self.channel_groups)
        per_channel = ops.reshape(
            ops.cast(ops.broadcast_to(weights[..., None], shape), self.compute_dtype),
            (-1, count, 1, 1, channels),
        )
        if self.data_format == "channels_first":
            per_channel = ops.transpose(per_channel, (0, 1, 4, 2, 3))
        by_source = ops.unstack(per_channel, count, axis=1)
        mixed = maps[0] * by_source[0]
        for source, weight in zip(maps[1:], by_source[1:], strict=True):
            mixed = mixed + source * weight
        return mixed

    def bias_for(self, weights: np.ndarray) -> np.ndarray:
        """The bias at which static weights are these.

        Args:
            weights: `(channel_groups, maps)`, none negative, rows that sum to one.

        Returns:
            `(channel_groups, maps)`.
        """
        # A softmax of logarithms gives back what sums to one.
        logits = np.log(np.maximum(weights, np.finfo("float32").tiny))
        return logits - np.log(self._start_weights or (1.0,) * weights.shape[-1])

    def compute_output_spec(
        self,
        maps: Sequence[Any],
        descriptors: Sequence[Any] | None = None,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        mixed = keras.KerasTensor(maps[-1].shape, dtype=self.compute_dtype)
        if not return_weights:
            return mixed
        weights = keras.KerasTensor(
            (maps[-1].shape[0], self.channel_groups, len(maps)),
            dtype=full_precision(self.dtype_policy).compute_dtype,
        )
        return mixed, weights

    # === Saving ===

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "channel_groups": self.channel_groups,
            "mixing": self.mixing,
            "start": self.start,
            "pool_sizes": self.pool_sizes,
            "data_format": self.data_format,
        }
        if self._start_weights is not None:
            config["start_weights"] = list(self._start_weights)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """A new layer with these arguments, whether today's or those of 0.1."""
        arguments = layer_config(config) if is_of_0_1(config) else dict(config)
        start_weights = arguments.pop("start_weights", None)
        layer: Self = super().from_config(arguments)
        layer._start_at(start_weights)
        return layer


@keras.saving.register_keras_serializable(package="keras_gradattn")
class _Alignment(keras.layers.Layer):
    """Average pooling, a 1x1 convolution and batch normalisation of one map.

    A window that the map's end cuts short averages what there is.
    """

    def __init__(
        self, filters: int, pool_size: int, data_format: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = pool_size
        self.data_format = data_format
        self.convolution = SymmetricConv2D(
            filters,
            1,
            use_bias=False,
            data_format=data_format,
            dtype=self.dtype_policy,
            name="convolution",
        )
        self.normalization = BatchNormalization(
            axis=-1 if data_format == "channels_last" else 1,
            dtype=self.dtype_policy,
            name="normalization",
        )

    def build(self, input_shape: Any) -> None:
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        pooled = average_pool(inputs, self.pool_size, self.data_format)
        return self.normalization(self.convolution(pooled), training=training)


def check_start(start: str) -> None:
    """Refuse an unknown start.

    Raises:
        ValueError: If it is none of `STARTS`.
    """
    if start not in STARTS:
        raise ValueError(f"`start` must be one of {STARTS}. Received: start={start!r}")


def check_channel_groups(channels: int | None, channel_groups: int) -> None:
    """Refuse channels that the groups cannot share.

    Args:
        channels: Of the map that is mixed.
        channel_groups: Number of groups.

    Raises:
        ValueError: If `channels` is unknown or not divisible by `channel_groups`.
    """
    if channels is None or channels % channel_groups:
        raise ValueError(
            "The channels must be divisible by `channel_groups`. "
            f"Received: channels={channels}, channel_groups={channel_groups}"
        )


def _checked_pool_sizes(pool_sizes: Sequence[int] | None) -> list[int] | None:
    if pool_sizes is None:
        return None
    if isinstance(pool_sizes, str | Real) or not all(
        is_positive_integer(size) for size in pool_sizes
    ):
        raise ValueError(
            "`pool_sizes` must be positive integers, one per map. "
            f"Received: pool_sizes={pool_sizes!r}"
        )
    return [int(size) for size in pool_sizes]
