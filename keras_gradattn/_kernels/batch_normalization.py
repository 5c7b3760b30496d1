"""Batch normalisation in the backend's own kernel.

One pass over the memory where Keras' separate operations take six. Each function
normalises a map and returns the batch's mean and biased variance beside it, which are
`None` at inference.
"""

from typing import Any, NamedTuple

import keras


class Normalized(NamedTuple):
    """A normalised map, and the statistics of the batch that it was normalised by."""

    outputs: Any
    mean: Any = None
    variance: Any = None


def has_kernel(inputs: Any, axis: int) -> bool:
    """Whether the backend has one kernel for this map, which Keras does not call."""
    match keras.backend.backend():
        case "torch":
            import torch

            return bool(inputs.dtype == torch.float32)
        case "tensorflow":
            last = axis in (-1, len(inputs.shape) - 1)
            return len(inputs.shape) == 4 and last and inputs.dtype == "float32"
    return False


def normalize(layer: Any, inputs: Any, training: bool) -> Normalized:
    """Normalise with the backend's kernel, where `has_kernel` says that there is one.

    Args:
        layer: A built `BatchNormalization` with scale and centre.
        inputs: Map in float32, `axis` of the layer holds the channels.
        training: Whether by the batch's statistics, or by the layer's.

    Returns:
        The map and the batch's statistics.
    """
    on = {"torch": _normalize_on_torch, "tensorflow": _normalize_on_tensorflow}
    return on[keras.backend.backend()](layer, inputs, training)


def _normalize_on_torch(layer: Any, inputs: Any, training: bool) -> Normalized:
    import torch

    channels_first = torch.movedim(inputs, layer.axis, 1)
    gamma, beta = layer.gamma.value, layer.beta.value
    if not training:
        outputs = torch.nn.functional.batch_norm(
            channels_first,
            layer.moving_mean.value,
            layer.moving_variance.value,
            gamma,
            beta,
            eps=layer.epsilon,
        )
        return Normalized(torch.movedim(outputs, 1, layer.axis))
    outputs, mean, inverse_deviation = torch.native_batch_norm(
        channels_first, gamma, beta, None, None, True, 0.0, layer.epsilon
    )
    variance = inverse_deviation.detach() ** -2 - layer.epsilon
    # A constant channel's variance would otherwise be rounded below zero.
    variance = torch.clamp(variance, min=0.0)
    return Normalized(torch.movedim(outputs, 1, layer.axis), mean.detach(), variance)


def _normalize_on_tensorflow(layer: Any, inputs: Any, training: bool) -> Normalized:
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma,
        offset=layer.beta,
        mean=[] if training else layer.moving_mean,
        variance=[] if training else layer.moving_variance,
        epsilon=layer.epsilon,
        is_training=bool(training),
    )
    if not training:
        return Normalized(outputs)
    # The kernel hands over the unbiased variance, and Keras keeps the biased.
    values = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
    return Normalized(outputs, mean, variance * (values - 1) / values)
