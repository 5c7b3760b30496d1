"""Norms of gradients inside the training step, one function per backend.

Sums of squares in float32 lose every value below about 1e-19 and overflow above
1e19, and very small gradients are what this package exists to see. So the plain
sum is used only where it is trustworthy; otherwise the values are scaled into its
range first, as BLAS' ``nrm2`` does (Blue, 1978, ACM TOMS 4(1)).
"""

import math

import keras
import numpy as np

# Squares below float32's smallest normal number (1.2e-38) are lost; a sum of 1e7
# elements above 1e-24 cannot have lost more than 1e-7 of itself that way.
_TRUSTED = (1e-24, 1e37)
# Powers of two scale without rounding.
_UP, _DOWN = 2.0**64, 2.0**-64
# Gradients with fewer elements cost less to measure in full than to branch for.
_SMALL = 2**14
# Weights may decay to almost nothing but are never huge: one scale serves them all.
_WEIGHT_SCALE = 2.0**40


def norms_and_zero_shares(gradients: list, with_zeros: object, compiled: bool) -> tuple:
    """L2 norm of each gradient, and its share of exactly zero elements.

    Args:
        gradients: Dense tensors.
        with_zeros: Whether shares are wanted, a bool or a traced one. NaN otherwise.
        compiled: Whether XLA compiles the step.

    Returns:
        Two vectors in the widest dtype among the gradients, and for each gradient a
        tensor that is there once it was measured (`None` where that does not matter).
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return *_torch_norms_and_zero_shares(gradients, with_zeros), None
    if backend == "tensorflow" and not compiled:
        return _tensorflow_norms_and_zero_shares(gradients, with_zeros)
    return *_xla_norms_and_zero_shares(gradients, with_zeros), None


def after(gradient: object, measured: object) -> object:
    """The gradient, for TensorFlow's graph to use only once it was measured.

    Else the optimizer may start with it and read it before, with or after the
    measurement, from memory twice, and find no place of its own to write to.
    """
    import tensorflow as tf

    if not tf.is_tensor(gradient):  # rows of an embedding
        return gradient
    with tf.control_dependencies([measured]):
        return tf.identity(gradient)


def zero_shares(gradients: list) -> object:
    """Share of exactly zero elements of each gradient, as one vector."""
    return keras.ops.stack(
        [
            keras.ops.mean(keras.ops.cast(keras.ops.equal(g, 0), wide_dtype([g])))
            for g in gradients
        ]
    )


def dense(gradient: object) -> object:
    """The gradient as an ordinary tensor: sparse rows summed, half widened.

    Embeddings hand over sparse gradients in which one row can occur several times;
    only the summed rows have the norm that the optimizer sees.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        gradient = tf.convert_to_tensor(gradient)
    elif backend == "torch" and gradient.is_sparse:
        gradient = gradient.to_dense()
    elif hasattr(gradient, "todense"):
        gradient = gradient.todense()
    return cast(gradient, wide_dtype([gradient]))


def cast(tensor: object, dtype: str) -> object:
    """What `keras.ops.cast` does.

    PyTorch takes every operation as it comes, and Keras' own takes longer to find
    nothing to do than a norm of a small gradient takes.
    """
    if keras.backend.backend() == "torch":
        import torch

        return tensor.to(getattr(torch, dtype))
    return keras.ops.cast(tensor, dtype)


def wide_dtype(tensors: list) -> str:
    """float64 where any tensor is, float32 otherwise."""
    dtypes = {keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors}
    return "float64" if "float64" in dtypes else "float32"


def weight_norms(weights: list, wanted: object, compiled: bool) -> object:
    """L2 norm of each weight, as one vector; NaN where not `wanted`."""
    dtype = wide_dtype(weights)
    if compiled or keras.backend.backend() == "jax":
        # A branch each, see `_xla_norms_and_zero_shares`.
        norms = [
            _if_wanted(wanted, lambda w=w: _weight_norm(w, dtype), dtype)
            for w in weights
        ]
        return keras.ops.stack(norms)
    return _if_wanted(
        wanted,
        lambda: keras.ops.stack([_weight_norm(w, dtype) for w in weights]),
        dtype,
        (len(weights),),
    )


def _weight_norm(weight, dtype):
    ops = keras.ops
    total = ops.sum(ops.square(dense(weight) * _WEIGHT_SCALE))
    return ops.cast(ops.sqrt(total), dtype) / _WEIGHT_SCALE


def _if_wanted(wanted, compute, dtype, shape=()):
    return _branch(wanted, compute, lambda: keras.ops.full(shape, float("nan"), dtype))


def _branch(predicate, if_true, if_false):
    """A branch of the compiled step; an ordinary one where the answer is known."""
    known = isinstance(predicate, bool)
    if keras.backend.backend() == "jax" and not known:
        import jax

        # Eager JAX would compile the branch anew at every step.
        known = not isinstance(predicate, jax.core.Tracer)
    if known:
        return if_true() if predicate else if_false()
    return keras.ops.cond(predicate, if_true, if_false)


def row_norms(matrix: object) -> object:
    """L2 norm of each row of a matrix."""
    if keras.backend.backend() == "torch":
        import torch

        # Without a copy that holds the squares.
        return torch.linalg.vector_norm(matrix, dim=1)
    return keras.ops.sqrt(keras.ops.sum(keras.ops.square(matrix), axis=1))


def scaled_row_norms(matrix: object) -> tuple:
    """L2 norm of each row divided by a scale, and that scale, for any magnitude."""
    if keras.backend.backend() != "tensorflow":
        return _rows_over_largest(matrix)
    # Without a compiler each operation passes over the memory: most gradients need no
    # scale, which their plain sums of squares tell.
    ops = keras.ops
    squares = ops.sum(ops.square(matrix), axis=1)
    total = ops.sum(squares)
    return _branch(
        ops.logical_and(total > _TRUSTED[0], total < _TRUSTED[1]),
        lambda: (ops.sqrt(squares), ops.ones_like(total)),
        lambda: _rows_over_largest(matrix),
    )


