"""What PyTorch keeps to itself and we need. Seen with PyTorch 2.13."""

from collections.abc import Sequence
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
