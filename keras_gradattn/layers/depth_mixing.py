"""Attention over depth as the shortcut: a weighted sum of earlier feature maps."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gradattn.layers.arguments import (
    check_positive_integers,
    checked_data_format,
    is_positive_integer,
)
from keras_gradattn.layers.batch_normalization import BatchNormalization
from keras_gradattn.layers.convolution import SymmetricConv2D
from keras_gradattn.layers.depth_descriptor import DepthDescriptor
from keras_gradattn.layers.linear import Linear, full_precision

WEIGHTS = ("attention", "static", "equal")


@keras.saving.register_keras_serializable(package="keras_gradattn")
class DepthMixing(keras.layers.Layer):
    """Sum feature maps of several depths with weights that depend on the image.

    For each head g, a group of channels, and sources `h_1 .. h_n`:

        x_g = P sum_i a_gi align(h_i)_g
        a_g = softmax_i(log p_i + b_gi + q_g . k_gi / sqrt(channels / heads))
        q = W d(h_n) + v,    k_i = d(align(h_i))

    `d` is the map's average over positions divided by its RMS over channels, `p_i` the
    prior, `b`, `W` and `v` are learned and start at zero, and `P = sum_i p_i`. At the
    start `a_gi = p_i / P` whatever the image, so the layer computes exactly
    `sum_i p_i align(h_i)`: with the default prior of ones the residual sum, which a
    softmax average alone would divide by n. Afterwards every weight is learned and
    follows the image, while their sum stays `P`.

    The last map is the current one: it asks, and the others are brought to its size and
    channels where they differ, by average pooling, a 1x1 convolution and batch
    normalisation.

    Not from the GradAttn paper. Relatives: MRLA (Fang et al. 2023, cross-layer
    attention beside the residual sum), Attention Residuals (Kimi Team 2026, a softmax
    over previous outputs with a learned query and RMS-normalised keys), DenseFormer
    (Pagliardini et al. 2024, learned weights that do not see the input),
    hyper-connections (Zhu et al. 2025).

    Args:
        heads: Groups of channels with weights of their own; must divide the channels.
            Defaults to 4.
        weights: `"attention"` (the default), `"static"` (`a = softmax(log p + b)`:
            learned, the same for every image) or `"equal"` (`a_gi = 1 / n`, nothing
            learned).
        prior: Weight of each source at the start, positive numbers. `None` (the
            default) is one each.
        pool_sizes: Window and stride that bring each map to the last one's size; `None`
            (the default) takes them from the sizes, which then must be known.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`. Weights are computed
            in float32 where maps are of 16 bits.

    Returns:
        As a layer: a list of maps `(batch, height, width, channels)`, each of any size
        and channels, to the shape of the last; with `return_weights=True` in the call
        also `a`, `(batch, heads, maps)`, whose rows sum to one. `descriptors=[...]` in
        the call, `(batch, channels)` per map, spares averaging maps again that other
        layers mix as well.

    Raises:
        ValueError: If an argument is out of range, or the maps do not fit it.

    Example:

    >>> maps = [keras.Input((32, 32, 16)), keras.Input((16, 16, 64))]
    >>> keras_gradattn.layers.DepthMixing(heads=4)(maps).shape
    (None, 16, 16, 64)
    """

    def __init__(
        self,
        heads: int = 4,
        *,
        weights: str = "attention",
        prior: Sequence[float] | None = None,
        pool_sizes: Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive_integers(heads=heads)
        check_weights(weights)
        self.heads = int(heads)
        self.mixing_weights = weights
        self.prior = _checked_prior(prior)
        self.pool_sizes = _checked_pool_sizes(pool_sizes)
        self.data_format = checked_data_format(data_format)
        self.alignments = []

    # === Building ===

    def build(self, maps_shape, descriptors_shape=None):
        shapes = self._checked_shapes(maps_shape)
        channels = shapes[-1][self._channel_axis]
        check_mixing_heads(channels, self.heads)
        for name in ("prior", "pool_sizes"):
            given = getattr(self, name)
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
        if self.mixing_weights != "equal":
            self.prior_bias = self.add_weight(
                name="prior_bias",
                shape=(self.heads, len(shapes)),
                initializer="zeros",
                dtype=wide.variable_dtype,
                # In 16 bits small differences of large logits would be lost.
                autocast=False,
            )
        if self.mixing_weights == "attention":
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

    def _checked_shapes(self, shapes):
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

    def _size(self, shape):
        return shape[1:3] if self.data_format == "channels_last" else shape[2:4]

    def _pool_size(self, shape, shapes):
        """Window that brings a map to the last one's size, where that is known."""
        size, target = self._size(shape), self._size(shapes[-1])
        if (
            size == target
            and shape[self._channel_axis] == (shapes[-1][self._channel_axis])
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
        return window

    def _alignment(self, index, shape, pool_size, channels):
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

    def call(self, maps, descriptors=None, training=None, return_weights=False):
        maps = [
            source if alignment is None else alignment(source, training=training)
            for source, alignment in zip(maps, self.alignments, strict=True)
        ]
        weights = self._weights(maps, descriptors)
        mixed = self._weighted_sum(maps, weights)
        if not return_weights:
            return mixed
        # Of one image or for all: `(batch, maps, heads)` either way.
        shape = (ops.shape(maps[0])[0], len(maps), self.heads)
        return mixed, ops.transpose(ops.broadcast_to(weights, shape), (0, 2, 1))

    def _weights(self, maps, descriptors):
        """Softmax over the sources, `(batch or 1, maps, heads)`."""
        wide = full_precision(self.dtype_policy).compute_dtype
        count = len(maps)
        if self.mixing_weights == "equal" or count == 1:
            return ops.full((1, count, self.heads), 1 / count, dtype=wide)
        log_prior = np.log(self._prior_of(count))[None, :, None]
        logits = ops.transpose(self.prior_bias)[None] + ops.cast(log_prior, wide)
        if self.mixing_weights == "attention":
            if descriptors is None:
                descriptors = [self.descriptor(source) for source in maps]
            # Keras casts what a layer is given; TensorFlow multiplies no two dtypes.
            descriptors = [ops.cast(descriptor, wide) for descriptor in descriptors]
            channels = descriptors[-1].shape[-1]
            query = ops.reshape(self.query(descriptors[-1]), (-1, 1, channels))
            # All keys at once: PyTorch pays for every single operation.
            products = ops.stack(descriptors, axis=1) * query
            by_head = (-1, count, self.heads, channels // self.heads)
            products = ops.sum(ops.reshape(products, by_head), axis=-1)
            logits = logits + products * by_head[-1] ** -0.5
        return ops.softmax(logits, axis=1)

    def _prior_of(self, count: int) -> np.ndarray:
        return np.ones(count) if self.prior is None else np.array(self.prior)

    def _weighted_sum(self, maps, weights):
        last = self.data_format == "channels_last"
        channels = maps[-1].shape[self._channel_axis]
        images, count = weights.shape[0], len(maps)
        scaled = weights * float(self._prior_of(count).sum())
        # Every channel gets the weight of its head.
        shape = (count, self.heads, channels // self.heads)
        lead = 1 if images == 1 else ops.shape(weights)[0]
        per_channel = ops.broadcast_to(scaled[..., None], (lead, *shape))
        per_channel = ops.reshape(
            ops.cast(per_channel, self.compute_dtype),
            (-1, count, 1, 1, channels) if last else (-1, count, channels, 1, 1),
        )
        by_source = ops.unstack(per_channel, count, axis=1)
        mixed = maps[0] * by_source[0]
        for source, weight in zip(maps[1:], by_source[1:], strict=True):
            mixed = mixed + source * weight
        return mixed

    def compute_output_spec(
        self, maps, descriptors=None, training=None, return_weights=False
    ):
        mixed = keras.KerasTensor(maps[-1].shape, dtype=self.compute_dtype)
        if not return_weights:
            return mixed
        weights = keras.KerasTensor(
            (maps[-1].shape[0], self.heads, len(maps)),
            dtype=full_precision(self.dtype_policy).compute_dtype,
        )
        return mixed, weights

    def get_config(self):
        return {
            **super().get_config(),
            "heads": self.heads,
            "weights": self.mixing_weights,
            "prior": self.prior,
            "pool_sizes": self.pool_sizes,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_gradattn")
class _Alignment(keras.layers.Layer):
    """Average pooling, a 1x1 convolution and batch normalisation of one source.

    The shortcut of ResNet-D (He et al. 2019, section 4.1). A window that the map's end
    cuts short averages what there is.
    """

    def __init__(self, filters, pool_size, data_format, **kwargs):
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

    def build(self, input_shape):
        self.convolution.build(input_shape)
        self.normalization.build(self.convolution.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs, training=None):
        pooled = average_pool(inputs, self.pool_size, self.data_format)
        return self.normalization(self.convolution(pooled), training=training)


def average_pool(inputs, size: int, data_format: str):
    """Average pooling without overlap whose last windows may be cut short.

    Keras' `padding="same"` does so too, but on PyTorch it counts repeated border pixels
    in windows above two.

    Args:
        inputs: Map `(batch, height, width, channels)`.
        size: Window and stride, pixels.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Map `(batch, ceil(height / size), ceil(width / size), channels)`.
    """
    if size == 1:
        return inputs
    last = data_format == "channels_last"
    known = inputs.shape[1:3] if last else inputs.shape[2:4]

    def pool(maps):
        return ops.average_pool(maps, size, size, "valid", data_format)

    if all(isinstance(pixels, int) and pixels % size == 0 for pixels in known):
        return pool(inputs)
    # Enough for any size: whole windows of padding are never begun.
    around = [(0, size - 1)] * 2
    pads = [(0, 0), *around, (0, 0)] if last else [(0, 0), (0, 0), *around]
    inside = ops.ones_like(inputs[:1, :, :, :1] if last else inputs[:1, :1])
    return pool(ops.pad(inputs, pads)) / pool(ops.pad(inside, pads))


def check_weights(weights: str) -> None:
    """Refuse a kind of mixing weights that does not exist.

    Args:
        weights: One of `WEIGHTS`.

    Raises:
        ValueError: If it is none of them.
    """
    if weights not in WEIGHTS:
        raise ValueError(
            f"`weights` must be one of {WEIGHTS}. Received: weights={weights!r}"
        )


def check_mixing_heads(channels: int, heads: int) -> None:
    """Refuse channels that the heads cannot share.

    Args:
        channels: Of the map that is mixed.
        heads: Number of groups.

    Raises:
        ValueError: If `channels` is not divisible by `heads`.
    """
    if channels % heads:
        raise ValueError(
            "The channels must be divisible by `heads`. "
            f"Received: channels={channels}, heads={heads}"
        )


def _checked_prior(prior):
    if prior is None:
        return None
    if isinstance(prior, str | Real) or not all(
        isinstance(value, Real) and 0 < value < float("inf") for value in prior
    ):
        raise ValueError(
            "`prior` must be positive numbers, the weight of each source at the start. "
            f"Received: prior={prior!r}"
        )
    return [float(value) for value in prior]


def _checked_pool_sizes(pool_sizes):
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
