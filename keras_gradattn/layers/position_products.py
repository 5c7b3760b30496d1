"""Convolution of small maps as one matrix product per group of output positions."""

import itertools
from typing import NamedTuple

from keras import ops

from keras_gradattn.layers.precision import matmul


class _Window(NamedTuple):
    """What one output position meets along one axis: kernel taps and map pixels."""

    first_tap: int
    end_tap: int
    pixels: slice


def convolve_positions(inputs, kernel, strides, padding, dilation):
    """Convolve a small channels-last map without multiplying any padding.

    Each output position is the product of its valid patch with the kernel taps that it
    meets. Positions that meet the same taps share one product, so the kernel is sliced
    once for them.

    Args:
        inputs: `(batch, height, width, channels)`, height and width static.
        kernel: `(kernel height, kernel width, channels, filters)`.
        strides: Rows and columns, pixels.
        padding: Rows and columns, zero pixels on each side.
        dilation: Rows and columns, pixels.

    Returns:
        `(batch, rows, columns, filters)`.
    """
    if tuple(kernel.shape[:2]) == (1, 1) and tuple(padding) == (0, 0):
        return matmul(inputs[:, :: strides[0], :: strides[1], :], kernel[0, 0])
    channels, filters = kernel.shape[2:]
    rows, columns = (
        _windows(
            inputs.shape[1 + axis],
            kernel.shape[axis],
            strides[axis],
            padding[axis],
            dilation[axis],
        )
        for axis in (0, 1)
    )
    sharing = {}
    for position in itertools.product(range(len(rows)), range(len(columns))):
        taps = (*rows[position[0]][:2], *columns[position[1]][:2])
        sharing.setdefault(taps, []).append(position)

    outputs = {}
    for (top, bottom, left, right), positions in sharing.items():
        values = (bottom - top) * (right - left) * channels
        if not values:
            # Nothing but padding in sight: an empty sum.
            nothing = ops.zeros_like(inputs[:, 0, 0, :1]) * ops.zeros(
                filters, dtype=inputs.dtype
            )
            outputs.update(dict.fromkeys(positions, nothing))
            continue
        patches = [
            ops.reshape(
                inputs[:, rows[row].pixels, columns[column].pixels, :], (-1, values)
            )
            for row, column in positions
        ]
        matrix = ops.reshape(kernel[top:bottom, left:right], (values, filters))
        if len(positions) == 1:
            outputs[positions[0]] = matmul(patches[0], matrix)
            continue
        product = matmul(ops.stack(patches, axis=1), matrix)
        for index, position in enumerate(positions):
            outputs[position] = product[:, index]
    ordered = [outputs[position] for position in sorted(outputs)]
    joined = ordered[0] if len(ordered) == 1 else ops.stack(ordered, axis=1)
    return ops.reshape(joined, (-1, len(rows), len(columns), filters))


def _windows(size, kernel, stride, padded, dilation) -> list[_Window]:
    """Windows of all output positions along one axis."""
    reach = dilation * (kernel - 1)
    windows = []
    for position in range((size + 2 * padded - reach - 1) // stride + 1):
        start = position * stride - padded
        taps = [t for t in range(kernel) if 0 <= start + t * dilation < size]
        # A window that sees nothing but padding sums over nothing.
        first, end = (taps[0], taps[-1] + 1) if taps else (0, 0)
        first_pixel = start + first * dilation
        end_pixel = start + (end - 1) * dilation + 1
        pixels = slice(first_pixel, end_pixel, dilation) if taps else slice(0, 0)
        windows.append(_Window(first, end, pixels))
    return windows
