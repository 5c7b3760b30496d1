"""The GradAttn head: a transformer over features of several depths."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_gradattn.layers._arguments import (
    check_mixing,
    check_positive_integers,
    checked_data_format,
)
from keras_gradattn.layers.depth_tokens import DepthTokens
from keras_gradattn.layers.encoder_block import EncoderBlock
from keras_gradattn.layers.learnable_positions import LearnablePositions
from keras_gradattn.layers.linear import Linear, full_precision
from keras_gradattn.layers.multi_head_self_attention import (
    check_dropout,
    check_heads,
)

POSITIONS = ("none", "learnable", "rotary")


@keras.saving.register_keras_serializable(package="keras_gradattn")
class GradAttnHead(keras.layers.Layer):
    """Classify from features of several depths, weighed by attention.

    Each feature map becomes a token. The tokens go through encoder blocks, which
    normalise after each sum. The mean of the tokens goes to a linear classifier
    (GradAttn, Ghoshal & Buckchash 2026).

    Args:
        num_classes: Number of classes, a positive integer.
        positions: `"none"` (the published V1), `"learnable"` (V2, the default) or
            `"rotary"` (V3).
        width: Length of a token. Defaults to 256.
        num_heads: Attention heads; must divide `width`. Defaults to 8.
        feed_forward: Width of the blocks' hidden layer. Defaults to 512.
        num_layers: Number of encoder blocks. Defaults to 3.
        dropout: Rate of all dropouts. Defaults to 0.1.
        classifier_activation: `"softmax"` (the default), another activation, or `None`
            for logits.
        mixing: `"attention"` (the default), or a control whose weights of depths do not
            depend on the image: `"static"` (learned) or `"equal"` (a plain mean).
        identical_blocks: Whether all blocks start with the first one's weights, a quirk
            of PyTorch's `nn.TransformerEncoder`. Defaults to `False`.
        data_format: `"channels_last"` or `"channels_first"` for the maps; `None` (the
            default) is Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: a list of feature maps `(batch, height, width, channels)` to
        `(batch, num_classes)`; with `return_weights=True` in the call also a list of
        one `(batch, heads, maps, maps)` per block.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> maps = [keras.Input((8, 8, 64)), keras.Input((4, 4, 128))]
    >>> keras_gradattn.layers.GradAttnHead(num_classes=10)(maps).shape
    (None, 10)
    """

    def __init__(
        self,
        num_classes: int,
        *,
        positions: str = "learnable",
        width: int = 256,
        num_heads: int = 8,
        feed_forward: int = 512,
        num_layers: int = 3,
        dropout: float = 0.1,
        classifier_activation: Any = "softmax",
        mixing: str = "attention",
        identical_blocks: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_head_arguments(
            num_classes=num_classes,
            positions=positions,
            width=width,
            num_heads=num_heads,
            feed_forward=feed_forward,
            num_layers=num_layers,
            dropout=dropout,
            mixing=mixing,
        )
        super().__init__(**kwargs)
        self.num_classes = int(num_classes)
        self.positions = positions
        self.width = width
        self.num_heads = num_heads
        self.feed_forward = feed_forward
        self.num_layers = num_layers
        self.dropout = dropout
        self.classifier_activation = keras.activations.get(classifier_activation)
        self.mixing = mixing
        self.identical_blocks = identical_blocks
        self.data_format = checked_data_format(data_format)

        dtype = self.dtype_policy
        self.tokens = DepthTokens(width, self.data_format, dtype=dtype, name="tokens")
        self.learnable_positions = (
            LearnablePositions(dtype=dtype, name="learnable_positions")
            if positions == "learnable"
            else None
        )
        self.blocks = [
            EncoderBlock(
                num_heads,
                feed_forward,
                dropout=dropout,
                rotary=positions == "rotary",
                mixing=mixing,
                dtype=dtype,
                name=f"block{index + 1}",
            )
            for index in range(num_layers)
        ]
        self.classifier = Linear(
            self.num_classes,
            activation=self.classifier_activation,
            dtype=full_precision(dtype),
            name="classifier",
        )

    def build(self, input_shape: Any) -> None:
        self.tokens.build(input_shape)
        token_shape = self.tokens.compute_output_shape(input_shape)
        if self.learnable_positions is not None:
            self.learnable_positions.build(token_shape)
        for block in self.blocks:
            block.build(token_shape)
        if self.identical_blocks:
            for block in self.blocks[1:]:
                for target, source in zip(
                    block.weights, self.blocks[0].weights, strict=True
                ):
                    # Dropout's seeds stay apart, or all blocks would drop alike.
                    if "seed_generator" not in target.path:
                        # A copy: JAX gives the memory of what it trains away.
                        target.assign(ops.copy(source))
        self.classifier.build((token_shape[0], self.width))
        self.built = True

    def call(
        self,
        features: Sequence[Any],
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        tokens = self.tokens(features)
        if self.learnable_positions is not None:
            tokens = self.learnable_positions(tokens)
        attention_by_block = []
        for block in self.blocks:
            tokens, attention = block(tokens, training=training, return_weights=True)
            attention_by_block.append(attention)
        outputs = self.classifier(ops.mean(tokens, axis=1))
        return (outputs, attention_by_block) if return_weights else outputs

    def compute_output_spec(
        self,
        features: Sequence[Any],
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        batch, maps = features[0].shape[0], len(features)
        outputs = keras.KerasTensor(
            (batch, self.num_classes), dtype=self.classifier.compute_dtype
        )
        if not return_weights:
            return outputs
        attention = [
            keras.KerasTensor(
                (batch, self.num_heads, maps, maps), dtype=self.compute_dtype
            )
            for _ in self.blocks
        ]
        return outputs, attention

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "positions": self.positions,
            "width": self.width,
            "num_heads": self.num_heads,
            "feed_forward": self.feed_forward,
            "num_layers": self.num_layers,
            "dropout": self.dropout,
            "classifier_activation": keras.activations.serialize(
                self.classifier_activation
            ),
            "mixing": self.mixing,
            "identical_blocks": self.identical_blocks,
            "data_format": self.data_format,
        }


def check_head_arguments(
    *,
    num_classes: int,
    positions: str,
    width: int,
    num_heads: int,
    feed_forward: int,
    num_layers: int,
    dropout: float,
    mixing: str = "attention",
) -> None:
    """Refuse arguments of a GradAttn head before anything is built.

    Raises:
        ValueError: Saying what was received and what is allowed.
    """
    check_positive_integers(
        num_classes=num_classes,
        width=width,
        num_heads=num_heads,
        feed_forward=feed_forward,
        num_layers=num_layers,
    )
    if positions not in POSITIONS:
        raise ValueError(
            f"`positions` must be one of {POSITIONS}. Received: positions={positions!r}"
        )
    check_dropout(dropout)
    check_mixing(mixing)
    check_heads(width, num_heads, rotary=positions == "rotary")
