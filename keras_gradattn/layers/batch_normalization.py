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
        if plain and _has_own_kernel(inputs, self.axis):
            call = {"torch": self._call_torch, "tensorflow": self._call_tensorflow}
            return call[keras.backend.backend()](inputs, training and self.trainable)
        if self.compute_dtype != "float64" or not plain:
            return super().call(inputs, training=training, mask=mask)
        # Keras computes this layer in float32 for float64 on JAX and PyTorch.
        shape = [1] * len(inputs.shape)
        shape[self.axis] = inputs.shape[self.axis]
        if training and self.trainable:
            mean, variance = ops.moments(inputs, self._reduction_axes)
            self._remember(mean, variance)
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
        self._remember(mean.detach(), variance)
        return torch.movedim(outputs, 1, self.axis)

    def _call_tensorflow(self, inputs, training):
        """TensorFlow's fused kernel, for the same reason."""
        import tensorflow as tf

        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=[] if training else self.moving_mean,
            variance=[] if training else self.moving_variance,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            # The kernel hands over the unbiased variance, and Keras keeps the biased.
            values = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
            self._remember(mean, variance * (values - 1) / values)
        return outputs

    def _remember(self, mean, variance):
        rate = self.momentum
        self.moving_mean.assign(self.moving_mean * rate + mean * (1 - rate))
        self.moving_variance.assign(self.moving_variance * rate + variance * (1 - rate))


def _has_own_kernel(inputs, axis) -> bool:
    """Whether the backend has one kernel for it, which Keras does not call."""
    match keras.backend.backend():
        case "torch":
            import torch

            return inputs.dtype == torch.float32
        case "tensorflow":
            last = axis in (-1, len(inputs.shape) - 1)
            return len(inputs.shape) == 4 and last and inputs.dtype == "float32"
    return False
