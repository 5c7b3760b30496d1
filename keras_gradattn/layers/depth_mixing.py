"""Attention over depth as the shortcut: a weighted sum of earlier feature maps."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gradattn.layers._arguments import (
    check_positive_integers,
    checked_data_format,
    is_positive_integer,
)
from keras_gradattn.layers._average_pooling import average_pool
from keras_gradattn.layers._depth_descriptor import DepthDescriptor, unit_rms
from keras_gradattn.layers.batch_normalization import BatchNormalization
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.layers.symmetric_conv2d import SymmetricConv2D

WEIGHTS = ("attention", "static", "prior", "equal")
QUERIES = ("map", "pixels", "learned")
GATES = ("softmax", "sigmoid")
# Beside any other logit nothing; unlike infinity it can be subtracted from itself.
_NEVER = -1e9


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
    follows the image, while their sum stays `P` (or one, with `normalized=True`).

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
            learned, the same for every image), `"prior"` (`a_gi = p_i / P`) or
            `"equal"` (`a_gi = 1 / n`); the last two learn nothing.
        query: What asks. `"map"` (the default): the current map's descriptor, as
            above. `"pixels"`: `q = W h_n + v` at each position, with `h_n` divided by
            its RMS over channels there, so that each position has weights of its own.
            `"learned"`: `q = v` alone, as in Attention Residuals.
        gate: `"softmax"` (the default) or `"sigmoid"`: `a_gi = p_i / P * 2 sigmoid(b_gi
            + q_g . k_gi / sqrt(channels / heads))`, where sources do not compete and
            the weights' sum is free. It starts at the same weights.
        top_k: Only the `top_k` largest logits of each head take part in the softmax,
            those that tie with the last included. `None` (the default) is all.
        logit_cap: Bound `c` of what is learned of a logit `l = b + q.k / ...`, which
            becomes `c tanh(l / c)` (Gemma Team 2024, arXiv:2408.00118, section 2), so
            that no source is ever shut off. `None` (the default) bounds nothing.
        normalized: Whether to leave `P` out: `x` is then a weighted average of the maps
            and no larger than they are. Defaults to `False`.
        source_dropout: Rate at which, in training, a source is left out for an image:
            the softmax is taken over the others, sigmoids are divided by `1 - rate`.
            Where every source would go all stay. Stochastic depth (Huang et al. 2016)
            on every path. Defaults to 0.
        seed: Seed of `source_dropout`. `None` (the default) draws one.
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
        also `a`, `(batch, heads, maps)`, whose rows sum to one (of sigmoid
        gates: at the start), averaged over positions. `descriptors=[...]` in
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
        query: str = "map",
        gate: str = "softmax",
        top_k: int | None = None,
        logit_cap: float | None = None,
        normalized: bool = False,
        source_dropout: float = 0.0,
        seed: int | None = None,
        prior: Sequence[float] | None = None,
        pool_sizes: Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive_integers(heads=heads)
        check_mixing(weights, query, gate, top_k, logit_cap, source_dropout)
        self.heads = int(heads)
        self.mixing_weights = weights
        self.query_of = query
        self.gate = gate
        self.top_k = top_k
        self.logit_cap = None if logit_cap is None else float(logit_cap)
        self.normalized = bool(normalized)
        self.source_dropout = float(source_dropout)
        self.seed = seed
        if self.source_dropout:
            self.seed_generator = keras.random.SeedGenerator(seed)
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
        if self.mixing_weights in ("attention", "static"):
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
            if self.query_of == "learned":
                self.query_vector = self.add_weight(
                    name="query",
                    shape=(channels,),
                    initializer="zeros",
                    dtype=wide.variable_dtype,
                    autocast=False,
                )
            else:
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
        weights = self._weights(maps, descriptors, training)
        mixed = self._weighted_sum(maps, weights)
        if not return_weights:
            return mixed
        if len(weights.shape) == 5:
            weights = ops.mean(weights, axis=(2, 3))
        # Of one image or for all: `(batch, maps, heads)` either way.
        shape = (ops.shape(maps[0])[0], len(maps), self.heads)
        return mixed, ops.transpose(ops.broadcast_to(weights, shape), (0, 2, 1))

    def _weights(self, maps, descriptors, training):
        """Weight of every source, `(batch or 1, maps[, height, width], heads)`."""
        wide = full_precision(self.dtype_policy).compute_dtype
        count = len(maps)
        if count == 1:
            return ops.ones((1, 1, self.heads), dtype=wide)
        prior = self._prior_of(count)
        if self.mixing_weights in ("prior", "equal"):
            logits = ops.zeros((1, count, self.heads), dtype=wide)
        else:
            logits = ops.transpose(self.prior_bias)[None]
        if self.mixing_weights == "attention":
            products = self._products(maps, descriptors, wide)
            if len(products.shape) == 5:
                logits = logits[:, :, None, None]
            logits = logits + products
        if self.logit_cap is not None:
            logits = self.logit_cap * ops.tanh(logits / self.logit_cap)
        lead = (1, count, *[1] * (len(logits.shape) - 2))
        kept = self._kept(maps, lead, training)
        if self.mixing_weights != "equal" and self.gate == "sigmoid":
            scale = ops.cast((2 * prior / prior.sum()).reshape(lead), wide)
            weights = scale * ops.sigmoid(logits)
            if kept is None:
                return weights
            return weights * ops.cast(kept, wide) / (1 - self.source_dropout)
        if self.mixing_weights != "equal":
            logits = logits + ops.cast(np.log(prior).reshape(lead), wide)
        if kept is not None:
            logits = ops.where(kept, logits, ops.cast(_NEVER, wide))
        if self.top_k is not None and self.top_k < count:
            least = ops.sort(ops.stop_gradient(logits), axis=1)[:, count - self.top_k]
            chosen = logits >= ops.expand_dims(least, 1)
            logits = ops.where(chosen, logits, ops.cast(_NEVER, wide))
        return ops.softmax(logits, axis=1)

    def _products(self, maps, descriptors, wide):
        """Query times key of every source, `(batch, maps[, height, width], heads)`."""
        count = len(maps)
        if descriptors is None:
            descriptors = [self.descriptor(source) for source in maps]
        # Keras casts what a layer is given; TensorFlow multiplies no two dtypes.
        descriptors = [ops.cast(descriptor, wide) for descriptor in descriptors]
        # All keys at once: PyTorch pays for every single operation.
        keys = ops.stack(descriptors, axis=1)
        channels = descriptors[-1].shape[-1]
        per_head = channels // self.heads
        if self.query_of == "pixels":
            return self._products_by_pixel(maps[-1], keys, wide)
        if self.query_of == "learned":
            query = ops.reshape(self.query_vector, (1, 1, channels))
        else:
            query = ops.reshape(self.query(descriptors[-1]), (-1, 1, channels))
        by_head = ops.reshape(keys * query, (-1, count, self.heads, per_head))
        return ops.sum(by_head, axis=-1) * per_head**-0.5

    def _products_by_pixel(self, current, keys, wide):
        current = ops.cast(current, wide)
        if self.data_format == "channels_first":
            current = ops.transpose(current, (0, 2, 3, 1))
        _, height, width, channels = ops.shape(current)
        query = self.query(unit_rms(current))
        per_head = channels // self.heads
        query = ops.reshape(query, (-1, height * width, self.heads, per_head))
        keys = ops.reshape(keys, (-1, keys.shape[1], self.heads, per_head))
        products = ops.matmul(
            ops.transpose(keys, (0, 2, 1, 3)), ops.transpose(query, (0, 2, 3, 1))
        )  # (batch, heads, maps, positions)
        products = ops.reshape(products, (-1, self.heads, keys.shape[1], height, width))
        return ops.transpose(products, (0, 2, 3, 4, 1)) * per_head**-0.5

    def _kept(self, maps, lead, training):
        """Which sources an image keeps, or `None` for all of them."""
        if not (training and self.source_dropout):
            return None
        shape = (ops.shape(maps[0])[0], *lead[1:])
        drawn = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        kept = drawn >= self.source_dropout
        return ops.logical_or(kept, ops.logical_not(ops.any(kept, 1, keepdims=True)))

    def _prior_of(self, count: int) -> np.ndarray:
        return np.ones(count) if self.prior is None else np.array(self.prior)

    def bias_for(self, weights: np.ndarray) -> np.ndarray:
        """The `prior_bias` at which static weights are these.

        Args:
            weights: `(heads, maps)`, none negative, rows that sum to one (of sigmoid
                gates: any that their range of twice the prior's share holds).

        Returns:
            `(heads, maps)`.
        """
        prior = self._prior_of(weights.shape[-1])
        if self.gate == "softmax":
            # A softmax of logarithms gives back what sums to one.
            least = np.finfo("float32").tiny
            return np.log(np.maximum(weights, least)) - np.log(prior)
        share = np.clip(weights * prior.sum() / (2 * prior), 1e-7, 1 - 1e-7)
        return np.log(share / (1 - share))

    def _weighted_sum(self, maps, weights):
        last = self.data_format == "channels_last"
        channels = maps[-1].shape[self._channel_axis]
        count = len(maps)
        if not self.normalized:
            weights = weights * float(self._prior_of(count).sum())
        lead = 1 if weights.shape[0] == 1 else ops.shape(weights)[0]
        positions = tuple(ops.shape(weights)[2:4]) if len(weights.shape) == 5 else ()
        # Every channel gets the weight of its head.
        shape = (lead, count, *positions, self.heads, channels // self.heads)
        per_channel = ops.broadcast_to(weights[..., None], shape)
        height, width = positions or (1, 1)
        per_channel = ops.reshape(
            ops.cast(per_channel, self.compute_dtype),
            (-1, count, height, width, channels),
        )
        if not last:
            per_channel = ops.transpose(per_channel, (0, 1, 4, 2, 3))
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
            "query": self.query_of,
            "gate": self.gate,
            "top_k": self.top_k,
            "logit_cap": self.logit_cap,
            "normalized": self.normalized,
            "source_dropout": self.source_dropout,
            "seed": self.seed,
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


def check_mixing(
    weights: str,
    query: str,
    gate: str,
    top_k: int | None,
    logit_cap: float | None,
    source_dropout: float,
) -> None:
    """Refuse what mixing weights cannot be.

    Args:
        weights: One of `WEIGHTS`.
        query: One of `QUERIES`.
        gate: One of `GATES`.
        top_k: A positive integer or `None`; only with the softmax.
        logit_cap: A positive number or `None`.
        source_dropout: At least 0 and below 1.

    Raises:
        ValueError: If one of them is anything else.
    """
    for name, value, known in (
        ("weights", weights, WEIGHTS),
        ("query", query, QUERIES),
        ("gate", gate, GATES),
    ):
        if value not in known:
            raise ValueError(
                f"`{name}` must be one of {known}. Received: {name}={value!r}"
            )
    if top_k is not None:
        check_positive_integers(top_k=top_k)
        if gate != "softmax":
            raise ValueError(
                "`top_k` chooses among sources that compete, which those of sigmoid "
                f"gates do not. Received: top_k={top_k}, gate={gate!r}"
            )
    if logit_cap is not None and (
        not isinstance(logit_cap, Real) or not 0 < logit_cap < float("inf")
    ):
        raise ValueError(
            "`logit_cap` must be a positive number or None. "
            f"Received: logit_cap={logit_cap!r}"
        )
    if not isinstance(source_dropout, Real) or not 0 <= source_dropout < 1:
        raise ValueError(
            "`source_dropout` must be at least 0 and below 1. "
            f"Received: source_dropout={source_dropout!r}"
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
