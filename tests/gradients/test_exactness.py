"""Recorded norms equal those of a training loop written out by hand."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients._norms import norms_and_zero_shares
from keras_gradattn.gradients.gradient_norms import GradientNorms


def cross_entropy(labels, logits):
    """Without a dtype of its own, unlike the loss classes."""
    values = keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )
    return keras.ops.mean(values)


SGD = keras.optimizers.SGD
# Before, Keras on JAX left a model whose fit had failed without its values.
FITS_AFTER_A_FAILURE = pytest.mark.keras_since(
    "3.15" if keras.backend.backend() == "jax" else "3.8"
)


def fit(model, optimizer, data, *, epochs=2, callbacks=(), norms=None, **compile_args):
    norms = norms or GradientNorms("variable")
    model.compile(optimizer, cross_entropy, **compile_args)
    model.fit(
        *data, batch_size=8, epochs=epochs, shuffle=False, verbose=0,
        callbacks=[norms, *callbacks],
    )  # fmt: skip
    return norms


def check(norms, expected, rtol=1e-5):
    # Gradients of about 1e-9 (a bias before a normalisation) are rounding alone.
    np.testing.assert_allclose(norms.record.norm, expected, rtol=rtol, atol=1e-7)
    assert norms.record.lost == 0


@pytest.fixture(scope="module")
def expected(make_model, expected_norms, data):
    return expected_norms(make_model(), SGD(0.1), *data, epochs=2)


def test_default_compilation(make_model, data, expected):
    norms = fit(make_model(), SGD(0.1), data)
    check(norms, expected)
    assert norms.record.step.tolist() == list(range(10))
    assert norms.record.epoch.tolist() == [0] * 5 + [1] * 5


@pytest.mark.slow
@pytest.mark.usefixtures("full_compilation")
@pytest.mark.parametrize(
    "jit_compile",
    [
        False,
        # PyTorch's compiler fails on the losses of older versions.
        pytest.param(True, marks=pytest.mark.keras_since("3.15"))
        if keras.backend.backend() == "torch"
        else True,
    ],
)
def test_with_and_without_jit(make_model, data, expected, jit_compile):
    check(fit(make_model(), SGD(0.1), data, jit_compile=jit_compile), expected)


def test_run_eagerly(make_model, data, expected):
    check(fit(make_model(), SGD(0.1), data, run_eagerly=True), expected)


@pytest.mark.parametrize("steps", [2, 3])
def test_steps_per_execution(make_model, data, expected, backend, steps):
    model = make_model()
    if backend == "torch":
        with pytest.raises(ValueError, match="steps_per_execution"):
            fit(model, SGD(0.1), data, steps_per_execution=steps)
        assert "apply" not in vars(model.optimizer)
        return
    norms = GradientNorms("variable", capacity=3, check_every=2)
    check(fit(model, SGD(0.1), data, steps_per_execution=steps, norms=norms), expected)


def test_no_step_is_lost_in_epochs_longer_than_the_buffer(make_model, data, expected):
    norms = GradientNorms("variable", capacity=2, on_nonfinite="ignore")
    check(fit(make_model(), SGD(0.1), data, norms=norms), expected)


def test_gradient_accumulation_gives_one_row_per_micro_batch(
    make_model, expected_norms, data
):
    def optimizer():
        return SGD(0.1, gradient_accumulation_steps=2)

    expected = expected_norms(make_model(), optimizer(), *data, epochs=2)
    check(fit(make_model(), optimizer(), data), expected)


@pytest.mark.parametrize(
    "clipping", [{"clipnorm": 0.01}, {"global_clipnorm": 0.01}, {"clipvalue": 0.001}]
)
def test_recorded_before_clipping(make_model, expected_norms, data, clipping):
    expected = expected_norms(make_model(), SGD(0.1, **clipping), *data, epochs=2)
    check(fit(make_model(), SGD(0.1, **clipping), data), expected)


def test_static_loss_scale_is_divided_out(make_model, data, expected):
    check(fit(make_model(), SGD(0.1, loss_scale_factor=512.0), data), expected)


def test_loss_scale_optimizer_in_float32(make_model, data, expected):
    optimizer = keras.optimizers.LossScaleOptimizer(SGD(0.1), initial_scale=2.0**10)
    check(fit(make_model(), optimizer, data), expected)


@pytest.mark.keras_since("3.15")
def test_several_optimizers(make_model, data, expected_norms):
    def optimizer():
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(
                SGD(0.1), {"shared/.*": SGD(0.01, momentum=0.9)}
            )
        )

    expected = expected_norms(make_model(), optimizer(), *data, epochs=2)
    check(fit(make_model(), optimizer(), data), expected)


def test_frozen_layers_have_no_column(make_model, data, expected_norms):
    reference, model = make_model(), make_model()
    for one in (reference, model):
        one.get_layer("shared").trainable = False
    expected = expected_norms(reference, SGD(0.1), *data, epochs=2)
    norms = fit(model, SGD(0.1), data)
    check(norms, expected)
    assert not any("shared" in group for group in norms.record.groups)


def test_two_fits_in_a_row(make_model, data, expected):
    model = make_model()
    norms = fit(model, SGD(0.1), data, epochs=1)
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    check(norms, expected)
    assert norms.record.fit.tolist() == [0] * 5 + [1] * 5
    assert norms.record.step.tolist() == list(range(10))


def test_fit_without_the_recorder_in_between(make_model, data, expected_norms):
    expected = expected_norms(make_model(), SGD(0.1), *data, epochs=3)
    model = make_model()
    norms = fit(model, SGD(0.1), data, epochs=1)
    model.fit(*data, batch_size=8, shuffle=False, verbose=0)
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    check(norms, expected[[*range(5), *range(10, 15)]])


@FITS_AFTER_A_FAILURE
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_fit_after_a_failure_in_a_callback(make_model, data, expected_norms, error):
    expected = expected_norms(make_model(), SGD(0.1), *(d[:24] for d in data))
    twin = make_model()
    optimizer = SGD(0.1)
    expected = expected_norms(twin, optimizer, *(d[:24] for d in data))
    after = expected_norms(twin, optimizer, *data)

    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                raise error("stop here")

    model = make_model()
    norms = GradientNorms("variable")
    with pytest.raises(error):
        fit(model, SGD(0.1), data, norms=norms, callbacks=[Fail()])
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    check(norms, np.concatenate([expected, after]))


@FITS_AFTER_A_FAILURE
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_fit_after_a_failure_in_the_data(make_model, data, expected_norms, error):
    twin, optimizer = make_model(), SGD(0.1)
    expected = expected_norms(twin, optimizer, *(d[:24] for d in data))
    after = expected_norms(twin, optimizer, *data)

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            if index == 3:
                raise error("no more data")
            return tuple(d[8 * index : 8 * index + 8] for d in data)

    model, norms = make_model(), GradientNorms("variable")
    model.compile(SGD(0.1), cross_entropy)
    with pytest.raises(BaseException, match="no more data"):
        model.fit(Batches(), shuffle=False, verbose=0, callbacks=[norms])
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    check(norms, np.concatenate([expected, after]))
    assert "apply" not in vars(model.optimizer)


@FITS_AFTER_A_FAILURE
def test_training_without_recorder_after_a_failure_is_clean(make_model, data):
    class Fail(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError

    model = make_model()
    with pytest.raises(RuntimeError):
        fit(model, SGD(0.1), data, callbacks=[Fail()])
    model.fit(*data, batch_size=8, verbose=0)
    assert "apply" not in vars(model.optimizer)
    assert "gradient_norms_installation" not in vars(model)
    assert len(model.optimizer.variables) == len(make_fresh(make_model).variables)


def make_fresh(make_model):
    optimizer = SGD(0.1)
    optimizer.build(make_model().trainable_variables)
    return optimizer


def test_every_thins_rows_but_not_summaries(make_model, data, expected):
    norms = fit(make_model(), SGD(0.1), data, norms=GradientNorms("variable", every=4))
    check(norms, expected[::4])
    epochs = norms.record.epochs
    assert epochs["steps"].tolist() == [5, 5]
    np.testing.assert_allclose(
        epochs["mean"], expected.reshape(2, 5, -1).mean(1), rtol=1e-5, atol=1e-7
    )


def test_memory_is_bounded(make_model, data, expected):
    norms = GradientNorms("variable", max_rows=4)
    fit(make_model(), SGD(0.1), data, norms=norms)
    assert norms.record.kept_every == 4
    check(norms, expected[::4])


def test_float64(data, make_model, expected_norms):
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_enable_x64", True)
    try:
        data = (data[0].astype("float64"), data[1])
        expected = expected_norms(make_model(), SGD(0.1), *data, epochs=2)
        # The hand-written loop is eager too; compiled, XLA rounds otherwise.
        norms = fit(make_model(), SGD(0.1), data, run_eagerly=True)
        np.testing.assert_allclose(norms.record.norm, expected, rtol=1e-10, atol=1e-15)
    finally:
        if keras.backend.backend() == "jax":
            jax.config.update("jax_enable_x64", False)


def test_subclassed_model_that_is_not_built(data, make_model, expected_norms):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__(name="subclassed")
            self.first = keras.layers.Dense(12, activation="tanh", name="first")
            self.last = keras.layers.Dense(4, name="last")

        def call(self, x, training=None):
            return self.last(self.first(x))

    def make(build):
        keras.utils.set_random_seed(1)
        model = Subclassed()
        if build:
            model(data[0])
        return model

    reference, model = make(build=True), make(build=False)
    initial = reference.get_weights()
    expected = expected_norms(reference, SGD(0.0), *data)
    model_norms = GradientNorms("variable")
    model.compile(SGD(0.0), cross_entropy)
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[model_norms])
    if all(
        np.array_equal(a, b) for a, b in zip(initial, model.get_weights(), strict=True)
    ):
        check(model_norms, expected)
    else:  # deferred building draws other initial values: take them over
        reference.set_weights(model.get_weights())
        check(model_norms, expected_norms(reference, SGD(0.0), *data))


def test_sparse_embedding_gradients(backend, gradients):
    def make():
        keras.utils.set_random_seed(5)
        inputs = keras.Input((6,), dtype="int32")
        x = keras.layers.Embedding(10, 4, name="embedding")(inputs)
        x = keras.layers.Flatten()(x)
        return keras.Model(inputs, keras.layers.Dense(4, name="last")(x))

    # Token 1 occurs several times in one batch: its rows must be summed first.
    x = np.array([[1, 1, 1, 2, 3, 4], [1, 5, 5, 5, 0, 9]] * 4, "int32")
    y = np.arange(8, dtype="int32") % 4
    values = gradients(make(), keras.ops.convert_to_tensor(x), y)
    if backend == "tensorflow":
        import tensorflow as tf

        values = [tf.convert_to_tensor(v) for v in values]
    expected = [np.linalg.norm(keras.ops.convert_to_numpy(v)) for v in values]
    norms = fit(make(), SGD(0.1), (x, y), epochs=1)
    np.testing.assert_allclose(norms.record.norm[0], expected, rtol=1e-5)


@pytest.mark.parametrize("exponent", [-30, -22, -12, 0, 12, 18])
def test_tiny_and_huge_gradients_keep_their_norm(exponent):
    # Squares of these leave float32's range although the norms are inside it.
    scale = 10.0**exponent
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")

    def make():
        inputs = keras.Input((3,))
        layer = keras.layers.Dense(1, use_bias=False, name="only")
        return keras.Model(inputs, layer(inputs))

    model, norms = make(), GradientNorms()
    # The gradient of mean(scale * prediction) is scale * mean(x).
    model.compile(SGD(0.0), lambda y, p: p * scale)
    model.fit(x, np.zeros(8), batch_size=8, verbose=0, callbacks=[norms])
    expected = scale * np.linalg.norm(x.astype("float64").mean(0))
    np.testing.assert_allclose(norms.record.norm[0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("exponent", [-30, -12, 0, 18])
def test_large_gradients_keep_their_norm_and_count_their_zeros(exponent, backend):
    # So many elements that they are measured where they lie.
    random = np.random.default_rng(0)
    values = (10.0**exponent * random.normal(size=(300, 80))).astype("float32")
    values[random.random(values.shape) < 0.25] = 0
    others = [np.zeros_like(values), np.full_like(values, np.nan)]
    others[1][:, 1:] = 1
    gradients = [keras.ops.convert_to_tensor(v) for v in (values, *others)]

    norms, shares = norms_and_zero_shares(
        gradients, [values.size] * 3, True, compiled=backend == "jax"
    )

    expected = [np.linalg.norm(values.astype("float64")), 0, np.nan]
    norms, shares = map(keras.ops.convert_to_numpy, (norms, shares))
    np.testing.assert_allclose(norms, expected, rtol=1e-6)
    np.testing.assert_allclose(shares, [np.mean(values == 0), 1, 0], rtol=1e-6)


def test_rms_ratio_and_zero_share(make_model, data, gradients):
    model = make_model()
    tensors = [keras.ops.convert_to_tensor(d[:8]) for d in data]
    values = [keras.ops.convert_to_numpy(v) for v in gradients(model, *tensors)]
    weights = [v.numpy().astype("float64") for v in model.trainable_variables]
    # Plain gradient descent changes each weight by the rate times its gradient.
    updates = [0.1 * np.linalg.norm(g.astype("float64")) for g in values]
    norms = fit(model, SGD(0.1), data, norms=GradientNorms("variable", detail_every=3))
    detail = norms.record.detail
    assert detail["step"].tolist() == [0, 3, 6, 9]
    norm = np.array([np.linalg.norm(v) for v in values])
    rms = np.array([np.sqrt(np.mean(np.square(v))) for v in values])
    np.testing.assert_allclose(norms.record.rms[0], rms, rtol=1e-5, atol=1e-7)
    weight_norm = np.array([np.linalg.norm(w) for w in weights])
    np.testing.assert_allclose(detail["weight_norm"][0], weight_norm, rtol=1e-5)
    np.testing.assert_allclose(detail["update_norm"][0], updates, rtol=1e-3, atol=1e-7)
    usable = weight_norm > 0
    for key, part in (("ratio", norm), ("gradient_to_weight", norm)):
        np.testing.assert_allclose(
            detail[key][0][usable],
            part[usable] / weight_norm[usable],
            rtol=1e-5,
            atol=1e-7,
        )
    np.testing.assert_allclose(
        detail["update_to_weight"][0][usable],
        np.array(updates)[usable] / weight_norm[usable],
        rtol=1e-3,
        atol=1e-7,
    )
    assert np.all(detail["zero_share"][0] == 0)


def test_dead_units_show_as_zero_share(data):
    inputs = keras.Input((8,))
    x = keras.layers.Dense(4, activation="relu", name="half_dead")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(4, name="last")(x))
    kernel, bias = model.get_layer("half_dead").get_weights()
    bias[:2] = -1e3  # these two units never fire
    model.get_layer("half_dead").set_weights([kernel, bias])
    norms = fit(model, SGD(0.01), data, norms=GradientNorms(detail_every=1))
    share = norms.record.detail["zero_share"][:, 0]
    np.testing.assert_allclose(share, 0.5)


def test_groups_are_roots_of_summed_squares(make_model, data, expected):
    norms = fit(make_model(), SGD(0.1), data, norms=GradientNorms())
    assert norms.record.groups == ("first", "norm", "shared", "last")
    grouped = np.sqrt(np.square(expected).reshape(10, 4, 2).sum(-1))
    np.testing.assert_allclose(norms.record.norm, grouped, rtol=1e-5)
    np.testing.assert_allclose(
        norms.record.global_norm, np.sqrt(np.square(expected).sum(1)), rtol=1e-5
    )


def halving(plain, backend):
    """A model whose own `train_step` hands its optimizer half of each gradient."""

    class Halving(keras.Model):
        def train_step(self, *arguments):
            x, y, _ = keras.utils.unpack_x_y_sample_weight(arguments[-1])
            if backend == "jax":
                return self.step_on_jax(arguments[0], x, y)
            variables = self.trainable_variables
            if backend == "torch":
                import torch

                self.zero_grad()
                loss = cross_entropy(y, self(x, training=True))
                loss.backward()
                halves = [v.value.grad / 2 for v in variables]
                with torch.no_grad():
                    self.optimizer.apply(halves, variables)
                return {"loss": loss.detach()}
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = cross_entropy(y, self(x, training=True))
            halves = [g / 2 for g in tape.gradient(loss, variables)]
            self.optimizer.apply(halves, variables)
            return {"loss": loss}

        def step_on_jax(self, state, x, y):
            import jax

            trainable, fixed, optimizer, metrics = state

            def loss(trainable):
                outputs, new = self.stateless_call(trainable, fixed, x, training=True)
                return cross_entropy(y, outputs), new

            differentiated = jax.value_and_grad(loss, has_aux=True)
            (value, fixed), gradients = differentiated(trainable)
            trainable, optimizer = self.optimizer.stateless_apply(
                optimizer, [g / 2 for g in gradients], trainable
            )
            return {"loss": value}, (trainable, fixed, optimizer, metrics)

    return Halving(plain.inputs, plain.outputs)


def test_a_train_step_of_its_own(make_model, data, expected_norms, backend):
    expected = expected_norms(make_model(), SGD(0.05), *data, epochs=2)
    norms = fit(halving(make_model(), backend), SGD(0.1), data)
    check(norms, expected / 2)
