"""Norms of gradients inside the training step, one function per backend.

Sums of squares in float32 lose every value below about 1e-19 and overflow above
1e19, and very small gradients are what this package exists to see. So the plain
sum is used only where it is trustworthy; otherwise the values are scaled into its
range first, as BLAS' ``nrm2`` does (Blue, 1978, ACM TOMS 4(1)).

What a compiler has to compile is counted: hundreds of small gradients are laid side
by side and measured as the rows of a few matrices.
"""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import torch as torch_compat

# Squares below float32's smallest normal number (1.2e-38) are lost; a sum of 1e7
# elements above 1e-24 cannot have lost more than 1e-7 of itself that way.
_TRUSTED = (1e-24, 1e37)
# Powers of two scale without rounding.
_UP, _DOWN = 2.0**64, 2.0**-64
# Gradients with fewer elements are copied into one matrix; larger ones stay in place.
_SMALL = 2**14
# Elements of the largest matrix that is put together where all is measured.
_CHUNK = 2**22


def norms_and_zero_shares(
    gradients: list[Any], sizes: list[int], with_zeros: Any, compiled: bool
) -> tuple[Any, ...]:
    """L2 norm of each gradient, and its share of exactly zero elements.

    Args:
        gradients: Dense tensors. Of a sparse gradient those rows that are not zero.
        sizes: Number of elements of each gradient, those of zero rows included.
        with_zeros: Whether shares are wanted, a bool or a traced one; 0 otherwise.
        compiled: Whether XLA compiles the step.

    Returns:
        Two vectors in the widest dtype among the gradients.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        norms, nonzero = _torch_norms(gradients, with_zeros)
        if not with_zeros:
            return norms, nonzero
    elif backend == "tensorflow" and not compiled:
        norms, nonzero = _tensorflow_norms(gradients, with_zeros)
    else:
        norms, nonzero = _xla_norms(gradients, with_zeros)
    elements = keras.ops.convert_to_tensor(
        np.maximum(sizes, 1), dtype=keras.backend.standardize_dtype(nonzero.dtype)
    )
    if backend == "torch":
        elements = elements.to(nonzero.device)
    shares = (elements - nonzero) / elements
    if backend == "torch":
        return norms, shares
    return norms, keras.ops.where(with_zeros, shares, keras.ops.zeros_like(shares))


def after(gradient: Any, measured: Any) -> Any:
    """The gradient, for TensorFlow's graph to use only once it was measured.

    Else the optimizer may start with it and read it before, with or after the
    measurement, from memory twice, and find no place of its own to write to.
    """
    import tensorflow as tf

    if not tf.is_tensor(gradient):  # rows of an embedding
        return gradient
    with tf.control_dependencies([measured]):
        return tf.identity(gradient)


def dense(gradient: Any) -> Any:
    """A tensor that is not sparse, half precision widened."""
    backend = keras.backend.backend()
    if backend == "torch" and gradient.is_sparse:
        gradient = gradient.to_dense()
    elif backend == "tensorflow":
        import tensorflow as tf

        gradient = tf.convert_to_tensor(gradient)
    elif hasattr(gradient, "todense"):  # of JAX
        gradient = gradient.todense()
    return cast(gradient, wide_dtype([gradient]))


def cast(tensor: Any, dtype: str) -> Any:
    """What `keras.ops.cast` does.

    Keras' own takes longer to find nothing to do than a norm of a small gradient
    takes, and on TensorFlow adds an operation where there is nothing to do.
    """
    if keras.backend.backend() == "torch":
        import torch

        return tensor.to(getattr(torch, dtype))
    if keras.backend.standardize_dtype(tensor.dtype) == dtype:
        return tensor
    return keras.ops.cast(tensor, dtype)


def wide_dtype(tensors: list[Any]) -> str:
    """float64 where any tensor is, float32 otherwise."""
    dtypes = {keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors}
    return "float64" if "float64" in dtypes else "float32"


def branch(predicate: Any, if_true: Any, if_false: Any) -> Any:
    """A branch of the compiled step; an ordinary one where the answer is known."""
    known = isinstance(predicate, bool)
    if keras.backend.backend() == "jax" and not known:
        import jax

        # Eager JAX would compile the branch anew at every step.
        known = not isinstance(predicate, jax.core.Tracer)
    if known:
        return if_true() if predicate else if_false()
    return keras.ops.cond(predicate, if_true, if_false)


def row_norms(matrix: Any) -> Any:
    """L2 norm of each row of a matrix."""
    if keras.backend.backend() == "torch":
        import torch

        # Without a copy that holds the squares.
        return torch.linalg.vector_norm(matrix, dim=1)
    return keras.ops.sqrt(keras.ops.sum(keras.ops.square(matrix), axis=1))


def scaled_row_norms(matrix: Any) -> tuple[Any, ...]:
    """L2 norm of each row divided by a scale, and that scale, for any magnitude."""
    if keras.backend.backend() != "tensorflow":
        return _rows_over_largest(matrix)
    # Without a compiler each operation passes over the memory: most gradients need no
    # scale, which their plain sums of squares tell.
    ops = keras.ops
    squares = ops.sum(ops.square(matrix), axis=1)
    total = ops.sum(squares)
    return branch(
        ops.logical_and(total > _TRUSTED[0], total < _TRUSTED[1]),
        lambda: (ops.sqrt(squares), ops.ones_like(total)),
        lambda: _rows_over_largest(matrix),
    )


def _rows_over_largest(matrix: Any) -> Any:
    ops = keras.ops
    # One pass for the largest value, one for the norms of the values scaled by it.
    highest = largest(matrix)
    usable = ops.logical_and(ops.isfinite(highest), highest > 0)
    scale = ops.where(usable, highest, ops.ones_like(highest))
    return row_norms(matrix / scale), scale


def largest(values: Any) -> Any:
    """The largest absolute value; NaN where there is one."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.linalg.vector_norm(values, float("inf"))
    return keras.ops.max(keras.ops.abs(values))


