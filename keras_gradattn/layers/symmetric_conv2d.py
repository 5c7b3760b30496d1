"""Two-dimensional convolution with PyTorch's symmetric padding, fast on small maps."""

from numbers import Integral
from typing import Any

import keras
from keras import ops

from keras_gradattn import config
from keras_gradattn._compat.devices import runs_on_cpu
from keras_gradattn._kernels.convolution_by_taps import convolve_taps
from keras_gradattn._kernels.torch_convolution import (
    convolve_on_torch,
    with_layout_of_its_own,
)
from keras_gradattn.layers._initializers import FanInUniform, Uniform

# Largest number of output positions for which one matrix product per kernel tap beats
# the backend's own convolution on a CPU.
_MOST_POSITIONS = {"jax": 4, "tensorflow": 4, "torch": 4}


def _has_channels_last_alone(inputs: Any) -> bool:
    """Whether the backend may not convolve maps whose channels come first.

    TensorFlow does so on processors that oneDNN knows well, and refuses on others.
    """
    return keras.backend.backend() == "tensorflow" and runs_on_cpu(inputs)


def _pair(value: Any, name: str) -> tuple[int, int]:
    pair: tuple[Any, ...] = (
        (value, value) if isinstance(value, Integral) else tuple(value)
    )
    if len(pair) != 2 or not all(isinstance(v, Integral) and int(v) >= 0 for v in pair):
        raise ValueError(
            f"`{name}` must be a non-negative integer or a pair of them. "
            f"Received: {name}={value!r}"
        )
    return int(pair[0]), int(pair[1])


def _torch_compiles() -> bool:
    """Whether PyTorch is tracing the step, for `torch.compile` or an export.

    It then plans memory layouts itself, and fails to compare the strides of a map of
    unknown size that was not copied.
    """
    import torch

    return torch.compiler.is_compiling()


