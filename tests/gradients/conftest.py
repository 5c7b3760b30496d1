"""Small models, and gradients computed without any of our code."""

import keras
import numpy as np
import pytest


def cross_entropy(labels, logits):
    """Without a dtype of its own, unlike the loss classes."""
    values = keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    return keras.ops.mean(values)


def _jax(model, x, y, loss=cross_entropy):
    import jax

    def compute(trainable):
        state = [v.value for v in model.non_trainable_variables]
        outputs, _ = model.stateless_call(trainable, state, x, training=True)
        return loss(y, outputs)

    return jax.grad(compute)([v.value for v in model.trainable_variables])


def _tensorflow(model, x, y, loss=cross_entropy):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value = loss(y, model(x, training=True))
    return tape.gradient(value, [v.value for v in model.trainable_variables])


def _torch(model, x, y, loss=cross_entropy):
    import torch

    values = [v.value for v in model.trainable_variables]
    return torch.autograd.grad(loss(y, model(x, training=True)), values)


@pytest.fixture(scope="session")
def gradients(backend):
    """`(model, x, y, [loss]) -> gradients` by the backend's own differentiation."""
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[backend]


@pytest.fixture(scope="session")
def data():
    """Five uneven batches of eight features and four classes."""
    random = np.random.default_rng(3)
    x = random.normal(size=(38, 8)).astype("float32")
    y = random.integers(0, 4, size=38).astype("int32")
    return x, y


@pytest.fixture(scope="session")
def make_model():
    """Function that builds the same small model each time."""

    def make(dtype=None, seed=7):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((8,))
        x = keras.layers.Dense(12, activation="tanh", name="first", dtype=dtype)(inputs)
        x = keras.layers.BatchNormalization(name="norm", dtype=dtype)(x)
        shared = keras.layers.Dense(12, activation="gelu", name="shared", dtype=dtype)
        x = shared(shared(x))
        outputs = keras.layers.Dense(4, name="last", dtype=dtype)(x)
        return keras.Model(inputs, outputs, name="small")

    return make


@pytest.fixture(scope="session")
def expected_norms(gradients):
    """Function: norms per step of a training loop written out by hand."""

    def run(model, optimizer, x, y, *, batch_size=8, epochs=1):
        optimizer.build(model.trainable_variables)
        norms = []
        for _ in range(epochs):
            for start in range(0, len(x), batch_size):
                batch = slice(start, start + batch_size)
                xb = keras.ops.convert_to_tensor(x[batch])
                yb = keras.ops.convert_to_tensor(y[batch])
                values = gradients(model, xb, yb)
                norms.append(
                    [
                        np.linalg.norm(keras.ops.convert_to_numpy(g).astype("float64"))
                        for g in values
                    ]
                )
                _apply(optimizer, values, model)
        return np.array(norms)

    return run


def _apply(optimizer, values, model):
    if keras.backend.backend() == "torch":
        import torch

        with torch.no_grad():
            optimizer.apply(list(values), model.trainable_variables)
    else:
        optimizer.apply(list(values), model.trainable_variables)
