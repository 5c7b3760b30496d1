"""Convolutional block attention: channels first, then positions."""

from typing import Any

import keras
from keras import ops

from keras_gradattn.layers._arguments import (
    check_positive_integers,
    checked_data_format,
)
from keras_gradattn.layers.squeeze_excite import bias_free_linear
from keras_gradattn.layers.symmetric_conv2d import SymmetricConv2D


@keras.saving.register_keras_serializable(package="keras_gradattn")
class CBAM(keras.layers.Layer):
    """Scale channels, then positions, by gates computed from means and maxima.

    Channel gate: `sigmoid(mlp(mean(x)) + mlp(max(x)))` over positions, one bias-free
    two-layer network for both; spatial gate: `sigmoid(conv([mean(x), max(x)]))` over
    channels, 7x7, bias-free (Woo et al. 2018, equations 2 and 3).

    Args:
        reduction: Channels per hidden unit of the shared network. Defaults to 16.
        kernel_size: Of the spatial convolution, odd. Defaults to 7.
        kernel_initializer: Of all three kernels; `None` (the default) is PyTorch's.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, height, width, channels)` to the same shape.

    Example:

    >>> maps = keras.Input((8, 8, 64))
    >>> keras_gradattn.layers.CBAM()(maps).shape
    (None, 8, 8, 64)
    """

    def __init__(
        self,
        reduction: int = 16,
        kernel_size: int = 7,
        kernel_initializer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive_integers(reduction=reduction)
        if kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd. Received: kernel_size={kernel_size}"
            )
        self.reduction = reduction
        self.kernel_size = kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.data_format = checked_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    @property
    def _channel_axis(self) -> int:
        return -1 if self.data_format == "channels_last" else 1

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[self._channel_axis]
        hidden = max(1, channels // self.reduction)
        self.squeeze = bias_free_linear(self, hidden, "squeeze", channels)
        self.excite = bias_free_linear(self, channels, "excite", hidden)
        given = self.kernel_initializer
        self.spatial = SymmetricConv2D(
            1,
            self.kernel_size,
            use_bias=False,
            kernel_initializer=given
            and given.__class__.from_config(given.get_config()),
            data_format=self.data_format,
            dtype=self.dtype_policy,
            name="spatial",
        )
        described = list(input_shape)
        described[self._channel_axis] = 2
        self.spatial.build(tuple(described))
        self.built = True

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_last":
            positions, shape = (1, 2), (-1, 1, 1, inputs.shape[-1])
        else:
            positions, shape = (2, 3), (-1, inputs.shape[1], 1, 1)
        mean = self.excite(ops.relu(self.squeeze(ops.mean(inputs, axis=positions))))
        most = self.excite(ops.relu(self.squeeze(self._peak_of_channels(inputs))))
        outputs = inputs * ops.reshape(ops.sigmoid(mean + most), shape)

        axis = self._channel_axis
        described = ops.concatenate(
            [
                ops.mean(outputs, axis=axis, keepdims=True),
                _peak(outputs, axis),
            ],
            axis=axis,
        )
        return outputs * ops.sigmoid(self.spatial(described))

    def _peak_of_channels(self, inputs: Any) -> Any:
        """Each channel's largest value, `(batch, channels)`."""
        if keras.backend.backend() == "torch":
            axes = (1, 2) if self.data_format == "channels_last" else (2, 3)
            return ops.max(inputs, axis=axes)
        if self.data_format == "channels_last":
            flat = ops.reshape(inputs, (ops.shape(inputs)[0], -1, inputs.shape[-1]))
            return ops.squeeze(_peak(flat, axis=1), axis=1)
        flat = ops.reshape(inputs, (ops.shape(inputs)[0], inputs.shape[1], -1))
        return ops.squeeze(_peak(flat, axis=2), axis=2)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "data_format": self.data_format,
        }


def _peak(values: Any, axis: int) -> Any:
    """Largest value along an axis, which is kept."""
    if keras.backend.backend() == "torch":
        return ops.max(values, axis=axis, keepdims=True)
    # The gradient of a maximum in JAX and TensorFlow looks for the elements that equal
    # it, and divides by their number. Where XLA computes the elements once more and
    # rounds them otherwise, it finds none, and the gradient is NaN. A mask made from a
    # place always has one.
    along = [1] * len(values.shape)
    along[axis] = -1
    size = ops.shape(values)[axis]
    places = ops.reshape(ops.arange(size, dtype="int32"), along)
    index = ops.expand_dims(_place_of_largest(values, axis), axis)
    chosen = ops.equal(places, ops.cast(index, "int32"))
    kept = ops.where(chosen, values, ops.zeros_like(values))
    return ops.sum(kept, axis=axis, keepdims=True)


def _place_of_largest(values: Any, axis: int) -> Any:
    if keras.backend.backend() != "tensorflow":
        return ops.argmax(values, axis=axis)
    import tensorflow as tf

    # Keras tells -0 from 0 bit by bit here, which cannot be exported to ONNX.
    return tf.argmax(values, axis=axis)
