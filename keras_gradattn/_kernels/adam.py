"""Adam's step in PyTorch's own kernel: one pass over the memory, on all cores.

It computes Kingma & Ba (2015), Algorithm 1, with the epsilon inside it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


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
