"""Multi-head self-attention over a few tokens, with optional rotary positions."""

from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gradattn._kernels.matrix_product import matmul
from keras_gradattn.layers._arguments import check_mixing, check_positive_integers
from keras_gradattn.layers._initializers import Uniform
from keras_gradattn.layers.linear import Linear


@keras.saving.register_keras_serializable(package="keras_gradattn")
class MultiHeadSelfAttention(keras.layers.Layer):
    """Multi-head self-attention, plain or with rotary positions.

    Plain attention follows `torch.nn.MultiheadAttention`: biases everywhere, the three
    input projections drawn as one Xavier-uniform matrix (bound `sqrt(6 / (4 * width))`,
    biases zero). With `rotary=True` it follows the released GradAttn-V3: queries and
    keys are turned by their position (Su et al. 2021, equation 34, in half-split
    order), the three input projections have no bias, and all four start uniform within
    `1 / sqrt(width)`.

    Args:
        num_heads: Number of heads; the width must be divisible by it.
        rotary: Whether to turn queries and keys by their position. Defaults to `False`.
        dropout: Dropout rate on the attention weights. Defaults to 0.
        rotary_base: Base of the rotary frequencies. Defaults to 10000.
        mixing: What weighs the tokens: `"attention"` (the default), or one of two
            controls without queries and keys: `"static"` (learned weights that are the
            same for every input, equal at the start) or `"equal"` (a plain mean).
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, tokens, width)` to the same shape; with
        `return_weights=True` in the call also the attention weights
        `(batch, heads, tokens, tokens)`, rows summing to one.

    Raises:
        ValueError: If the width is not divisible by `num_heads`, or a head's width is
            odd and `rotary=True`, or `mixing` is unknown.

    Example:

    >>> tokens = keras.Input((5, 256))
    >>> keras_gradattn.layers.MultiHeadSelfAttention(8, rotary=True)(tokens).shape
    (None, 5, 256)
    """

    def __init__(
        self,
        num_heads: int,
        *,
        rotary: bool = False,
        dropout: float = 0.0,
        rotary_base: float = 10000.0,
        mixing: str = "attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_mixing(mixing)
        check_positive_integers(num_heads=num_heads)
        check_dropout(dropout)
        self.num_heads = num_heads
        self.rotary = rotary
        self.dropout = dropout
        self.rotary_base = rotary_base
        self.mixing = mixing
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape: Any) -> None:
        length, width = input_shape[1:]
        if (self.rotary or self.mixing == "static") and length is None:
            raise ValueError(
                "Rotary attention and static weights take a static number of tokens. "
                f"Received: input_shape={input_shape}"
            )
        check_heads(width, self.num_heads, self.rotary)
        if self.rotary:
            inward: dict[str, Any] = {"use_bias": False}
            outward: dict[str, Any] = {}
        else:
            bound = (6 / (4 * width)) ** 0.5
            inward = {"bias_initializer": "zeros"}
            outward = {"bias_initializer": "zeros"}

        def project(name: str, options: dict[str, Any]) -> Linear:
            layer = Linear(width, dtype=self.dtype_policy, name=name, **options)
            layer.build(input_shape)
            return layer

        def inward_options() -> dict[str, Any]:
            if self.rotary:
                return inward
            # A seedless initialiser repeats itself, so each projection has its own.
            drawn = Uniform(-bound, bound)
            return {**inward, "kernel_initializer": drawn}

        if self.mixing == "attention":
            self.query_projection = project("query", inward_options())
            self.key_projection = project("key", inward_options())
        elif self.mixing == "static":
            self.scores = self.add_weight(
                shape=(self.num_heads, length, length),
                initializer="zeros",
                name="scores",
            )
        self.value_projection = project("value", inward_options())
        self.output_projection = project("output", outward)
        self.attention_dropout = keras.layers.Dropout(
            self.dropout, dtype=self.dtype_policy, name="attention_dropout"
        )
        self.built = True

    def call(
        self, tokens: Any, training: bool | None = None, return_weights: bool = False
    ) -> Any:
        length, width = tokens.shape[1], tokens.shape[2]
        head_width = width // self.num_heads

        def heads(projected: Any) -> Any:
            # The width is static, the batch and perhaps the length are not.
            shape = (
                (-1, length, self.num_heads, head_width)
                if length is not None
                else (-1, ops.shape(tokens)[1], self.num_heads, head_width)
            )
            return ops.transpose(ops.reshape(projected, shape), (0, 2, 1, 3))

        value = heads(self.value_projection(tokens))
        if self.mixing == "attention":
            query = heads(self.query_projection(tokens))
            key = heads(self.key_projection(tokens))
            scores = self._scores(query, key)
        else:
            scores = self._scores_of_every_input(tokens)
        attention = ops.softmax(scores, axis=-1)
        mixed = matmul(self.attention_dropout(attention, training=training), value)
        mixed = ops.transpose(mixed, (0, 2, 1, 3))
        outputs = self.output_projection(ops.reshape(mixed, ops.shape(tokens)))
        return (outputs, attention) if return_weights else outputs

    def _scores(self, query: Any, key: Any) -> Any:
        length, head_width = query.shape[2:]
        if self.rotary:
            cosine, sine = rotary_angles(length, head_width, self.rotary_base)
            cosine = ops.convert_to_tensor(cosine, dtype=query.dtype)
            sine = ops.convert_to_tensor(sine, dtype=query.dtype)
            query = query * cosine + rotate_half(query) * sine
            key = key * cosine + rotate_half(key) * sine
        return matmul(query * head_width**-0.5, ops.transpose(key, (0, 1, 3, 2)))

    def _scores_of_every_input(self, tokens: Any) -> Any:
        batch, length = ops.shape(tokens)[:2]
        shape = (batch, self.num_heads, length, length)
        if self.mixing == "equal":
            return ops.zeros(shape, dtype=self.compute_dtype)
        scores = ops.convert_to_tensor(self.scores, dtype=self.compute_dtype)
        return ops.broadcast_to(scores, shape)

    def compute_output_spec(
        self, tokens: Any, training: bool | None = None, return_weights: bool = False
    ) -> Any:
        outputs = keras.KerasTensor(tokens.shape, dtype=self.compute_dtype)
        if not return_weights:
            return outputs
        batch, length, _ = tokens.shape
        attention = keras.KerasTensor(
            (batch, self.num_heads, length, length), dtype=self.compute_dtype
        )
        return outputs, attention

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "rotary": self.rotary,
            "dropout": self.dropout,
            "rotary_base": self.rotary_base,
            "mixing": self.mixing,
        }


