"""Batch normalisation with PyTorch's constants."""

from typing import Any

import keras
from keras import ops

from keras_gradattn import config
from keras_gradattn._kernels.batch_normalization import has_kernel, normalize_on_torch

_KERNEL = "batch_normalization"


@keras.saving.register_keras_serializable(package="keras_gradattn")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with PyTorch's epsilon and momentum, exact in float64.

    PyTorch's momentum 0.1 is Keras' 0.9. The running variance follows Keras' convention
    (biased batch variance), not PyTorch's (unbiased).

    Args:
        axis: Of the channels. Defaults to -1.
        momentum: Of the running statistics. Defaults to 0.9.
        epsilon: Added to the variance. Defaults to 1e-5.
        **kwargs: Everything else that `keras.layers.BatchNormalization` takes.

    Returns:
        As a layer: any shape to the same shape.

    Example:

    >>> maps = keras.Input((8, 8, 64))
    >>> keras_gradattn.layers.BatchNormalization()(maps).shape
    (None, 8, 8, 64)
    """

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ):
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        # Keras before 3.14 has no renormalisation.
        renorm = getattr(self, "renorm", False)
        plain = self.scale and self.center and not renorm and mask is None
        by_batch = bool(training and self.trainable)
        if plain and has_kernel(inputs) and config.uses_kernel(_KERNEL):
            outputs, mean, variance = normalize_on_torch(self, inputs, by_batch)
            if by_batch:
                self._remember(mean, variance)
            return outputs
        if self.compute_dtype != "float64" or not plain:
            return super().call(inputs, training=training, mask=mask)
        # Keras computes this layer in float32 for float64 on JAX and PyTorch.
        rank = len(inputs.shape)
        channels = self.axis % rank
        shape = [1] * rank
        shape[channels] = inputs.shape[channels]
        if by_batch:
            others = [axis for axis in range(rank) if axis != channels]
            mean, variance = ops.moments(inputs, others)
            self._remember(mean, variance)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = self.gamma / ops.sqrt(variance + self.epsilon)
        shift = self.beta - mean * scale
        return inputs * ops.reshape(scale, shape) + ops.reshape(shift, shape)

    def _remember(self, mean: Any, variance: Any) -> None:
        rate = self.momentum
        self.moving_mean.assign(self.moving_mean * rate + mean * (1 - rate))
        self.moving_variance.assign(self.moving_variance * rate + variance * (1 - rate))
