"""Feature maps of several depths as tokens of one sequence."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_gradattn.layers._arguments import (
    check_positive_integers,
    checked_data_format,
)
from keras_gradattn.layers.linear import Linear


@keras.saving.register_keras_serializable(package="keras_gradattn")
class DepthTokens(keras.layers.Layer):
    """Turn a list of feature maps into one token each.

    Every map is averaged over its positions and mapped by a linear layer of its own to
    `width`: GradAttn's multi-scale feature extraction (Ghoshal & Buckchash 2026).

    Args:
        width: Length of a token.
        data_format: `"channels_last"` or `"channels_first"` for the maps; `None` (the
            default) is Keras' global setting. Sequences `(batch, positions, channels)`
            and vectors `(batch, channels)` are taken as well.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: a list of maps `(batch, height, width, channels)`, each of any size
        and channels, to `(batch, maps, width)`.

    Raises:
        ValueError: If called with anything but a non-empty list.

    Example:

    >>> maps = [keras.Input((8, 8, 64)), keras.Input((4, 4, 128))]
    >>> keras_gradattn.layers.DepthTokens(256)(maps).shape
    (None, 2, 256)
    """

    def __init__(self, width: int, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        check_positive_integers(width=width)
        self.width = int(width)
        self.data_format = checked_data_format(data_format)
        self.projections: list[Linear] = []

    def build(self, input_shape: Sequence[tuple[int | None, ...]]) -> None:
        if not _is_list_of_shapes(input_shape):
            raise ValueError(
                "`DepthTokens` takes a non-empty list of feature maps. "
                f"Received: input_shape={input_shape}"
            )
        for index, shape in enumerate(input_shape):
            projection = Linear(
                self.width, dtype=self.dtype_policy, name=f"projection{index}"
            )
            projection.build((shape[0], shape[self._channel_axis(len(shape))]))
            self.projections.append(projection)
        self.built = True

    def _channel_axis(self, rank: int) -> int:
        first = rank == 4 and self.data_format == "channels_first"
        return 1 if first else rank - 1

    def call(self, inputs: Sequence[Any]) -> Any:
        tokens = []
        for features, projection in zip(inputs, self.projections, strict=True):
            rank = len(features.shape)
            channel_axis = self._channel_axis(rank)
            positions = [axis for axis in range(1, rank) if axis != channel_axis]
            pooled = ops.mean(features, axis=positions) if positions else features
            tokens.append(projection(pooled))
        return ops.stack(tokens, axis=1)

    def compute_output_shape(
        self, input_shape: Sequence[tuple[int | None, ...]]
    ) -> tuple[int | None, ...]:
        return (input_shape[0][0], len(input_shape), self.width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "width": self.width,
            "data_format": self.data_format,
        }


def _is_list_of_shapes(shape: Sequence[Any]) -> bool:
    return len(shape) > 0 and all(isinstance(entry, list | tuple) for entry in shape)