# XLA: few kernels to compile.


def _xla_norms(gradients: Any, with_zeros: Any) -> Any:
    ops = keras.ops
    dtype = wide_dtype(gradients)
    counts = [_elements(g) for g in gradients]
    large = [i for i, n in enumerate(counts) if n is not None and n >= _SMALL]
    small = [i for i in range(len(counts)) if i not in set(large)]
    parts, order = [], []
    if small:
        norms, nonzero, places = _in_full(gradients, counts, small, dtype, _SMALL)
        parts.append((norms, nonzero))
        order += places
    if large and keras.backend.backend() == "jax":
        parts.append(_jax_norms([gradients[i] for i in large], dtype))
        order += large
    elif large:
        parts.append(_large_norms(gradients, counts, large, dtype, with_zeros))
        order += large
    norms, nonzero = (_joined(list(column)) for column in zip(*parts, strict=True))
    back = np.argsort(order)
    if np.array_equal(back, np.arange(len(back))):
        return norms, nonzero
    return ops.take(norms, back), ops.take(nonzero, back)


def _jax_norms(gradients: Any, dtype: Any) -> Any:
    """Two passes over each gradient where it lies, for any magnitude.

    A branch that takes gradients only where they need a second pass would cost more:
    XLA copies them into a layout of its own for the branch, taken or not.
    """
    norms, nonzero = [], []
    for gradient in gradients:
        highest, count = _largest_and_nonzero(gradient)
        usable = keras.ops.logical_and(keras.ops.isfinite(highest), highest > 0)
        scale = keras.ops.where(usable, highest, keras.ops.ones_like(highest))
        total = keras.ops.sum(keras.ops.square(gradient / scale))
        norms.append(cast(keras.ops.sqrt(total) * scale, dtype))
        nonzero.append(cast(count, dtype))
    return keras.ops.stack(norms), keras.ops.stack(nonzero)


def _largest_and_nonzero(gradient: Any) -> tuple[Any, Any]:
    """The largest absolute value, and how many are not zero, in one pass (JAX)."""
    import jax

    def both(one: Any, other: Any) -> Any:
        return jax.numpy.maximum(one[0], other[0]), one[1] + other[1]

    start = (np.zeros((), gradient.dtype), np.zeros((), "int32"))
    values = (abs(gradient), (gradient != 0).astype("int32"))
    found: tuple[Any, Any] = jax.lax.reduce(
        values, start, both, tuple(range(gradient.ndim))
    )
    return found


def _large_norms(
    gradients: Any, counts: Any, large: Any, dtype: Any, with_zeros: Any
) -> Any:
    """One pass over each; all else only where it is wanted or needed."""
    ops = keras.ops
    squares = ops.stack([cast(ops.sum(ops.square(gradients[i])), dtype) for i in large])
    trusted = ops.all((squares > _TRUSTED[0]) & (squares < _TRUSTED[1]))

    def in_full() -> Any:
        norms, nonzero, places = _in_full(gradients, counts, large, dtype, _CHUNK)
        back = [places.index(i) for i in large]
        return ops.take(norms, back), ops.take(nonzero, back)

    return branch(
        ops.logical_and(trusted, ops.logical_not(with_zeros)),
        lambda: (ops.sqrt(squares), ops.zeros_like(squares)),
        in_full,
    )


