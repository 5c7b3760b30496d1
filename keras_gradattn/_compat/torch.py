"""What PyTorch keeps to itself and we need. Seen with PyTorch 2.13."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any


def norms(tensors: Sequence[Any]) -> list[Any]:
    """Euclidean norm of each tensor, in as few kernels as PyTorch can.

    `torch._foreach_norm` is what PyTorch's own gradient clipping calls; its public form
    gives the norm of all together. Absent: one `torch.linalg.vector_norm` a tensor.

    Args:
        tensors: Of one device; dtypes may differ.

    Returns:
        A scalar tensor for each.
    """
    import torch

    together = getattr(torch, "_foreach_norm", None)
    if together is None:
        return [torch.linalg.vector_norm(tensor) for tensor in tensors]
    return list(together(list(tensors)))


def are_watched(layers: Sequence[Any]) -> bool:
    """Whether hooks wait for these modules' forward passes.

    PyTorch registers hooks in public and lists them nowhere. Absent: `True`, so that
    nothing takes a way past the layers.

    Args:
        layers: Keras layers, which are modules of PyTorch.
    """
    from torch.nn.modules import module

    try:
        return bool(
            module._global_forward_hooks
            or module._global_forward_pre_hooks
            or any(x._forward_hooks or x._forward_pre_hooks for x in layers)
        )
    except AttributeError:
        return True


def normalized(
    inputs: Any, gamma: Any, beta: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """A batch normalised by its own statistics, and these.

    `torch.native_batch_norm` is what `torch.nn.functional.batch_norm` calls; it is in
    `torch` without a leading underscore, but not in the documentation. Absent: the
    documented one, and another pass over the inputs for the statistics.

    Args:
        inputs: (batch, channels, ...) tensor.
        gamma: (channels,) scale, or `None`.
        beta: (channels,) shift, or `None`.
        epsilon: Added to the variance.

    Returns:
        The normalised batch, its mean, and one over the root of its biased variance
        plus `epsilon`.
    """
    import torch

    native = getattr(torch, "native_batch_norm", None)
    if native is not None:
        found: tuple[Any, Any, Any] = native(
            inputs, gamma, beta, None, None, True, 0.0, epsilon
        )
        return found
    outputs = torch.nn.functional.batch_norm(
        inputs, None, None, gamma, beta, training=True, eps=epsilon
    )
    axes = [0, *range(2, inputs.ndim)]
    variance, mean = torch.var_mean(inputs.detach(), axes, correction=0)
    return outputs, mean, torch.rsqrt(variance + epsilon)


def operations_of(
    function: Callable[[Any], Any], example: Any
) -> Callable[[Any], Any] | None:
    """The operations that a function makes of a tensor, without what chose them.

    `make_fx` is what PyTorch's own exporters trace with; its place has `experimental`
    in it. Absent: `None`, with a warning, so that the function is called as ever.

    Args:
        function: From one tensor to one.
        example: A tensor with the shape and type of those to come.

    Returns:
        A function of the same, or `None` where it cannot be traced.
    """
    try:
        from torch.fx.experimental.proxy_tensor import make_fx
        from torch.fx.proxy import TraceError
    except ImportError as error:
        warnings.warn(
            f"Inference is not captured: this PyTorch has no `make_fx` ({error}).",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    try:
        return make_fx(function)(example)
    except (RuntimeError, TraceError):
        # An activation of the user's that decides by values, say.
        return None
