"""Linear layers as PyTorch initialises them, and the classifier at a network's end."""

from typing import Any

import keras

from keras_gradattn._kernels.matrix_product import matmul
from keras_gradattn.layers._initializers import FanInUniform, Uniform


@keras.saving.register_keras_serializable(package="keras_gradattn")
class Linear(keras.layers.Dense):
    """Dense layer whose kernel and bias start as PyTorch's `nn.Linear` starts them.

    Both are uniform within `1 / sqrt(fan_in)`; `keras.layers.Dense` starts with a
    Glorot-uniform kernel and a zero bias.

    Args:
        units: Number of outputs, a positive integer.
        kernel_initializer: Any Keras initialiser; `None` (the default) is PyTorch's.
        bias_initializer: Likewise.
        **kwargs: Everything else that `keras.layers.Dense` takes.

    Returns:
        As a layer: `(..., inputs)` to `(..., units)`.

    Example:

    >>> tokens = keras.Input((5, 64))
    >>> keras_gradattn.layers.Linear(256)(tokens).shape
    (None, 5, 256)
    """

    bias_initializer: Any

    def __init__(
        self,
        units: int,
        *,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            int(units),
            kernel_initializer=kernel_initializer or FanInUniform(),
            bias_initializer=bias_initializer,
            **kwargs,
        )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        outputs = matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        given = self.bias_initializer
        if given is None:
            # Only here is the fan known; the config keeps `None`, so that a copy with
            # other inputs draws from its own range.
            bound = float(input_shape[-1]) ** -0.5
            self.bias_initializer = Uniform(-bound, bound)
        super().build(input_shape)
        self.bias_initializer = given


def full_precision(dtype: Any) -> Any:
    """Dtype of a classifier: float32 where the network computes in 16 bits.

    Probabilities and their logarithms lose their small values in 16 bits, which is why
    Keras' mixed-precision guide ends a network in float32.

    Args:
        dtype: Anything that names a Keras dtype policy; `None` is the global one.

    Returns:
        A dtype policy.
    """
    policy = keras.dtype_policies.get(dtype)
    if policy.compute_dtype in ("float16", "bfloat16"):
        return keras.DTypePolicy("float32")
    return policy
