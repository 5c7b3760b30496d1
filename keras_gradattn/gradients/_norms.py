"""Norms of gradients inside the training step, one function per backend.

Sums of squares in float32 lose every value below about 1e-19 and overflow above
1e19, and very small gradients are what this package exists to see. So the plain
sum is used only where it is trustworthy; otherwise the values are scaled into its
range first, as BLAS' ``nrm2`` does (Blue, 1978, ACM TOMS 4(1)).
"""

import keras

# Squares below float32's smallest normal number (1.2e-38) are lost; a sum of 1e7
# elements above 1e-24 cannot have lost more than 1e-7 of itself that way.
_TRUSTED = (1e-24, 1e37)
# Powers of two scale without rounding.
_UP, _DOWN = 2.0**64, 2.0**-64
# Weights may decay to almost nothing but are never huge: one scale serves them all.
_WEIGHT_SCALE = 2.0**40


def gradient_norms(gradients: list) -> object:
    """L2 norm of each gradient, as one vector in the widest dtype among them."""
    return {
        "jax": _jax_norms,
        "tensorflow": _tensorflow_norms,
        "torch": _torch_norms,
    }[keras.backend.backend()](gradients)


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
    return keras.ops.cast(gradient, wide_dtype([gradient]))


def wide_dtype(tensors: list) -> str:
    """float64 where any tensor is, float32 otherwise."""
    dtypes = {keras.backend.standardize_dtype(tensor.dtype) for tensor in tensors}
    return "float64" if "float64" in dtypes else "float32"


def weight_norms(weights: list) -> object:
    """L2 norm of each weight, as one vector."""
    ops = keras.ops
    dtype = wide_dtype(weights)
    totals = [ops.cast(ops.sum(ops.square(w * _WEIGHT_SCALE)), dtype) for w in weights]
    return ops.sqrt(ops.stack(totals)) / _WEIGHT_SCALE


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


def _jax_norms(gradients: list) -> object:
    import jax
    from jax import numpy as jnp

    dtype = wide_dtype(gradients)
    squares = jnp.stack([jnp.sum(jnp.square(g)).astype(dtype) for g in gradients])
    trusted = jnp.all((squares > _TRUSTED[0]) & (squares < _TRUSTED[1]))
    return jax.lax.cond(
        trusted, lambda: jnp.sqrt(squares), lambda: _rescaled(gradients, squares)
    )


def _tensorflow_norms(gradients: list) -> object:
    import tensorflow as tf

    dtype = wide_dtype(gradients)
    # `l2_loss` (half the sum of squares) is the one reduction of TensorFlow that
    # makes a single pass without a temporary copy of the squares.
    squares = 2 * tf.stack([tf.cast(tf.nn.l2_loss(g), dtype) for g in gradients])
    trusted = tf.reduce_all((squares > _TRUSTED[0]) & (squares < _TRUSTED[1]))
    return tf.cond(
        trusted, lambda: tf.sqrt(squares), lambda: _rescaled(gradients, squares)
    )


def _torch_norms(gradients: list) -> object:
    import torch

    dtype = getattr(torch, wide_dtype(gradients))
    plain = torch.stack([norm.to(dtype) for norm in torch._foreach_norm(gradients)])
    squares = plain * plain
    if plain.device.type == "cpu" and bool(
        ((squares > _TRUSTED[0]) & (squares < _TRUSTED[1])).all()
    ):
        return plain
    # Elsewhere the question above would make the host wait for the device.
    return _rescaled(gradients, squares)