def check_dropout(dropout: float) -> None:
    """Refuse a dropout rate outside of `[0, 1)`.

    Args:
        dropout: Share of values that are dropped.

    Raises:
        ValueError: If it is not a number of that range.
    """
    if not isinstance(dropout, Real) or not 0 <= dropout < 1:
        raise ValueError(
            f"`dropout` must be at least 0 and below 1. Received: dropout={dropout!r}"
        )


def check_heads(width: int, num_heads: int, rotary: bool) -> None:
    """Refuse a width that the heads cannot share.

    Args:
        width: Length of a token.
        num_heads: Number of heads.
        rotary: Whether heads are turned by position, which pairs their values.

    Raises:
        ValueError: If `width` is not divisible by `num_heads`, or the quotient is odd
            with `rotary`.
    """
    if width % num_heads:
        raise ValueError(
            "The token width must be divisible by `num_heads`. "
            f"Received: width={width}, num_heads={num_heads}"
        )
    if rotary and (width // num_heads) % 2:
        raise ValueError(
            "Rotary attention needs an even head width (width / num_heads). "
            f"Received: width={width}, num_heads={num_heads}"
        )


def rotary_angles(
    length: int, head_width: int, base: float
) -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of every position's rotation, each value's frequency twice.

    Args:
        length: Number of tokens; positions are 0 to `length - 1`.
        head_width: Values per head, even.
        base: Base of the frequencies `base ** (-2 i / head_width)`.

    Returns:
        Two float64 arrays `(length, head_width)`.
    """
    frequencies = base ** (-np.arange(0, head_width, 2) / head_width)
    angles = np.arange(length)[:, None] * np.tile(frequencies, 2)[None, :]
    return np.cos(angles), np.sin(angles)


def rotate_half(values: Any) -> Any:
    """Second half negated in front of the first half, along the last axis."""
    half = values.shape[-1] // 2
    return ops.concatenate([-values[..., half:], values[..., :half]], axis=-1)
