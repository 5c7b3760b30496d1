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