@keras.saving.register_keras_serializable(package="keras_gradattn")
class SymmetricConv2D(keras.layers.Conv2D):
    """2-D convolution that pads both sides alike, as PyTorch does.

    Keras' `padding="same"` puts the odd pixel of a strided convolution on one side
    only, so the same weights give other numbers than in PyTorch. Here `padding` is the
    number of zero pixels on every side.

    On small maps most of what a padded convolution multiplies is padding, and on a CPU
    XLA's gradient of it is an order of magnitude too slow. There each kernel tap is
    multiplied with the pixels that it meets, in one matrix product: the same weights,
    the same numbers. For larger maps JAX has two convolutions on a CPU;
    `keras_gradattn.config.tune_jax_for_cpu()` makes it take the faster.

    Args:
        filters: Number of output channels.
        kernel_size: An integer or a pair, pixels.
        strides: An integer or a pair, pixels. Defaults to 1.
        padding: Zero pixels on each side, an integer or a pair (rows, columns). `None`
            (the default) is `dilation * (kernel - 1) // 2`, which keeps the size at
            stride 1 for odd kernels.
        form: `"auto"` (the default), `"backend"` or `"taps"`; see
            `keras_gradattn.config.convolution`.
        kernel_initializer: `None` (the default) is PyTorch's: uniform within
            `1 / sqrt(fan_in)`.
        bias_initializer: Likewise.
        **kwargs: Everything else that `keras.layers.Conv2D` takes.

    Returns:
        As a layer: `(batch, height, width, channels)` to `(batch, (height + 2 * padding
        - kernel) // stride + 1, ..., filters)`, or the channels-first equivalent.

    Raises:
        ValueError: If `padding` is not a non-negative integer or a pair of them, or
            `form` is unknown.

    Example:

    >>> images = keras.Input((28, 28, 1))
    >>> keras_gradattn.layers.SymmetricConv2D(64, 7, strides=2, padding=3)(images).shape
    (None, 14, 14, 64)
    """

    bias_initializer: Any

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        *,
        form: str = "auto",
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides=strides,
            padding="valid",
            kernel_initializer=kernel_initializer or FanInUniform(),
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.form = config.checked_convolution(form)
        if padding is None:
            padding = tuple(
                dilation * (kernel - 1) // 2
                for kernel, dilation in zip(
                    self.kernel_size, self.dilation_rate, strict=True
                )
            )
        self.pixels_padded = _pair(padding, "padding")

    def build(self, input_shape: tuple[Any, ...]) -> None:
        given = self.bias_initializer
        if given is None:
            channels = input_shape[-1 if self._channels_last else 1]
            fan_in = channels // self.groups * self.kernel_size[0] * self.kernel_size[1]
            bound = float(fan_in) ** -0.5
            self.bias_initializer = Uniform(-bound, bound)
        super().build(input_shape)
        self.bias_initializer = given

    def call(self, inputs: Any) -> Any:
        outputs = self.convolution_op(inputs, self.kernel)
        if self.use_bias:
            shape = (1, 1, 1, -1) if self._channels_last else (1, -1, 1, 1)
            # Not `ops.add`: on TensorFlow it adds a channels-first bias along the width
            # where that equals the number of filters.
            outputs = outputs + ops.reshape(self.bias, shape)
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _channels_last(self) -> bool:
        return self.data_format == "channels_last"

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        height, width = inputs.shape[1:3] if self._channels_last else inputs.shape[2:4]
        by_taps = self._multiplies_taps(inputs, height, width)
        convolve = self._convolve_taps if by_taps else self._convolve_on_backend
        if self._channels_last:
            return convolve(inputs, kernel)
        if not by_taps and not _has_channels_last_alone(inputs):
            return self._convolve_on_backend(inputs, kernel, "channels_first")
        channels_last = ops.transpose(inputs, (0, 2, 3, 1))
        outputs = convolve(channels_last, kernel)
        return ops.transpose(outputs, (0, 3, 1, 2))

    def _convolve_taps(self, inputs: Any, kernel: Any) -> Any:
        kernel = ops.convert_to_tensor(kernel, dtype=self.compute_dtype)
        geometry = (self.strides, self.pixels_padded, self.dilation_rate)
        return convolve_taps(inputs, kernel, *geometry)

    def _multiplies_taps(self, inputs: Any, height: Any, width: Any) -> bool:
        form = self.form if self.form != "auto" else config.convolution_form()
        # While JAX exports a network of any size, height and width are symbols.
        static = isinstance(height, int) and isinstance(width, int)
        if form == "backend" or self.groups != 1 or not static:
            return False
        if form == "taps":
            return True
        rows, columns = self._output_size((height, width))
        limit = _MOST_POSITIONS.get(keras.backend.backend(), 0)
        if self.kernel_size == (1, 1) and keras.backend.backend() == "jax":
            # One tap: a single matrix product whatever the map's size.
            return runs_on_cpu(inputs)
        return rows * columns <= limit and runs_on_cpu(inputs)

    def _convolve_on_backend(
        self, inputs: Any, kernel: Any, data_format: str = "channels_last"
    ) -> Any:
        if keras.backend.backend() == "torch":
            kernel = with_layout_of_its_own(kernel)
            if config.uses_kernel("memory_layout") and not _torch_compiles():
                return convolve_on_torch(
                    inputs,
                    kernel,
                    strides=self.strides,
                    padding=self.pixels_padded,
                    dilation=self.dilation_rate,
                    groups=self.groups,
                    channels_last=self._channels_last,
                )
        rows, columns = self.pixels_padded
        keeps_size = self.strides == (1, 1) and all(
            2 * pixels == dilation * (size - 1)
            for pixels, size, dilation in zip(
                self.pixels_padded, self.kernel_size, self.dilation_rate, strict=True
            )
        )
        if not keeps_size and (rows or columns):
            around = [(rows, rows), (columns, columns)]
            pads = (
                [(0, 0), *around, (0, 0)]
                if data_format == "channels_last"
                else [(0, 0), (0, 0), *around]
            )
            inputs = ops.pad(inputs, pads)
        return ops.conv(
            inputs,
            kernel,
            strides=list(self.strides),
            # At stride 1 an odd kernel's "same" is symmetric, and pads for free.
            padding="same" if keeps_size else "valid",
            dilation_rate=self.dilation_rate,
            data_format=data_format,
        )

    def _output_size(self, size: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            None
            if pixels is None
            else (pixels + 2 * padded - dilation * (kernel - 1) - 1) // stride + 1
            for pixels, padded, dilation, kernel, stride in zip(
                size,
                self.pixels_padded,
                self.dilation_rate,
                self.kernel_size,
                self.strides,
                strict=True,
            )
        )

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        size = input_shape[1:3] if self._channels_last else input_shape[2:4]
        rows, columns = self._output_size(size)
        if any(pixels is not None and pixels < 1 for pixels in (rows, columns)):
            raise ValueError(
                f"The map is too small for kernel_size={self.kernel_size}, "
                f"strides={self.strides}, padding={self.pixels_padded}. "
                f"Received: input_shape={input_shape}"
            )
        if self._channels_last:
            return (input_shape[0], rows, columns, self.filters)
        return (input_shape[0], self.filters, rows, columns)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "padding": self.pixels_padded,
            "form": self.form,
        }
