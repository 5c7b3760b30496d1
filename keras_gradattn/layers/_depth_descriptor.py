"""What a feature map shows on average, as one vector of unit size."""

from typing import Any

import keras
from keras import ops

from keras_gradattn.layers._arguments import checked_data_format
from keras_gradattn.layers.linear import full_precision

# Far below the mean square of any map that carries something.
_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_gradattn")
class DepthDescriptor(keras.layers.Layer):
    """Average a feature map over its positions and divide by the RMS over channels.

    `d = m / sqrt(mean(m^2) + 1e-6)` with `m` the mean over positions (RMSNorm without a
    gain, Zhang & Sennrich 2019, equation 4). Computed in float32 or wider, because the
    mean of a large map overflows in float16.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, height, width, channels)` to `(batch, channels)`.

    Example:

    >>> DepthDescriptor()(keras.Input((8, 8, 64))).shape
    (None, 64)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs: Any) -> Any:
        axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
        wide = full_precision(self.dtype_policy).compute_dtype
        # Sums, because Keras averages float64 in float32 on JAX and PyTorch.
        shape = ops.shape(inputs)
        positions = shape[axes[0]] * shape[axes[1]]
        means = ops.sum(ops.cast(inputs, wide), axis=axes) / ops.cast(positions, wide)
        return unit_rms(means)

    def compute_output_spec(self, inputs: Any) -> Any:
        channels = inputs.shape[-1 if self.data_format == "channels_last" else 1]
        return keras.KerasTensor(
            (inputs.shape[0], channels),
            dtype=full_precision(self.dtype_policy).compute_dtype,
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


def unit_rms(vectors: Any) -> Any:
    """Divide vectors by the RMS over their last axis: RMSNorm without a gain.

    Args:
        vectors: `(..., channels)`, of 32 bits or more.

    Returns:
        The same shape, `v / sqrt(mean(v^2) + 1e-6)`.
    """
    # A sum, because Keras averages float64 in float32 on JAX and PyTorch.
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True) / vectors.shape[-1]
    return vectors * ops.rsqrt(squares + _EPSILON)
