"""Several updates a step, unreached weights, wrappers, checks for NaN."""

import os
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_gradattn.gradients._recorded_step import unwrap
from keras_gradattn.gradients.gradient_norms import GradientNorms


def two_updates(backend):
    class Model(keras.Model):
        """One optimizer that is called for each layer by itself."""

        def train_step(self, data):
            x, y = data[0], data[1]
            for name in ("first", "last"):
                variables = self.get_layer(name).trainable_weights
                if backend == "torch":
                    import torch

                    self.zero_grad()
                    loss = keras.ops.mean(keras.ops.square(self(x) - y))
                    loss.backward()
                    with torch.no_grad():
                        gradients = [v.value.grad for v in variables]
                        self.optimizer.apply(gradients, variables)
                else:
                    import tensorflow as tf

                    with tf.GradientTape() as tape:
                        loss = keras.ops.mean(keras.ops.square(self(x) - y))
                    gradients = tape.gradient(loss, variables)
                    self.optimizer.apply(gradients, variables)
            return {"loss": loss}

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, name="first")(inputs)
    model = Model(inputs, keras.layers.Dense(1, name="last")(x))
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.backends("tensorflow", "torch")
@pytest.mark.parametrize(
    ("arguments", "rows"), [({}, 32), ({"every": 2}, 16), ({"max_rows": 20}, 16)]
)
def test_thinning_leaves_rows_of_both_updates(backend, arguments, rows):
    model, norms = two_updates(backend), GradientNorms(**arguments)
    x, y = np.ones((64, 6), "float32"), np.ones((64, 1), "float32")
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=[norms])
    record = norms.record
    assert len(record) == rows
    assert record.measured.sum(axis=0).tolist() == [rows / 2, rows / 2]
    assert (record.measured.sum(axis=1) == 1).all()
    assert "dead" not in norms.report()
    assert "reach" not in norms.report()
    assert record.epochs["steps"].tolist() == [16, 16]
    assert np.isfinite(record.epochs["mean"]).all()


@pytest.mark.backends("tensorflow")
def test_a_subclassed_model_that_is_built_in_part():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            inputs = keras.Input((6,))
            outputs = keras.layers.Dense(8, name="inner")(inputs)
            self.backbone = keras.Model(inputs, outputs, name="backbone")
            self.head = keras.layers.Dense(3, name="head")

        def call(self, x):
            return self.head(self.backbone(x))

    model = Model()
    with pytest.warns(UserWarning, match="build"):
        model.build((None, 6))
    model.compile("sgd", "mse")
    norms = GradientNorms()
    model.fit(np.ones((16, 6)), np.ones((16, 3)), verbose=0, callbacks=[norms])
    assert norms.record.groups == ("backbone/inner", "head")
    assert (norms.record.norm > 0).all()


def test_only_what_the_loss_never_reached_is_named():
    class Changing(keras.Model):
        """Uses one head in training that is run eagerly, then the other."""

        def __init__(self):
            super().__init__()
            self.heads = [keras.layers.Dense(1, name=f"head_{i}") for i in range(3)]
            self.steps = 0

        def build(self, shape):
            for head in self.heads:
                head.build(shape)
            self.built = True

        def call(self, x):
            self.steps += 1
            return self.heads[0 if self.steps % 2 else 1](x)

    model, norms = Changing(), GradientNorms()
    model.build((None, 3))
    model.compile("sgd", "mse", run_eagerly=True)
    # JAX gives zeros where there is no gradient, and warns of nothing.
    reached = keras.backend.backend() == "jax"
    data = np.ones((32, 3)), np.ones((32, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")
        model.fit(*data, batch_size=8, verbose=0, callbacks=[norms])
    unreached = {path.split("/")[-2] for path in norms.record.without_gradient}
    assert unreached == (set() if reached else {"head_2"})


class Halving(keras.optimizers.SGD):
    """Wraps another optimizer, which it hands half of each gradient."""

    def __init__(self, inner):
        super().__init__(0.1)
        self.inner_optimizer = inner

    def apply(self, grads, trainable_variables=None):
        halves = [g / 2 for g in grads]
        super().apply(halves, trainable_variables)


def test_wrappers_are_measured_where_the_gradient_arrives(make_model, data):
    records = []
    for optimizer in (keras.optimizers.SGD(0.0), Halving(keras.optimizers.Adam())):
        model, norms = make_model(), GradientNorms("variable")
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(True))
        model.fit(*data, batch_size=38, verbose=0, callbacks=[norms])
        records.append(norms.record)
        assert unwrap(optimizer) is optimizer
    np.testing.assert_allclose(records[1].norm, records[0].norm, rtol=1e-4, atol=1e-7)


STRICT = """
import numpy as np, keras
from keras_gradattn.gradients import (
    GradientNorms, analyze_gradient_flow, with_output_taps)
if keras.backend.backend() == "jax":
    import jax
    jax.config.update("jax_debug_nans", True)
else:
    import tensorflow as tf
    tf.debugging.enable_check_numerics()
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(), "mse")
norms = GradientNorms(detail_every=2)
x, y = np.ones((24, 6), "float32"), np.ones((24, 1), "float32")
model.fit(x, y, batch_size=8, verbose=0, callbacks=[norms])
assert len(norms.record) == 3 and np.isfinite(norms.record.norm).all()
flow = analyze_gradient_flow(model, (x, y), batch_size=8)
assert np.isfinite(flow.gradient["norm"]).all()
assert np.isnan(flow.forward["dead_relu_share"]).all()
tapped = with_output_taps(model, model.layers)
tapped.compile(keras.optimizers.Adam(), "mse")
norms = GradientNorms(detail_every=2)
tapped.fit(x, y, batch_size=8, verbose=0, callbacks=[norms])
(outputs,) = norms.record.layer_outputs.values()
assert np.isfinite(list(outputs.values())).all()
print("passed")
"""


@pytest.mark.backends("jax", "tensorflow")
def test_checks_for_nan_find_none():
    result = subprocess.run(
        [sys.executable, "-c", STRICT],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stdout.strip().endswith("passed"), result.stderr[-3000:]


@pytest.mark.backends("tensorflow")
def test_sparse_gradients_stay_sparse():
    import tensorflow as tf

    from keras_gradattn.gradients._sparse import nonzero_rows

    rows = tf.IndexedSlices(
        tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        tf.constant([7, 2, 7]),
        tf.constant([1_000_000_000, 2]),
    )
    for run in (nonzero_rows, tf.function(nonzero_rows, jit_compile=True)):
        found = np.sort(np.linalg.norm(run(rows).numpy(), axis=1))
        np.testing.assert_allclose(found, [0, 5, 10], rtol=1e-6)
