"""Steps of a Keras network: its own train and predict functions, called as `fit` does.

Each backend's trainer calls them in its own way; see `keras/src/backend/*/trainer.py`.
"""

import itertools
from typing import Any

import keras
import numpy as np

import keras_gradattn
from benchmarks.harness.work import Work
from benchmarks.works.task import LEARNING_RATE, WEIGHT_DECAY, Task
from keras_gradattn import config, training
from keras_gradattn._compat import jax as jax_compat
from keras_gradattn.training._seeding import seed_libraries

BACKEND = keras.backend.backend()


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
        self.model = getattr(keras_gradattn, self.task.network)(
            self.task.num_classes,
            (None, None, self.task.channels),
            classifier_activation=None,
            dtype=self.task.precision,
            **self.task.arguments,
        )
        self.arrays = self.task.random_batch()

    def compile(self) -> None:
        self.model.compile(
            training.CoupledAdam(self.learning_rate, weight_decay=WEIGHT_DECAY),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        self.execute = _STEPS[BACKEND, self.task.mode](self.model, *self.arrays)

    def run(self, count: int, part: str) -> float:
        self.execute(count)
        return count

    def details(self) -> dict[str, Any]:
        variables = self.model.trainable_variables
        parameters = sum(int(np.prod(variable.shape)) for variable in variables)
        return {"parameters": parameters, "images": self.task.batch}

    def device_peak_bytes(self) -> int | None:
        return _DEVICE_PEAK[BACKEND]()


def _jax_training(model, images, labels):
    import jax

    batch = (jax.device_put(images), jax.device_put(labels))
    model._symbolic_build(data_batch=batch)
    model.make_train_function()
    model.reset_metrics()
    batches = itertools.repeat(batch)
    return _jax_executions(
        model,
        model.train_function,
        batches,
        "trainable",
        "non_trainable",
        "optimizer",
        "metrics",
    )


def _jax_inference(model, images, labels):
    import jax

    model.make_predict_function()
    batches = itertools.repeat((jax.device_put(images),))
    return _jax_executions(
        model, model.predict_function, batches, "trainable", "non_trainable"
    )


def _jax_executions(model, function, batches, *kinds):
    import jax

    kinds = [f"{kind}_variables" for kind in kinds]
    present = dict.fromkeys(kinds, True)

    def execute(count):
        # `fit` takes the state out of the variables once an epoch, and puts it back.
        state = model._get_jax_state(**present, purge_model_variables=True)
        model._jax_state_synced = False
        for _ in range(count):
            outputs, state = function(state, batches)
            model._jax_state = dict(zip(kinds, state, strict=True))
        jax.block_until_ready((outputs, state))
        model.jax_state_sync()

    return execute


def _tensorflow_training(model, images, labels):
    import tensorflow as tf

    def any_number_of(values):
        # As in `fit` on arrays, whose last batch may be smaller.
        shape = [None, *values.shape[1:]]
        return tf.raw_ops.PlaceholderWithDefault(input=values, shape=shape)

    batches = tf.data.Dataset.from_tensors((images, labels)).repeat()
    batches = batches.map(lambda x, y: (any_number_of(x), any_number_of(y)))
    iterator = iter(batches)
    model._symbolic_build(data_batch=(images, labels))
    model.make_train_function()
    model.reset_metrics()

    def execute(count):
        for _ in range(count):
            logs = model.train_function(iterator)
        # Fetching a number waits for an accelerator.
        float(logs["loss"])

    return execute


def _tensorflow_inference(model, images, labels):
    import tensorflow as tf

    batch = (tf.constant(images),)
    model.make_predict_function()

    def execute(count):
        for _ in range(count):
            outputs = model.predict_function([batch])
        outputs.numpy()

    return execute


def _torch_training(model, images, labels):
    batch = tuple(keras.ops.convert_to_tensor(a) for a in (images, labels))
    model._symbolic_build(data_batch=batch)
    model.make_train_function()
    model.reset_metrics()
    model.train()
    return _torch_executions(model.train_function, batch)


def _torch_inference(model, images, labels):
    model.make_predict_function()
    model.eval()
    return _torch_executions(
        model.predict_function, (keras.ops.convert_to_tensor(images),)
    )


def _torch_executions(function, batch):
    import torch

    def execute(count):
        for _ in range(count):
            function([batch])
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return execute


_STEPS = {
    ("jax", "training"): _jax_training,
    ("jax", "inference"): _jax_inference,
    ("tensorflow", "training"): _tensorflow_training,
    ("tensorflow", "inference"): _tensorflow_inference,
    ("torch", "training"): _torch_training,
    ("torch", "inference"): _torch_inference,
}


def _jax_device_peak():
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    return statistics and statistics.get("peak_bytes_in_use")


def _tensorflow_device_peak():
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def _torch_device_peak():
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


_DEVICE_PEAK = {
    "jax": _jax_device_peak,
    "tensorflow": _tensorflow_device_peak,
    "torch": _torch_device_peak,
}
