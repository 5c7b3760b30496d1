"""What TensorFlow keeps to itself and we need. Seen with TensorFlow 2.18 and 2.21."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras


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


class WorkersModel(keras.Model):
    """A network that `fit` can train under `MultiWorkerMirroredStrategy`.

    Keras 3.8 to 3.15 fail there twice (keras-team/keras#20585). To build a model they
    ask the strategy for the mean of a tuple of values, and it takes one value only
    (`_maybe_symbolic_build`). And they take the mean of each metric, which is one
    number, along its first axis.
    Absent: `fit` builds the model in another way, which is then Keras' own.

    Args:
        network: The built network, made in the strategy's scope.
    """

    train_function: Any
    test_function: Any

    def __init__(self, network: keras.Model):
        super().__init__(name=network.name)
        self.untapped = network
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.untapped(inputs, training=training)

    def compile(self, *arguments: Any, **settings: Any) -> None:
        self._is_prepared = False
        # XLA has no way to talk to another process on a CPU.
        super().compile(*arguments, **{**settings, "jit_compile": False})

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is None or force:
            self.train_function = self._on_replicas(self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        if self.test_function is None or force:
            self.test_function = self._on_replicas(self.test_step)

    def _on_replicas(self, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
        import tensorflow as tf

        strategy = self.distribute_strategy

        @tf.function(reduce_retracing=True, autograph=False)
        def on_next(iterator: Any) -> Any:
            return keras.tree.map_structure(
                lambda value: strategy.reduce("MEAN", value, axis=None),
                strategy.run(step, args=(iterator.get_next(),)),
            )

        return on_next

    def _maybe_symbolic_build(
        self, iterator: Any = None, data_batch: Any = None
    ) -> None:
        if self._is_prepared:
            # A look at a batch is the matter of all processes.
            return
        self._is_prepared = True
        strategy = self.distribute_strategy
        if iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda value: strategy.experimental_local_results(value)[0],
                next(batches),
            )
        with strategy.scope():
            self._symbolic_build(data_batch=data_batch)
