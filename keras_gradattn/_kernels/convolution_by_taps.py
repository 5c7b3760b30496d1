"""Convolution of small maps as one matrix product per kernel tap."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_gradattn._kernels.matrix_product import matmul


class _Meeting(NamedTuple):
    """An output position and the pixel that a tap meets there, counted row by row."""

    position: int
    pixel: int


def convolve_taps(
    inputs: Any,
    kernel: Any,
    strides: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Any:
    """Convolve a small channels-last map without multiplying any padding.

    Each kernel tap is multiplied once, with the pixels that it meets at all output
    positions, and a position sums what its taps gave. So the gradient of a tap is one
    matrix product as well: where patches were multiplied instead, the gradients of
    their parts of the kernel had to be padded to its size and added up.

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
    height, width = inputs.shape[1:3]
    (rows, down), (columns, right) = (
        _axis(*along)
        for along in zip(
            (height, width), kernel.shape[:2], strides, padding, dilation, strict=True
        )
    )
    meetings_of_taps = {
        tap: [
            _Meeting(row * columns + column, y * width + x)
            for (row, y), (column, x) in itertools.product(down[tap[0]], right[tap[1]])
        ]
        for tap in itertools.product(range(len(down)), range(len(right)))
        # The others see nothing but padding.
        if down[tap[0]] and right[tap[1]]
    }
    pixels = _parts(ops.reshape(inputs, (-1, height * width, channels)), axis=1)
    taps = _matrices_of_taps(kernel, list(meetings_of_taps))
    terms: list[list[Any]] = [[] for _ in range(rows * columns)]
    for tap, meetings in meetings_of_taps.items():
        met = [pixels[meeting.pixel] for meeting in meetings]
        products = matmul(ops.concatenate(met, axis=0), taps[tap])
        by_meeting = ops.reshape(products, (len(met), -1, filters))
        for meeting, product in zip(meetings, _parts(by_meeting, axis=0), strict=True):
            terms[meeting.position].append(product)
    outputs = [
        _sum(of_position) if of_position else _nothing(pixels[0], filters)
        for of_position in terms
    ]
    return ops.reshape(ops.stack(outputs, axis=1), (-1, rows, columns, filters))


def _axis(
    size: int, taps: int, stride: int, padded: int, spread: int
) -> tuple[int, list[list[tuple[int, int]]]]:
    """What happens along one axis.

    Returns:
        The number of outputs, and for each tap the outputs at which it meets a pixel,
        with that pixel.
    """
    outputs = (size + 2 * padded - spread * (taps - 1) - 1) // stride + 1
    return outputs, [
        [
            (output, pixel)
            for output in range(outputs)
            if 0 <= (pixel := output * stride - padded + tap * spread) < size
        ]
        for tap in range(taps)
    ]


def _matrices_of_taps(
    kernel: Any, taps: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Any]:
    """The matrix `(channels, filters)` of each of these taps."""
    if len(taps) == 1:
        return {tap: kernel[tap] for tap in taps}
    _, width, channels, filters = kernel.shape
    matrices = _parts(ops.reshape(kernel, (-1, channels, filters)), axis=0)
    return {tap: matrices[tap[0] * width + tap[1]] for tap in taps}


def _parts(tensor: Any, axis: int) -> list[Any]:
    """The matrices along an axis of static size.

    Split rather than sliced: their gradients are joined, not each padded to the whole
    and added up.
    """
    count = tensor.shape[axis]
    parts = ops.split(tensor, count, axis=axis) if count > 1 else [tensor]
    return [ops.squeeze(part, axis) for part in parts]


def _nothing(pixel: Any, filters: int) -> Any:
    """What a position gives that sees nothing but padding."""
    return ops.zeros_like(pixel[:, :1]) * ops.zeros(filters, dtype=pixel.dtype)


def _sum(terms: Sequence[Any]) -> Any:
    if keras.backend.backend() == "tensorflow":
        # It adds a chain, or what `add_n` is given, in the order in which the terms are
        # ready: no two steps would give the same bits.
        return ops.sum(ops.stack(terms), axis=0)
    return sum(terms[1:], terms[0])
