"""Trains a head that is divided between two virtual devices, and one that is whole."""

import os

# Devices are set up before a backend starts.
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"

import json

import jax
import keras
import numpy as np

import keras_gradattn
from keras_gradattn import training


def train():
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(0)
    images = random.normal(size=(16, 16, 16, 1)).astype("float32")
    model = keras_gradattn.GradAttnV1(
        4,
        (16, 16, 1),
        stage_filters=(4, 4, 8, 8),
        stage_blocks=(1, 1, 1, 1),
        width=16,
        num_heads=2,
        feed_forward=32,
        num_layers=2,
        dropout=0.0,
    )
    norms = keras_gradattn.GradientNorms()
    # Not Adam, which would blow the rounding of gradients that are zero up to steps.
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    history = model.fit(
        images,
        np.arange(16) % 4,
        batch_size=8,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=[norms],
    )
    divided = [
        variable.path
        for variable in model.trainable_variables
        if not variable.value.sharding.is_fully_replicated
    ]
    return {
        "loss": history.history["loss"],
        "norms": norms.record.norm.tolist(),
        "weights": np.concatenate([w.ravel() for w in model.get_weights()]).tolist(),
        "divided": divided,
    }


if __name__ == "__main__":
    whole = train()
    devices = [f"cpu:{device.id}" for device in jax.devices()]
    mesh = keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices)
    keras.distribution.set_distribution(
        keras.distribution.ModelParallel(
            layout_map=training.head_layout(mesh), batch_dim_name="batch"
        )
    )
    print(json.dumps({"whole": whole, "divided": train()}))
