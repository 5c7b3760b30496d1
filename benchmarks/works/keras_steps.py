"""Steps of a Keras network: its own train and predict functions, called as `fit` does.

Each backend's trainer calls them in its own way; see `keras/src/backend/*/trainer.py`.
"""

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_gradattn
from benchmarks.harness.session import Work
from benchmarks.works.networks import NETWORKS, everyday
from benchmarks.works.task import LEARNING_RATE, WEIGHT_DECAY, Task
from keras_gradattn import config, training
from keras_gradattn._compat import jax as jax_compat
from keras_gradattn.training._seeding import seed_libraries

BACKEND = keras.backend.backend()
# Takes so many steps and waits for the last.
Execute = Callable[[int], object]


class KerasSteps(Work):
    """One network, its batch, and steps on it.

    Args:
        task: The network and its batch, as `Task` takes them.
        without: Switches that are off: `"convolution"` (by taps), keys of
            `config.KERNELS`, and the two things that `config.tune_jax_for_cpu` does,
            `"xla_options"` and `"memory_return"`.
        capture: Whether PyTorch's inference is captured.
    """

    learning_rate = LEARNING_RATE

    def __init__(
        self, task: dict[str, Any], without: tuple[str, ...] = (), capture: bool = False
    ):
        self.task = Task(**task)
        config.convolution("backend" if "convolution" in without else "auto")
        for name in config.KERNELS:
            config.kernel(name, name not in without)
        config.capture_torch_inference(capture)
        if BACKEND == "jax":
            if "memory_return" in without:
                jax_compat.return_compiler_memory = lambda: False
            if "xla_options" in without:
                jax_compat.return_compiler_memory()
            else:
                config.tune_jax_for_cpu()
        # Finds the device, which takes memory.
        keras.ops.convert_to_numpy(keras.ops.zeros(1))

    def build(self) -> None:
        seed_libraries(0)
        task = self.task
        if task.network in NETWORKS:
            self.model = everyday(
                task.network, task.num_classes, task.size, task.channels
            )
            self.optimizer = keras.optimizers.SGD(self.learning_rate)
        else:
            self.model = getattr(keras_gradattn, task.network)(
                task.num_classes,
                (None, None, task.channels),
                classifier_activation=None,
                dtype=task.precision,
                **task.arguments,
            )
            self.optimizer = training.CoupledAdam(
                self.learning_rate, weight_decay=WEIGHT_DECAY
            )
        self.arrays = task.random_batch()

    def compile(self) -> None:
        self.model.compile(
            self.optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )
        training_mode = self.task.mode == "training"
        self.execute = _EXECUTE[BACKEND](self.model, training_mode, *self.arrays)

    def run(self, count: int, part: str) -> float:
        self.execute(count)
        return count

    def details(self) -> dict[str, Any]:
        variables = self.model.trainable_variables
        parameters = sum(int(np.prod(variable.shape)) for variable in variables)
        return {"parameters": parameters, "images": self.task.batch}


def _function(model: Any, training: bool, batch: Any) -> Any:
    """What `fit` or `predict` calls for a batch."""
    if not training:
        model.make_predict_function()
        return model.predict_function
    model._symbolic_build(data_batch=batch)
    model.make_train_function()
    model.reset_metrics()
    return model.train_function


def _on_jax(model: Any, training: bool, images: Any, labels: Any) -> Execute:
    import jax

    batch = jax.device_put((images, labels) if training else (images,))
    kinds = ["trainable_variables", "non_trainable_variables"]
    if training:
        kinds += ["optimizer_variables", "metrics_variables"]
    function = _function(model, training, batch)
    batches = itertools.repeat(batch)

    def execute(count: int) -> None:
        # `fit` takes the state out of the variables once an epoch, and puts it back.
        present = dict.fromkeys(kinds, True)
        state = model._get_jax_state(**present, purge_model_variables=True)
        model._jax_state_synced = False
        for _ in range(count):
            outputs, state = function(state, batches)
            model._jax_state = dict(zip(kinds, state, strict=True))
        jax.block_until_ready((outputs, state))
        model.jax_state_sync()

    return execute


def _on_tensorflow(model: Any, training: bool, images: Any, labels: Any) -> Execute:
    import tensorflow as tf

    def any_number_of(values: Any) -> Any:
        # As in `fit` on arrays, whose last batch may be smaller.
        shape = [None, *values.shape[1:]]
        return tf.raw_ops.PlaceholderWithDefault(input=values, shape=shape)

    function = _function(model, training, (images, labels))
    if not training:
        batch = [(tf.constant(images),)]
        return lambda count: [function(batch) for _ in range(count)][-1].numpy()
    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    batches = batches.map(lambda x, y: (any_number_of(x), any_number_of(y)))
    iterator = iter(batches)

    def execute(count: int) -> None:
        for _ in range(count):
            logs = function(iterator)
        # Fetching a number waits for an accelerator.
        float(logs["loss"])

    return execute


def _on_torch(model: Any, training: bool, images: Any, labels: Any) -> Execute:
    import torch

    batch = tuple(map(keras.ops.convert_to_tensor, (images, labels)))
    function = _function(model, training, batch)
    batch = batch[: 2 if training else 1]
    model.train(training)

    def execute(count: int) -> None:
        for _ in range(count):
            function([batch])
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return execute


_EXECUTE = {"jax": _on_jax, "tensorflow": _on_tensorflow, "torch": _on_torch}
