"""Sparse gradients of embeddings, measured without making them dense."""

from typing import Any

import keras


def nonzero_rows(gradient: Any) -> Any:
    """The rows of a gradient that can differ from zero, each once; dense ones as is.

    Embeddings hand over rows in which one token can occur several times; only the
    summed rows have the norm that the optimizer sees. Rows of zeros may follow.

    Args:
        gradient: A tensor, `tf.IndexedSlices`, a sparse PyTorch tensor or a JAX BCOO.

    Returns:
        A dense tensor with the same norm.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if isinstance(gradient, tf.IndexedSlices):
            return _tensorflow_rows(gradient.values, gradient.indices)
        return tf.convert_to_tensor(gradient)
    if backend == "torch":
        return gradient.coalesce().values() if gradient.is_sparse else gradient
    if hasattr(gradient, "sum_duplicates"):
        return gradient.sum_duplicates(nse=gradient.nse).data
    return gradient


def _tensorflow_rows(values: Any, indices: Any) -> Any:
    import tensorflow as tf

    # By sorting, which XLA can compile: `tf.unique` has no shape known beforehand.
    order = tf.argsort(indices)
    indices, values = tf.gather(indices, order), tf.gather(values, order)
    is_new = tf.concat([[0], tf.cast(indices[1:] != indices[:-1], "int32")], 0)
    return tf.math.unsorted_segment_sum(values, tf.cumsum(is_new), tf.shape(indices)[0])
