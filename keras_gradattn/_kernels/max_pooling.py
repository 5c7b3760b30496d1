"""Max-pooling in PyTorch's own kernel, padding included."""

from typing import Any


def max_pool_on_torch(
    inputs: Any, pool_size: int, strides: int, padding: int, channel_axis: int
) -> Any:
    """Max-pooling with PyTorch's own padding.

    A map that is padded first loses its memory layout, channels last, and pooling and
    everything behind it take many times as long.

    Args:
        inputs: Map of rank 4.
        pool_size: Window, pixels.
        strides: Step, pixels.
        padding: Pixels on each side.
        channel_axis: 1 or -1.

    Returns:
        The pooled map.
    """
    import torch

    pooled = torch.nn.functional.max_pool2d(
        torch.movedim(inputs, channel_axis, 1), pool_size, strides, padding
    )
    return torch.movedim(pooled, 1, channel_axis)
