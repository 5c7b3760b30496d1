"""Adam's step in the backend's own kernel: one pass over the memory, on all cores.

Both compute Kingma & Ba (2015), Algorithm 1, with the epsilon inside it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Moving(NamedTuple):
    """What moves one weight on PyTorch: tensors of its shape."""

    weight: Any
    gradient: Any
    momentum: Any
    velocity: Any


def step_on_torch(
    moving: Sequence[Moving],
    *,
    steps: float,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """Move all weights in PyTorch's fused kernel.

    Args:
        moving: Weights with their gradient and moments, changed in place.
        steps: How many were taken before this one.
        learning_rate: Of this step.
        beta_1: Decay rate of the first moment.
        beta_2: Decay rate of the second moment.
        epsilon: Added to the bias-corrected root.
        weight_decay: Factor of the L2 term, the same for all of them.
    """
    import torch
    from torch.optim.adam import adam

    weights, gradients, momentums, velocities = map(list, zip(*moving, strict=True))
    with torch.no_grad():
        adam(
            weights,
            gradients,
            momentums,
            velocities,
            [],
            # The kernel is given the steps so far and counts this one.
            [torch.tensor(steps, device=weight.device) for weight in weights],
            fused=True,
            amsgrad=False,
            beta1=beta_1,
            beta2=beta_2,
            lr=learning_rate,
            weight_decay=weight_decay,
            eps=epsilon,
            maximize=False,
        )


def step_on_tensorflow(
    variable: Any,
    momentum: Any,
    velocity: Any,
    gradient: Any,
    *,
    learning_rate: Any,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    correction: Any,
) -> None:
    """Move one weight in TensorFlow's kernel.

    It adds its epsilon to the root before the bias correction, hence
    `w - (rate * c) * m / (sqrt(v) + epsilon * c)` with `c = sqrt(1 - beta_2**t)`.

    Args:
        variable: The weight, a variable of Keras or, among replicas, of TensorFlow.
        momentum: Its first moment, a Keras variable.
        velocity: Its second moment, likewise.
        gradient: Tensor of its shape and dtype.
        learning_rate: Of this step, a tensor of that dtype.
        beta_1: Decay rate of the first moment.
        beta_2: Decay rate of the second moment.
        epsilon: Added to the bias-corrected root.
        correction: Gives `1 - beta**t` for a beta.
    """
    import tensorflow as tf

    dtype = gradient.dtype
    # The kernel takes `1 - beta` of the rounded beta, 5e-5 from that of 0.999.
    # Corrected by the same beta, a mean of equal values is that value again.
    rounded_1, rounded_2 = (
        np.asarray(beta, dtype.as_numpy_dtype) for beta in (beta_1, beta_2)
    )
    root = ops.sqrt(correction(float(rounded_2)))
    # Its own corrections, which cancel in float32, are switched off.
    nothing = tf.zeros((), dtype)
    tf.raw_ops.ResourceApplyAdam(
        var=variable.handle,
        m=momentum.value.handle,
        v=velocity.value.handle,
        beta1_power=nothing,
        beta2_power=nothing,
        lr=learning_rate / correction(float(rounded_1)) * root,
        beta1=rounded_1,
        beta2=rounded_2,
        epsilon=epsilon * root,
        # Rows of an embedding as a whole: every weight decays and has moments.
        grad=tf.convert_to_tensor(gradient),
    )
