"""Several devices: exact, or refused. Devices are set up before any backend starts."""

import os
import subprocess
import sys

import pytest

COMMON = """
import warnings
import numpy as np, keras
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.output_taps import with_output_taps

random = np.random.default_rng(0)
x = random.normal(size=(32, 6)).astype("float32")
y = random.integers(0, 3, 32)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

def make():
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6,))
    h = keras.layers.Dense(8, activation="tanh", name="first")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="last")(h))

def run(optimizer=None, norms=None, taps=False, **arguments):
    model = make()
    if taps:
        model = with_output_taps(model, ["first", "last"])
    norms = norms or GradientNorms("variable")
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, **arguments)
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0,
              callbacks=[norms])
    return norms.record
"""

JAX = (
    """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
"""
    + COMMON
    + """
import jax
assert len(jax.devices()) == 2
single, single_taps = run(), run(taps=True)
keras.distribution.set_distribution(keras.distribution.DataParallel())
double, double_taps = run(), run(taps=True)
np.testing.assert_allclose(double.norm, single.norm, rtol=1e-5)
for layer, statistics in single_taps.layer_outputs.items():
    for key, values in statistics.items():
        np.testing.assert_allclose(
            double_taps.layer_outputs[layer][key], values, rtol=1e-5)
print("passed")
"""
)

TENSORFLOW = (
    """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
    + COMMON
    + """
single = run()
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    double = run()
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    for refused in (lambda: run(taps=True), lambda: run(wrapped)):
        try:
            refused()
        except ValueError as error:
            assert "replicas" in str(error), error
        else:
            raise AssertionError("not refused")
np.testing.assert_allclose(double.norm, single.norm, rtol=1e-5)

# Compiled in the scope, trained outside of it, as TensorFlow's guide has it.
with strategy.scope():
    model = make()
    model.compile(keras.optimizers.SGD(0.1), loss)
norms = GradientNorms("variable", noise_scale=True)
model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[norms])
np.testing.assert_allclose(norms.record.norm, single.norm, rtol=1e-5)
assert norms.record.step.tolist() == list(range(8))
assert norms.record.epochs["steps"].tolist() == [4, 4]

# Two replicas are two batch sizes.
def gradients(rows):
    keras.utils.set_random_seed(2)
    twin = make()
    with tf.GradientTape() as tape:
        value = loss(y[rows], twin(x[rows]))
    values = tape.gradient(value, [v.value for v in twin.trainable_variables])
    return np.concatenate([g.numpy().ravel() for g in values])
halves = [gradients(slice(0, 4)), gradients(slice(4, 8))]
small = np.mean([np.sum(h ** 2) for h in halves])
big = np.sum(np.mean(halves, axis=0) ** 2)
found = norms.record.noise_scale
np.testing.assert_allclose(found["gradient_squared"][0], 2 * big - small, rtol=1e-3)
np.testing.assert_allclose(found["noise"][0], 2 * (small - big), rtol=1e-3)
print("passed")
"""
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(JAX, id="jax", marks=pytest.mark.backends("jax")),
        pytest.param(TENSORFLOW, id="tf", marks=pytest.mark.backends("tensorflow")),
    ],
)
def test_two_devices(script):
    environment = {
        key: value for key, value in os.environ.items() if key != "XLA_FLAGS"
    }
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**environment, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip().endswith("passed"), result.stderr[-3000:]