def _in_full(gradients: Any, counts: Any, chosen: Any, dtype: Any, room: Any) -> Any:
    """Norms for any magnitude and counts of non-zeros, as rows of few matrices."""
    ops = keras.ops
    norms, nonzero, places = [], [], []
    for members, length in _matrices(counts, chosen, gradients, room):
        matrix = _side_by_side([gradients[i] for i in members], length)
        highest = ops.max(ops.abs(matrix), axis=1, keepdims=True)
        usable = ops.logical_and(ops.isfinite(highest), highest > 0)
        scale = ops.where(usable, highest, ops.ones_like(highest))
        total = ops.sqrt(ops.sum(ops.square(matrix / scale), axis=1)) * scale[:, 0]
        norms.append(cast(total, dtype))
        nonzero.append(ops.sum(ops.cast(ops.not_equal(matrix, 0), dtype), axis=1))
        places += members
    return _joined(norms), _joined(nonzero), places


def _matrices(counts: Any, chosen: Any, gradients: Any, room: Any) -> Iterator[Any]:
    """Which gradients share a matrix: of one dtype and about one size."""
    alike: dict[Any, Any] = {}
    for i in chosen:
        if counts[i] is None:
            yield [i], -1
            continue
        length = 1 << max(counts[i] - 1, 0).bit_length()
        dtype = keras.backend.standardize_dtype(gradients[i].dtype)
        alike.setdefault((dtype, length), []).append(i)
    for (_, length), members in alike.items():
        rows = max(room // length, 1) if length > _SMALL else len(members)
        for start in range(0, len(members), rows):
            part = members[start : start + rows]
            yield part, counts[part[0]] if len(part) == 1 else length


def _side_by_side(gradients: Any, length: Any) -> Any:
    ops = keras.ops
    if len(gradients) == 1:
        return ops.reshape(gradients[0], (1, length))
    pieces = []
    for gradient in gradients:
        flat = ops.reshape(gradient, (-1,))
        pieces.append(flat)
        if (missing := length - _elements(gradient)) > 0:
            pieces.append(ops.zeros((missing,), flat.dtype))
    return ops.reshape(ops.concatenate(pieces), (len(gradients), length))


def _joined(parts: Any) -> Any:
    return parts[0] if len(parts) == 1 else keras.ops.concatenate(parts)


def _elements(gradient: Any) -> Any:
    # TensorFlow may not know how many rows of an embedding a batch touches.
    sizes = list(gradient.shape)
    return None if None in sizes else math.prod(int(size) for size in sizes)


# TensorFlow without XLA.


def _tensorflow_norms(gradients: Any, with_zeros: Any) -> Any:
    import tensorflow as tf

    # `l2_loss` (half the sum of squares) is the one reduction of TensorFlow that
    # makes a single pass without a temporary copy of the squares.
    dtype = wide_dtype(gradients)
    squares = 2 * tf.stack([cast(tf.nn.l2_loss(g), dtype) for g in gradients])
    trusted = tf.reduce_all((squares > _TRUSTED[0]) & (squares < _TRUSTED[1]))

    def in_full() -> Any:
        nonzero = [tf.reduce_sum(tf.cast(tf.not_equal(g, 0), dtype)) for g in gradients]
        scales = _scales(squares)
        totals = [
            2 * cast(tf.nn.l2_loss(g * tf.cast(scale, g.dtype)), dtype)
            for g, scale in zip(gradients, tf.unstack(scales), strict=True)
        ]
        return tf.sqrt(tf.stack(totals)) / scales, tf.stack(nonzero)

    return tf.cond(
        tf.logical_and(trusted, tf.logical_not(with_zeros)),
        lambda: (tf.sqrt(squares), tf.zeros_like(squares)),
        in_full,
    )


def _scales(squares: Any) -> Any:
    """Powers of two that bring gradients into range, by their plain sums of squares."""
    ops = keras.ops
    scales = ops.where(
        squares < _TRUSTED[0], _UP, ops.where(squares > _TRUSTED[1], _DOWN, 1.0)
    )
    return ops.cast(scales, squares.dtype)


# PyTorch.


def _torch_norms(gradients: Any, with_zeros: Any) -> Any:
    import torch

    dtype = getattr(torch, wide_dtype(gradients))
    norms = torch.stack([norm.to(dtype) for norm in torch_compat.norms(gradients)])
    squares = norms * norms
    if squares.device.type == "cpu":
        trusted = (squares > _TRUSTED[0]) & (squares < _TRUSTED[1])
        doubtful = torch.nonzero(~trusted)[:, 0]
    else:
        # The host would have to wait for the device to learn which ones they are.
        doubtful = torch.arange(len(gradients))
    if len(doubtful):
        rest = [gradients[i] for i in doubtful.tolist()]
        scales = _scales(squares[doubtful])
        scaled = [g * s for g, s in zip(rest, scales.to(dtype), strict=True)]
        norms[doubtful] = torch.stack(torch_compat.norms(scaled)).to(dtype) / scales
    nonzero = torch.zeros_like(norms)
    if with_zeros:
        nonzero = torch.stack([torch.count_nonzero(g) for g in gradients]).to(dtype)
    return norms, nonzero
