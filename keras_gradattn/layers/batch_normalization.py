"""Batch normalisation with PyTorch's constants."""

from typing import Any

import keras
from keras import ops


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

    def call(self, inputs, training=None, mask=None):
        plain = self.scale and self.center and not self.renorm and mask is None
        if plain and _torch_has_it(inputs):
            return self._call_torch(inputs, training and self.trainable)
        if self.compute_dtype != "float64" or not plain:
            return super().call(inputs, training=training, mask=mask)
        # Keras computes this layer in float32 for float64 on JAX and PyTorch.
        shape = [1] * len(inputs.shape)
        shape[self.axis] = inputs.shape[self.axis]
        if training and self.trainable:
            mean, variance = ops.moments(inputs, self._reduction_axes)
            rate = self.momentum
            self.moving_mean.assign(self.moving_mean * rate + mean * (1 - rate))
            self.moving_variance.assign(
                self.moving_variance * rate + variance * (1 - rate)
            )
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        scale = self.gamma / ops.sqrt(variance + self.epsilon)
        shift = self.beta - mean * scale
        return inputs * ops.reshape(scale, shape) + ops.reshape(shift, shape)

    def _call_torch(self, inputs, training):
        """PyTorch's own kernel: one pass where Keras' separate operations take six."""
        import torch

        channels_first = torch.movedim(inputs, self.axis, 1)
        gamma, beta = self.gamma.value, self.beta.value
        if not training:
            outputs = torch.nn.functional.batch_norm(
                channels_first,
                self.moving_mean.value,
                self.moving_variance.value,
                gamma,
                beta,
                eps=self.epsilon,
            )
            return torch.movedim(outputs, 1, self.axis)
        outputs, mean, inverse_deviation = torch.native_batch_norm(
            channels_first, gamma, beta, None, None, True, 0.0, self.epsilon
        )
        variance = inverse_deviation.detach() ** -2 - self.epsilon
        # A constant channel's variance would otherwise be rounded below zero.
        variance = torch.clamp(variance, min=0.0)
        rate = self.momentum
        self.moving_mean.assign(self.moving_mean * rate + mean.detach() * (1 - rate))
        self.moving_variance.assign(self.moving_variance * rate + variance * (1 - rate))
        return torch.movedim(outputs, 1, self.axis)


def _torch_has_it(inputs) -> bool:
    """Whether these are float32 values on PyTorch, whose kernel then fits exactly."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return inputs.dtype == torch.float32
