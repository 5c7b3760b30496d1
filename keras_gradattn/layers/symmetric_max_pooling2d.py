"""Max-pooling with PyTorch's symmetric padding."""

from typing import Any

import keras
from keras import ops

from keras_gradattn import config
from keras_gradattn._kernels.max_pooling import max_pool_on_torch
from keras_gradattn.layers._arguments import (
    check_positive_integers,
    checked_data_format,
)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class SymmetricMaxPooling2D(keras.layers.Layer):
    """2-D max-pooling that pads both sides alike, as PyTorch does.

    Padding never wins: it is minus infinity.

    Args:
        pool_size: Window, pixels. Defaults to 3.
        strides: Step, pixels. Defaults to 2.
        padding: Pixels on each side, at most half the window. Defaults to 1.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, height, width, channels)` to `(batch, (height + 2 * padding
        - pool_size) // strides + 1, ..., channels)`, or the channels-first equivalent.

    Raises:
        ValueError: If `padding` exceeds half the window.

    Example:

    >>> maps = keras.Input((14, 14, 64))
    >>> keras_gradattn.layers.SymmetricMaxPooling2D()(maps).shape
    (None, 7, 7, 64)
    """

    def __init__(
        self,
        pool_size: int = 3,
        strides: int = 2,
        padding: int = 1,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive_integers(pool_size=pool_size, strides=strides)
        if not 0 <= padding <= pool_size // 2:
            raise ValueError(
                "`padding` must be between 0 and half of `pool_size`. "
                f"Received: padding={padding}, pool_size={pool_size}"
            )
        self.pool_size = pool_size
        self.strides = strides
        self.padding = padding
        self.data_format = checked_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        last = self.data_format == "channels_last"
        if keras.backend.backend() == "torch" and config.uses_kernel("memory_layout"):
            return max_pool_on_torch(
                inputs, self.pool_size, self.strides, self.padding, -1 if last else 1
            )
        around = [(self.padding, self.padding)] * 2
        pads = [(0, 0), *around, (0, 0)] if last else [(0, 0), (0, 0), *around]
        if self.padding:
            inputs = ops.pad(inputs, pads, constant_values=float("-inf"))
        pooled = self._pool(inputs)
        if keras.backend.backend() == "tensorflow":
            # Its pooling makes the lowest number of what is not a number, and training
            # would go on as if nothing had happened.
            not_a_number = self._pool(ops.cast(ops.isnan(inputs), inputs.dtype))
            pooled = ops.where(not_a_number > 0, float("nan"), pooled)
        return pooled

    def _pool(self, inputs: Any) -> Any:
        return ops.max_pool(
            inputs, self.pool_size, self.strides, "valid", self.data_format
        )

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        def pooled(pixels: int | None) -> int | None:
            if pixels is None:
                return None
            return (pixels + 2 * self.padding - self.pool_size) // self.strides + 1

        if self.data_format == "channels_last":
            batch, height, width, channels = input_shape
            return (batch, pooled(height), pooled(width), channels)
        batch, channels, height, width = input_shape
        return (batch, channels, pooled(height), pooled(width))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": self.pool_size,
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
        }