def _rows_over_largest(matrix):
    ops = keras.ops
    # One pass for the largest value, one for the norms of the values scaled by it.
    highest = largest(matrix)
    usable = ops.logical_and(ops.isfinite(highest), highest > 0)
    scale = ops.where(usable, highest, ops.ones_like(highest))
    return row_norms(matrix / scale), scale


def largest(values: object) -> object:
    """The largest absolute value; NaN where there is one."""
    if keras.backend.backend() == "torch":
        import torch

        return torch.linalg.vector_norm(values, float("inf"))
    return keras.ops.max(keras.ops.abs(values))


def _rescaled(gradients: list, squares: object) -> object:
    """Norms of the scaled gradients, each by what its plain sum of squares tells."""
    ops = keras.ops
    scale = ops.where(
        squares < _TRUSTED[0], _UP, ops.where(squares > _TRUSTED[1], _DOWN, 1.0)
    )
    scale = ops.cast(scale, squares.dtype)
    totals = [
        ops.cast(ops.sum(ops.square(g * ops.cast(scale[i], g.dtype))), squares.dtype)
        for i, g in enumerate(gradients)
    ]
    return ops.sqrt(ops.stack(totals)) / scale


def _xla_norms_and_zero_shares(gradients, with_zeros):
    ops = keras.ops
    dtype = wide_dtype(gradients)
    nan = ops.full((), float("nan"), dtype)
    norms, zeros = [], []
    for g in gradients:
        square = ops.cast(ops.sum(ops.square(g)), dtype)

        def in_full(g=g, square=square):
            squares = ops.expand_dims(square, 0)
            return _rescaled([g], squares)[0], ops.cast(zero_shares([g])[0], dtype)

        def in_short(square=square):
            return ops.sqrt(square), nan

        if _is_small(g):
            norm, zero = in_full()
        else:
            # A branch each: one branch for all would keep every gradient until the
            # last is there, and read them when the processor's cache has lost them.
            trusted = (square > _TRUSTED[0]) & (square < _TRUSTED[1])
            short = ops.logical_and(trusted, ops.logical_not(with_zeros))
            norm, zero = _branch(short, in_short, in_full)
        norms.append(norm)
        zeros.append(zero)
    return ops.stack(norms), ops.where(with_zeros, ops.stack(zeros), nan)


def _is_small(gradient):
    # TensorFlow may not know the size of a gradient that was sparse.
    if keras.backend.backend() == "tensorflow":
        size = gradient.shape.num_elements()
    else:
        size = math.prod(gradient.shape)
    return size is not None and size < _SMALL


def _tensorflow_norms_and_zero_shares(gradients, with_zeros):
    import tensorflow as tf

    # A branch keeps its gradients until it is taken, and the optimizer cannot work
    # in their memory meanwhile: one for each large gradient, one for all small ones.
    small = [i for i, g in enumerate(gradients) if _is_small(g)]
    large = [[i] for i, g in enumerate(gradients) if not _is_small(g)]
    groups = [group for group in (small, *large) if group]
    measured = [
        _tensorflow_group([gradients[i] for i in group], with_zeros) for group in groups
    ]
    order = np.argsort(np.concatenate(groups))
    # In one dtype: one gradient of 64 bits makes all of them so.
    dtype = wide_dtype(gradients)
    norms, zeros = (
        tf.gather(tf.concat([tf.cast(part, dtype) for part in parts], 0), order)
        for parts in zip(*measured, strict=True)
    )
    ready = {
        i: part
        for group, (part, _) in zip(groups, measured, strict=True)
        for i in group
    }
    return norms, zeros, [ready[i] for i in range(len(gradients))]


def _tensorflow_group(gradients, with_zeros):
    import tensorflow as tf

    # `l2_loss` (half the sum of squares) is the one reduction of TensorFlow that
    # makes a single pass without a temporary copy of the squares.
    dtype = wide_dtype(gradients)
    squares = 2 * tf.stack([tf.cast(tf.nn.l2_loss(g), dtype) for g in gradients])
    trusted = tf.reduce_all((squares > _TRUSTED[0]) & (squares < _TRUSTED[1]))
    missing = tf.fill(tf.shape(squares), tf.constant(float("nan"), squares.dtype))
    norms, zeros = tf.cond(
        tf.logical_and(trusted, tf.logical_not(with_zeros)),
        lambda: (tf.sqrt(squares), missing),
        lambda: (
            _rescaled(gradients, squares),
            tf.cast(zero_shares(gradients), squares.dtype),
        ),
    )
    return norms, tf.where(with_zeros, zeros, missing)


def _torch_norms_and_zero_shares(gradients, with_zeros):
    import torch

    dtype = getattr(torch, wide_dtype(gradients))
    norms = torch.stack([norm.to(dtype) for norm in torch._foreach_norm(gradients)])
    squares = norms * norms
    if squares.device.type == "cpu":
        trusted = (squares > _TRUSTED[0]) & (squares < _TRUSTED[1])
        doubtful = torch.nonzero(~trusted)[:, 0]
    else:
        # The host would have to wait for the device to learn which ones they are.
        doubtful = torch.arange(len(gradients))
    if len(doubtful):
        rest = [gradients[i] for i in doubtful.tolist()]
        norms[doubtful] = _rescaled(rest, squares[doubtful])
    missing = torch.full_like(norms, float("nan"))
    return norms, zero_shares(gradients).to(dtype) if with_zeros else missing
