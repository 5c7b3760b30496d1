"""Loss scaling: unscaled values, and no row for a skipped step."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms


def make(initial_scale, **compile_arguments):
    keras.utils.set_random_seed(4)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="tanh", dtype="mixed_float16")(inputs)
    x = keras.layers.Dense(1, dtype="float32")(x)
    model = keras.Model(inputs, x)
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.0), initial_scale=initial_scale
    )
    model.compile(optimizer, "mse", **compile_arguments)
    return model


def record(initial_scale, steps=4, **compile_arguments):
    random = np.random.default_rng(1)
    x = random.normal(size=(8 * steps, 6)).astype("float32")
    model = make(initial_scale, **compile_arguments)
    norms = GradientNorms("variable")
    model.fit(x, x.sum(1), batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    return model, norms, x


def test_values_are_unscaled():
    # A power of two scales float16 exactly; only rounding of tiny values differs.
    _, small, _ = record(initial_scale=1.0)
    _, large, _ = record(initial_scale=2.0**8)
    np.testing.assert_allclose(small.record.norm, large.record.norm, rtol=2e-3)


@pytest.mark.parametrize("run_eagerly", [True, False])
def test_every_layer_equals_scaled_differentiation(gradients, run_eagerly):
    scale = 2.0**8
    _, norms, x = record(initial_scale=scale, steps=1, run_eagerly=run_eagerly)
    tensors = [keras.ops.convert_to_tensor(a) for a in (x, x.sum(1, keepdims=True))]

    def scaled_loss(y, prediction):
        return keras.ops.mean(keras.ops.square(y - prediction)) * scale

    expected = [
        np.linalg.norm(keras.ops.convert_to_numpy(g).astype("float64")) / scale
        for g in gradients(make(1.0), *tensors, scaled_loss)
    ]
    # Compiled, XLA may keep float16 intermediates in float32.
    np.testing.assert_allclose(
        norms.record.norm[0], expected, rtol=1e-5 if run_eagerly else 2e-3
    )


def test_skipped_steps_leave_no_row():
    # Infinite in float16 until the scale has been halved often enough.
    model, norms, _ = record(initial_scale=2.0**20, steps=12)
    applied = int(model.optimizer.inner_optimizer.iterations)
    assert 0 < applied < 12
    assert len(norms.record) == applied
    assert norms.record.step.tolist() == list(range(applied))
    assert norms.record.finite.all()
