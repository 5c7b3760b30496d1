"""Matrix products whose float64 stays float64 on every backend."""

from typing import Any

import keras
from keras import ops


def matmul(left: Any, right: Any) -> Any:
    """Matrix product in the dtype of its arguments.

    Keras knows no 64-bit results except on TensorFlow: on PyTorch its product of two
    float64 tensors is computed in float32.

    Args:
        left: Tensor `(..., n, k)`.
        right: Tensor `(..., k, m)` or `(k, m)`, of the same dtype.

    Returns:
        Tensor `(..., n, m)`.
    """
    if keras.backend.backend() == "torch" and str(left.dtype) == "torch.float64":
        return left @ ops.convert_to_tensor(right)
    return ops.matmul(left, right)
