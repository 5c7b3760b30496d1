"""Squeeze-and-excitation: channels weighed by what the whole map shows."""

from typing import Any

import keras
from keras import ops

from keras_gradattn.layers._arguments import (
    check_positive_integers,
    checked_data_format,
)
from keras_gradattn.layers.linear import Linear


@keras.saving.register_keras_serializable(package="keras_gradattn")
class SqueezeExcite(keras.layers.Layer):
    """Scale each channel by a gate computed from all channels' means.

    `x * sigmoid(W2 relu(W1 mean(x)))` without biases (Hu et al. 2018, equations 2-4).

    Args:
        reduction: Channels per hidden unit. Defaults to 16; at least one unit is kept.
        kernel_initializer: Of both linear layers; `None` (the default) is PyTorch's.
        data_format: `"channels_last"` or `"channels_first"`; `None` (the default) is
            Keras' global setting.
        **kwargs: Base layer arguments such as `name` and `dtype`.

    Returns:
        As a layer: `(batch, height, width, channels)` to the same shape.

    Example:

    >>> maps = keras.Input((8, 8, 64))
    >>> keras_gradattn.layers.SqueezeExcite()(maps).shape
    (None, 8, 8, 64)
    """

    def __init__(
        self,
        reduction: int = 16,
        kernel_initializer: Any = None,
        data_format: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_positive_integers(reduction=reduction)
        self.reduction = reduction
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.data_format = checked_data_format(data_format)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1 if self.data_format == "channels_last" else 1]
        hidden = max(1, channels // self.reduction)
        self.squeeze = bias_free_linear(self, hidden, "squeeze", channels)
        self.excite = bias_free_linear(self, channels, "excite", hidden)
        self.built = True

    def call(self, inputs: Any) -> Any:
        if self.data_format == "channels_last":
            axes, shape = (1, 2), (-1, 1, 1, inputs.shape[-1])
        else:
            axes, shape = (2, 3), (-1, inputs.shape[1], 1, 1)
        hidden = ops.relu(self.squeeze(ops.mean(inputs, axis=axes)))
        gate = ops.sigmoid(self.excite(hidden))
        return inputs * ops.reshape(gate, shape)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction": self.reduction,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "data_format": self.data_format,
        }


def bias_free_linear(
    parent: keras.layers.Layer, units: int, name: str, inputs: int
) -> Linear:
    """A built linear layer without bias, of the parent's dtype and initialiser."""
    given = parent.kernel_initializer
    layer = Linear(
        units,
        use_bias=False,
        # Each layer draws its own values: an initialiser instance repeats itself.
        kernel_initializer=given and given.__class__.from_config(given.get_config()),
        dtype=parent.dtype_policy,
        name=name,
    )
    layer.build((None, inputs))
    return layer
