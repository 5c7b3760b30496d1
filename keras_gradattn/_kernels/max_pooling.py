"""Max-pooling whose gradient XLA computes fast on a CPU, and PyTorch's own."""

from typing import Any

from keras import ops


def maximum_of_slices(inputs: Any, pool_size: int, strides: int, rows: int) -> Any:
    """Maximum along columns, then rows; of equal pixels the first one wins.

    XLA computes the gradient of its own max-pooling on a CPU from four index arrays of
    the map's size. Here it is a chain of comparisons.

    Args:
        inputs: Padded map of static size, rank 4.
        pool_size: Window, pixels.
        strides: Step, pixels.
        rows: Axis of the rows; that of the columns follows.

    Returns:
        The pooled map.
    """
    for axis in (rows + 1, rows):
        size = inputs.shape[axis]
        end = (size - pool_size) // strides * strides + 1
        largest = None
        for offset in range(pool_size):
            picked = [slice(None)] * 4
            picked[axis] = slice(offset, offset + end, strides)
            values = inputs[tuple(picked)]
            largest = values if largest is None else _first_of_largest(largest, values)
        inputs = largest
    return inputs


def _first_of_largest(first: Any, second: Any) -> Any:
    """Elementwise maximum; of equal values the first gets the whole gradient."""
    # A value that is not a number stays one, as in every max-pooling.
    wins = ops.logical_or(second > first, ops.isnan(second))
    return ops.where(wins, second, first)


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
