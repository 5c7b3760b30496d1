"""Batch normalisation in PyTorch's own kernel.

One pass over the memory where Keras' separate operations take six.
"""

from typing import Any, NamedTuple

import keras

from keras_gradattn._compat import torch as torch_compat


class Normalized(NamedTuple):
    """A normalised map, and the statistics of the batch that it was normalised by."""

    outputs: Any
    mean: Any = None
    variance: Any = None


def has_kernel(inputs: Any) -> bool:
    """Whether PyTorch is the backend and has a kernel for this map."""
    if keras.backend.backend() != "torch":
        return False
    import torch

    return bool(inputs.dtype == torch.float32)


def normalize_on_torch(layer: Any, inputs: Any, training: bool) -> Normalized:
    """Normalise with PyTorch's kernel, where `has_kernel` says that there is one.

    Args:
        layer: A built `BatchNormalization` with scale and centre.
        inputs: Map in float32, `axis` of the layer holds the channels.
        training: Whether by the batch's statistics, or by the layer's.

    Returns:
        The map, and the batch's mean and biased variance, `None` at inference.
    """
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
    outputs, mean, inverse_deviation = torch_compat.normalized(
        channels_first, gamma, beta, layer.epsilon
    )
    variance = inverse_deviation.detach() ** -2 - layer.epsilon
    # A constant channel's variance would otherwise be rounded below zero.
    variance = torch.clamp(variance, min=0.0)
    return Normalized(torch.movedim(outputs, 1, layer.axis), mean.detach(), variance)
