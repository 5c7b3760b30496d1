"""Import the package, make and train every network, and say what the process lost.

A process of its own: what another test changed would not count. Prints one JSON object,
empty where nothing outside of the package's objects changed.
"""

import json
import os
import sys
import warnings

import keras
import numpy as np

BACKEND = keras.backend.backend()


def state():
    """Everything that a library could change behind its user's back."""
    found = {
        "environment": dict(os.environ),
        "warning filters": list(map(str, warnings.filters)),
        "exception hook": str(sys.excepthook),
        "dtype policy": keras.config.dtype_policy().name,
        "image data format": keras.config.image_data_format(),
        "tensorflow's devices": list(device_changes),
    }
    if BACKEND == "jax":
        import jax
        from jax._src import monitoring

        found["jax listeners"] = [
            str(listener)
            for listener in [
                *monitoring.get_event_duration_listeners(),
                *monitoring.get_event_listeners(),
            ]
        ]
        found["jax settings"] = {k: str(v) for k, v in jax.config.values.items()}
    if BACKEND == "torch":
        import torch
        from torch.nn.modules import module

        found["torch hooks"] = [
            str(hooks)
            for hooks in (
                module._global_forward_hooks,
                module._global_forward_pre_hooks,
                module._global_backward_hooks,
            )
        ]
        found["torch settings"] = [
            torch.get_num_threads(),
            str(torch.get_default_dtype()),
            torch.is_grad_enabled(),
            torch.backends.cudnn.benchmark,
        ]
    return found


device_changes = []


def watch_tensorflow():
    """Note every change of visible devices: on a CPU it would leave no trace."""
    import tensorflow as tf

    def noted(*arguments, **_):
        device_changes.append(str(arguments))

    tf.config.set_visible_devices = noted
    tf.config.experimental.set_memory_growth = noted


def fit(model, callbacks=()):
    images = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")
    labels = np.arange(8) % 3
    model.fit(images, labels, batch_size=4, verbose=0, callbacks=list(callbacks))
    model.predict(images, verbose=0)


def main():
    watch_tensorflow()
    # What Keras itself changes the first time it trains is Keras' affair.
    plain = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    plain.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    fit(plain)
    before = state()

    import keras_gradattn as kg

    trunk = {"stage_filters": (4, 4), "stage_blocks": (1, 1)}
    head = {"width": 8, "num_heads": 2, "feed_forward": 8, "num_layers": 1}
    networks = {
        kg.GradAttnV1: trunk | head,
        kg.GradAttnV3: trunk | head,
        kg.GradAttnPathways: trunk,
        kg.CBAMResNet18: trunk,
    }
    for network, arguments in networks.items():
        model = network(3, input_shape=(16, 16, 3), **arguments)
        model.compile(
            kg.training.CoupledAdam(1e-3, weight_decay=1e-4),
            "sparse_categorical_crossentropy",
        )
        fit(model, [kg.GradientNorms()])
    digits = kg.datasets.load("digits")
    engines = ("tf.data", "pydataset")
    for engine in engines:
        batches = kg.datasets.batches(
            digits.train, digits.spec, training=True, engine=engine
        )
        next(iter(batches))
    after = state()
    print(
        json.dumps(
            {
                name: [str(before[name]), str(after[name])]
                for name in before
                if before[name] != after[name]
            }
        )
    )


if __name__ == "__main__":
    main()
