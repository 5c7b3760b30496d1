"""Average pooling whose last windows may be cut short."""

from typing import Any

import keras
from keras import ops


def average_pool(inputs: Any, size: int, data_format: str) -> Any:
    """Average pooling without overlap whose last windows may be cut short.

    Keras' `padding="same"` does so too, but on PyTorch it counts repeated border pixels
    in windows above two, and a map that it has padded loses its memory layout.

    Args:
        inputs: Map `(batch, height, width, channels)`.
        size: Window and stride, pixels.
        data_format: `"channels_last"` or `"channels_first"`.

    Returns:
        Map `(batch, ceil(height / size), ceil(width / size), channels)`.
    """
    inputs = ops.convert_to_tensor(inputs)
    if size == 1:
        return inputs
    if keras.backend.backend() == "torch":
        return _pool_on_torch(inputs, size, data_format)
    last = data_format == "channels_last"
    known = inputs.shape[1:3] if last else inputs.shape[2:4]

    def pool(maps: Any) -> Any:
        return ops.average_pool(maps, size, size, "valid", data_format)

    if all(isinstance(pixels, int) and pixels % size == 0 for pixels in known):
        return pool(inputs)
    # Enough for any size: whole windows of padding are never begun.
    around = [(0, size - 1)] * 2
    pads = [(0, 0), *around, (0, 0)] if last else [(0, 0), (0, 0), *around]
    inside = ops.ones_like(inputs[:1, :, :, :1] if last else inputs[:1, :1])
    return pool(ops.pad(inputs, pads)) / pool(ops.pad(inside, pads))


def _pool_on_torch(inputs: Any, size: int, data_format: str) -> Any:
    """With PyTorch's own rule for windows that the end cuts short.

    Behind it a map is still channels last, and so is its gradient: otherwise every
    normalisation before it copies both.
    """
    import torch

    axis = -1 if data_format == "channels_last" else 1
    pooled = torch.nn.functional.avg_pool2d(
        torch.movedim(inputs, axis, 1),
        size,
        ceil_mode=True,
        count_include_pad=False,
    )
    return torch.movedim(pooled, 1, axis)


@keras.saving.register_keras_serializable(package="keras_gradattn")
class AveragePooling(keras.layers.Layer):
    """`average_pool` as a layer.

    Args:
        size: Window and stride, pixels.
        data_format: `"channels_last"` or `"channels_first"`.
        **kwargs: Base layer arguments such as `name` and `dtype`.
    """

    def __init__(self, size: int, data_format: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size
        self.data_format = data_format

    def call(self, inputs: Any) -> Any:
        return average_pool(inputs, self.size, self.data_format)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        return tuple(
            -(-pixels // self.size) if axis in axes and pixels is not None else pixels
            for axis, pixels in enumerate(input_shape)
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "data_format": self.data_format,
        }
