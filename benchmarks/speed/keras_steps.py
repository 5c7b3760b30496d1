"""Steps of a Keras network: its own train and predict functions, called as `fit` does.

Each backend's trainer calls them in its own way; see `keras/src/backend/*/trainer.py`.
"""

import importlib
import itertools
import time

import keras
import numpy as np

import keras_gradattn
from benchmarks.speed.contenders import (
    LEARNING_RATE,
    WEIGHT_DECAY,
    Contender,
    Task,
)
from benchmarks.speed.random_batch import random_batch
from keras_gradattn import training
from keras_gradattn.training._seeding import seed_libraries

BACKEND = keras.backend.backend()


def imports(contender: Contender) -> None:
    """Load what the steps need and find the device, before memory is measured."""
    if contender.engine == "keras_hub":
        importlib.import_module("keras_hub")
    elif contender.convolution_form != "backend":
        keras_gradattn.config.tune_jax_for_cpu()
    keras.ops.convert_to_numpy(keras.ops.zeros(1))


def versions() -> dict[str, str]:
    found = {"keras": keras.__version__}
    found[BACKEND] = importlib.import_module(BACKEND).__version__
    return found


class Steps:
    """One network, its batch, and steps on it."""

    def __init__(self, contender: Contender, task: Task):
        seed_libraries(0)
        keras_gradattn.config.convolution(contender.convolution_form)
        self.contender, self.task = contender, task
        build = _our_network
        if contender.engine == "keras_hub":
            build = _keras_hub_network
        elif task.network == "Encoder":
            build = _encoder_alone
        self.model = build(contender, task)
        self.arrays = random_batch(task)

    @property
    def parameters(self) -> int:
        return sum(int(np.prod(v.shape)) for v in self.model.trainable_variables)

    @property
    def details(self) -> dict[str, object]:
        return {
            "jit_compile": self.model.jit_compile,
            "convolution_form": self.contender.convolution_form,
        }

    def compile(self) -> None:
        # Loss scaling is what `compile` adds by itself under mixed_float16.
        self.model.compile(
            training.CoupledAdam(LEARNING_RATE, weight_decay=WEIGHT_DECAY),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile="auto" if self.contender.jit is None else self.contender.jit,
            steps_per_execution=self.contender.steps_per_execution,
        )
        self.execute = _STEPS[BACKEND, self.task.mode](self.model, *self.arrays)

    def run(self, count: int) -> int:
        """Run at least `count` steps, whole executions, and wait for the last."""
        steps_per_execution = self.contender.steps_per_execution
        executions = -(-count // steps_per_execution)
        self.execute(executions)
        return executions * steps_per_execution

    def fit(self, count: int, epochs: int = 4) -> list[float]:
        """Seconds per step of `fit` or `predict` itself on arrays, epoch by epoch.

        The first epoch, which may compile again, is left out. No other step may follow.
        """
        del self.execute
        images, labels = (np.concatenate([a] * count) for a in self.arrays)
        if self.task.mode == "inference":
            seconds = []
            for _ in range(epochs):
                start = time.perf_counter()
                self.model.predict(images, batch_size=self.task.batch, verbose=0)
                seconds.append((time.perf_counter() - start) / count)
            return seconds[1:]
        clock = _EpochClock()
        self.model.fit(
            images,
            labels,
            batch_size=self.task.batch,
            epochs=epochs,
            verbose=0,
            callbacks=[clock],
        )
        return [seconds / count for seconds in clock.seconds[1:]]

    def operations_per_step(self) -> None:
        """Unknown here: the peer counts them."""

    def device_peak_bytes(self) -> int | None:
        return _DEVICE_PEAK[BACKEND]()


class _EpochClock(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.start)


def _image_shape(contender, task):
    size = task.size if contender.static_shape else None
    return (size, size, task.channels)


def _our_network(contender, task):
    return getattr(keras_gradattn, contender.network or task.network)(
        task.num_classes,
        _image_shape(contender, task),
        classifier_activation=None,
        dtype=task.precision,
        **(task.arguments | contender.arguments),
    )


def _encoder_alone(contender, task):
    from keras_gradattn.layers import EncoderBlock, Linear

    tokens = keras.Input(task.input_shape)
    x = tokens
    for _ in range(3):
        x = EncoderBlock(8, 512, dtype=task.precision)(x)
    x = keras.ops.mean(x, axis=1)
    return keras.Model(tokens, Linear(task.num_classes, dtype="float32")(x))


def _keras_hub_network(contender, task):
    import keras_hub

    backbone = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[2, 2, 2, 2],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=_image_shape(contender, task),
        dtype=task.precision,
    )
    pooled = keras.layers.GlobalAveragePooling2D(dtype=task.precision)(backbone.output)
    outputs = keras.layers.Dense(task.num_classes, dtype="float32")(pooled)
    return keras.Model(backbone.input, outputs)


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
            outputs = model.predict_function([batch] * model.steps_per_execution)
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
