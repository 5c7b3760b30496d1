"""What TensorFlow keeps to itself and we need. Seen with TensorFlow 2.18 and 2.21."""

import warnings
from collections.abc import Sequence
from typing import Any


def optimization_barrier(tensors: Sequence[Any]) -> list[Any]:
    """The same tensors, which XLA may not compute together with what uses them.

    The operation is registered but left out of `tf.raw_ops`. Absent: the tensors as
    they are, with a warning, since results may then differ in their last bits.

    Args:
        tensors: Anything that TensorFlow converts.

    Returns:
        One tensor for each.
    """
    import tensorflow as tf

    tensors = [tf.convert_to_tensor(tensor) for tensor in tensors]
    try:
        from tensorflow.compiler.tf2xla.ops import gen_xla_ops

        barrier = gen_xla_ops.xla_optimization_barrier
    except (ImportError, AttributeError):
        warnings.warn(
            "This TensorFlow offers no barrier for XLA: with `jit_compile=True`, "
            "recorded training may differ from unrecorded in the last bits. "
            f"Received: TensorFlow {tf.__version__}",
            RuntimeWarning,
            stacklevel=2,
        )
        return tensors
    return list(barrier(tensors))


def described_batch(iterator: Any) -> Any:
    """What a data set's iterator gives, as Keras' symbolic tensors; all public.

    Args:
        iterator: Of a `tf.data.Dataset`.

    Returns:
        The batch's structure, `None` for what is left out of it; `None` altogether
        where the iterator does not say, or where a part is no plain tensor.
    """
    import keras
    import tensorflow as tf

    def described(spec: Any) -> Any:
        if isinstance(spec, tf.OptionalSpec):
            return None
        return keras.KerasTensor(tuple(spec.shape), spec.dtype.name)

    specs = getattr(iterator, "element_spec", None)
    kinds = (tf.TensorSpec, tf.OptionalSpec)
    if specs is None or not all(
        type(spec) in kinds and (type(spec) is tf.OptionalSpec or spec.shape.rank)
        for spec in tf.nest.flatten(specs)
    ):
        return None
    return tf.nest.map_structure(described, specs)


def hide_accelerators() -> bool:
    """Hide every accelerator from TensorFlow in this process; all public.

    Returns:
        `False` if TensorFlow runs already and can no longer be told.
    """
    import tensorflow as tf

    try:
        tf.config.set_visible_devices([], "GPU")
        tf.config.set_visible_devices([], "TPU")
    except RuntimeError:
        return False
    return True
