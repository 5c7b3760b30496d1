"""Post-norm transformer encoder block."""

from typing import Any

import keras

from keras_gradattn.layers._arguments import check_positive_integers
from keras_gradattn.layers.linear import Linear
from keras_gradattn.layers.multi_head_self_attention import MultiHeadSelfAttention


@keras.saving.register_keras_serializable(package="keras_gradattn")
class EncoderBlock(keras.layers.Layer):
    """Transformer encoder block that normalises after each sum.

    `y = norm(x + attention(x))`, `z = norm(y + feed_forward(y))` (Vaswani et al. 2017,
    section 3.1), with dropout on the attention weights, after attention, inside and
    after the feed-forward: `torch.nn.TransformerEncoderLayer` with its defaults.

    Args:
        num_heads: Number of attention heads.
        feed_forward: Width of the feed-forward's hidden layer.
        dropout: Rate of all four dropouts. Defaults to 0.1.
        rotary: Whether attention uses rotary positions. Defaults to `False`.
        epsilon: Of both layer normalisations. Defaults to 1e-5.
        mixing: `"attention"` (the default), `"static"` or `"equal"`; see
            `MultiHeadSelfAttention`.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, tokens, width)` to the same shape; with
        `return_weights=True` in the call also `(batch, heads, tokens, tokens)`.

    Raises:
        ValueError: If the width cannot be shared by the heads.

    Example:

    >>> tokens = keras.Input((5, 256))
    >>> keras_gradattn.layers.EncoderBlock(num_heads=8, feed_forward=512)(tokens).shape
    (None, 5, 256)
    """

    def __init__(
        self,
        num_heads: int,
        feed_forward: int,
        *,
        dropout: float = 0.1,
        rotary: bool = False,
        epsilon: float = 1e-5,
        mixing: str = "attention",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_positive_integers(feed_forward=feed_forward)
        self.num_heads = num_heads
        self.feed_forward = feed_forward
        self.dropout = dropout
        self.rotary = rotary
        self.epsilon = epsilon
        self.mixing = mixing
        dtype = self.dtype_policy
        self.attention = MultiHeadSelfAttention(
            num_heads,
            rotary=rotary,
            dropout=dropout,
            mixing=mixing,
            dtype=dtype,
            name="attention",
        )
        self.expansion = Linear(feed_forward, dtype=dtype, name="expansion")
        self.activation = keras.layers.ReLU(dtype=dtype, name="relu")
        self.attention_normalization = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=dtype, name="attention_normalization"
        )
        self.feed_forward_normalization = keras.layers.LayerNormalization(
            epsilon=epsilon, dtype=dtype, name="feed_forward_normalization"
        )
        self.after_attention = keras.layers.Dropout(
            dropout, dtype=dtype, name="dropout_after_attention"
        )
        self.inside_feed_forward = keras.layers.Dropout(
            dropout, dtype=dtype, name="dropout_inside_feed_forward"
        )
        self.after_feed_forward = keras.layers.Dropout(
            dropout, dtype=dtype, name="dropout_after_feed_forward"
        )
        self.input_spec = keras.layers.InputSpec(ndim=3)

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        hidden_shape = (*input_shape[:-1], self.feed_forward)
        self.attention.build(input_shape)
        self.attention_normalization.build(input_shape)
        self.expansion.build(input_shape)
        self.contraction = Linear(width, dtype=self.dtype_policy, name="contraction")
        self.contraction.build(hidden_shape)
        self.feed_forward_normalization.build(input_shape)
        self.built = True

    def call(
        self, tokens: Any, training: bool | None = None, return_weights: bool = False
    ) -> Any:
        attended, attention = self.attention(
            tokens, training=training, return_weights=True
        )
        attended = self.after_attention(attended, training=training)
        tokens = self.attention_normalization(tokens + attended)
        hidden = self.activation(self.expansion(tokens))
        hidden = self.inside_feed_forward(hidden, training=training)
        hidden = self.after_feed_forward(self.contraction(hidden), training=training)
        tokens = self.feed_forward_normalization(tokens + hidden)
        return (tokens, attention) if return_weights else tokens

    def compute_output_spec(
        self, tokens: Any, training: bool | None = None, return_weights: bool = False
    ) -> Any:
        return self.attention.compute_output_spec(tokens, return_weights=return_weights)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "feed_forward": self.feed_forward,
            "dropout": self.dropout,
            "rotary": self.rotary,
            "epsilon": self.epsilon,
            "mixing": self.mixing,
        }
