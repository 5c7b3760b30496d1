"""PyTorch's convolution on maps whose channels come last, without copying them."""

from typing import Any

from keras import ops


def convolve_on_torch(
    inputs: Any,
    kernel: Any,
    *,
    strides: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    channels_last: bool,
) -> Any:
    """Convolve by PyTorch's function, with its own padding.

    `ops.conv` copies every map out of its memory layout and back into it, and the copy
    is held until the gradient is there; a map that is padded first is copied too.

    Args:
        inputs: `(batch, height, width, channels)`, or channels first.
        kernel: `(kernel height, kernel width, channels / groups, filters)`.
        strides: Rows and columns, pixels.
        padding: Rows and columns, zero pixels on each side.
        dilation: Rows and columns, pixels.
        groups: Groups of channels that do not see each other.
        channels_last: Where the channels stand in `inputs`.

    Returns:
        `(batch, rows, columns, filters)`, or channels first.
    """
    import torch

    axis = -1 if channels_last else 1
    kernel = ops.convert_to_tensor(kernel).permute(3, 2, 0, 1)
    if channels_last:
        kernel = kernel.contiguous(memory_format=torch.channels_last)
    outputs = torch.nn.functional.conv2d(
        torch.movedim(ops.convert_to_tensor(inputs), axis, 1),
        kernel,
        stride=strides,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return torch.movedim(outputs, 1, axis)


def with_layout_of_its_own(kernel: Any) -> Any:
    """Give a single filter the stride that tells PyTorch its memory layout.

    PyTorch reads the layout of a gradient from the kernel's strides. In Keras' layout a
    single filter has the stride of the channels, which PyTorch does not take for
    channels last although the maps are, and its own convolution on a CPU (float64, and
    whatever oneDNN does not compute on that CPU) refuses the gradient that results.

    Args:
        kernel: `(kernel height, kernel width, channels, filters)`.

    Returns:
        The same values.
    """
    if kernel.shape[-1] != 1:
        return kernel
    # Put in front, the filter gets the stride of a whole filter; nothing is copied.
    filter_first = ops.reshape(kernel, (1, *kernel.shape[:-1]))
    return ops.transpose(filter_first, (1, 2, 3, 0))
