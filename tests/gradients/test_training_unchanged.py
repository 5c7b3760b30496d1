"""Training ends in the same bits with and without the recorder."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms

# Optimisations are what could change the bits.
pytestmark = pytest.mark.usefixtures("full_compilation")


def make(optimizer, jit_compile, dtype=None):
    keras.utils.set_random_seed(11)
    inputs = keras.Input((12, 12, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, dtype=dtype)(inputs)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras.layers.ReLU(dtype=dtype)(x)
    x = keras.layers.Conv2D(16, 3, strides=2, dtype=dtype)(x)
    x = keras.layers.GlobalAveragePooling2D(dtype=dtype)(x)
    x = keras.layers.Dense(32, activation="gelu", dtype=dtype)(x)
    x = keras.layers.LayerNormalization(dtype=dtype)(x)
    x = keras.layers.Dropout(0.2, dtype=dtype)(x)
    model = keras.Model(inputs, keras.layers.Dense(5, dtype=dtype)(x))
    model.compile(
        optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    return model


def train(model, callbacks):
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 12, 12, 3)).astype("float32")
    y = random.integers(0, 5, 64)
    keras.utils.set_random_seed(12)
    model.fit(x, y, batch_size=16, epochs=2, verbose=0, callbacks=callbacks)
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(1e-2),
    "clipped_adamw": lambda: keras.optimizers.AdamW(1e-2, global_clipnorm=0.5),
    "accumulating": lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.SGD(
        0.05, momentum=0.9, use_ema=True, ema_overwrite_frequency=3
    ),
}


# One optimizer both ways. The others as bits are promised: compiled on JAX, and not
# under XLA on TensorFlow; PyTorch runs eagerly either way.
COMBINATIONS = [
    (optimizer, jit_compile)
    for optimizer in OPTIMIZERS
    for jit_compile in (False, True)
    if optimizer == "adam" or jit_compile == (keras.backend.backend() == "jax")
]


@pytest.mark.parametrize(("optimizer", "jit_compile"), COMBINATIONS)
def test_bit_identical(optimizer, jit_compile, backend):
    if backend == "torch" and jit_compile:
        jit_compile = "auto"  # eager, as Keras chooses on PyTorch
    make_optimizer = OPTIMIZERS[optimizer]
    without = train(make(make_optimizer, jit_compile), [])
    norms = GradientNorms(detail_every=3, check_every=2)
    recorded = train(make(make_optimizer, jit_compile), [norms])
    assert len(norms.record) == 8
    assert len(without) == len(recorded)
    # Reading a gradient once more changes how TensorFlow compiles what follows it:
    # always under XLA, and without it the last bit of SGD's momentum.
    # So does XLA on JAX where the optimizer reduces the gradients itself, to clip them.
    loose = {
        "tensorflow": jit_compile or optimizer == "ema",
        "jax": jit_compile and optimizer == "clipped_adamw",
    }
    exact = not loose.get(backend, False)
    for before, after in zip(without, recorded, strict=True):
        if exact:
            np.testing.assert_array_equal(before, after)
        else:
            np.testing.assert_allclose(before, after, rtol=1e-3, atol=1e-6)


def test_bit_identical_in_mixed_precision():
    make_optimizer = OPTIMIZERS["adam"]
    without = train(make(make_optimizer, "auto", "mixed_float16"), [])
    recorded = train(make(make_optimizer, "auto", "mixed_float16"), [GradientNorms()])
    for before, after in zip(without, recorded, strict=True):
        np.testing.assert_array_equal(before, after)
