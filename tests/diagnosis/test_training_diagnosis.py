"""The callback in `model.fit`: what it names, and that training stays what it was."""

import warnings

import keras
import numpy as np
import pytest

import keras_gradattn as kg
from keras_gradattn.diagnosis.baseline import constant_loss
from keras_gradattn.diagnosis.head import Head
from keras_gradattn.diagnosis.probe import Probe
from tests.diagnosis.test_checks import Batches

L = keras.layers
_random = np.random.default_rng(1)
X = _random.normal(size=(192, 6)).astype("float32")
Y = (X @ _random.normal(size=(6, 3))).argmax(1)
LOSS = "sparse_categorical_crossentropy"


def network(activation="relu", depth=2, **hidden):
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            *[L.Dense(8, activation=activation, **hidden) for _ in range(depth)],
            L.Dense(3, activation="softmax"),
        ]
    )


def trained(model, optimizer, doctor=None, epochs=10, data=(X, Y), **fit):
    """History of a `fit` whose warnings are the caller's."""
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    callbacks = [] if doctor is None else [doctor]
    return model.fit(
        *data, batch_size=16, epochs=epochs, verbose=0, callbacks=callbacks, **fit
    ).history


def quiet():
    return kg.TrainingDiagnosis("ignore", every=10)


def network_with_states():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, activation="relu"),
            L.BatchNormalization(momentum=0.8),
            L.Dropout(0.2),
            L.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def healthy():
    """A healthy training with the recorder alone, and the same one diagnosed.

    Where the recorder leaves plain training as it is, `tests/gradients` shows.
    """
    results = []
    for doctor in (kg.GradientNorms(detail_every=10, logs=False), quiet()):
        model = network_with_states()
        history = trained(
            model, keras.optimizers.Adam(0.02), doctor, validation_split=0.25
        )
        weights = [keras.ops.convert_to_numpy(v) for v in model.variables]
        results.append((history, weights, doctor))
    return results


def test_training_is_to_the_bit_what_the_recorder_leaves(healthy):
    (history, weights, _), (watched_history, watched, _) = healthy
    for one, other in zip(weights, watched, strict=True):
        np.testing.assert_array_equal(one, other)
    assert history == watched_history


def test_a_healthy_training_gets_no_warning(healthy):
    doctor = healthy[1][2]
    assert doctor.findings.at_least("warning") == []
    assert "Nothing was found" in doctor.report() or "note" in doctor.report()


def test_the_losses_of_batches_are_those_of_the_logs(healthy):
    history, _, doctor = healthy[1]
    seen = doctor.seen()

    means = seen.loss.reshape(10, -1).mean(axis=1)

    np.testing.assert_allclose(means, history["loss"], rtol=1e-5)
    assert seen.guess == pytest.approx(
        -sum(p * np.log(p) for p in np.bincount(Y[:144]) / 144), rel=1e-6
    )
    assert doctor.record is not None
    assert len(seen.norm) == seen.steps


def test_a_rate_too_high_is_told_with_what_to_write():
    doctor = kg.TrainingDiagnosis(every=10)
    with pytest.warns(RuntimeWarning, match="learning_rate_too_high.*Try: keras"):
        trained(network(), keras.optimizers.Adam(5.0), doctor)
    assert "learning_rate_too_high" in doctor.findings.names[:2]


def test_a_rate_too_low():
    doctor = quiet()
    trained(network(), keras.optimizers.SGD(1e-5), doctor)
    assert "learning_rate_too_low" in doctor.findings.at_least("warning").names[:2]


def test_vanishing_gradients(tmp_path):
    doctor = quiet()
    trained(network("sigmoid", depth=9), keras.optimizers.Adam(0.01), doctor)
    assert doctor.findings.at_least("warning").names[0] == "vanishing_gradients"
    assert doctor.findings[0].layers[0] == "dense" or doctor.findings[0].layers
    doctor.to_html(tmp_path / "page.html")
    assert "<svg" in (tmp_path / "page.html").read_text()


def test_dead_units():
    doctor = quiet()
    low = keras.initializers.Constant(-9.0)
    trained(network(bias_initializer=low), keras.optimizers.Adam(0.01), doctor)
    assert doctor.findings.at_least("warning").names[0] == "dead_units"


def test_a_loss_that_is_nan_ends_training_where_asked():
    doctor = kg.TrainingDiagnosis("stop", check=False)
    broken = np.where(np.arange(len(X))[:, None] == 100, np.nan, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        history = trained(network(), "adam", doctor, data=(broken, Y), shuffle=False)
    assert len(history["loss"]) == 1
    (found,) = [f for f in doctor.findings if f.name == "non_finite"]
    # Row 100 is in the seventh batch of 16.
    assert (found.severity, found.first_step) == ("fault", 6)


def test_a_data_set_is_not_read_twice():
    doctor = quiet()
    model = network()
    model.compile(keras.optimizers.Adam(0.02), LOSS)
    model.fit(Batches(X, Y), epochs=5, verbose=0, callbacks=[doctor])
    assert any("not read twice" in sentence for sentence in doctor.findings.not_seen)
    assert doctor.seen().steps == 5 * 24
    given = kg.TrainingDiagnosis("ignore", data=(X, Y))
    model.fit(Batches(X, Y), epochs=1, verbose=0, callbacks=[given])
    assert not any("not read twice" in s for s in given.findings.not_seen)


def test_a_recorder_beside_it_is_shared(tmp_path):
    norms, doctor = kg.GradientNorms(detail_every=10), quiet()
    model = network()
    model.compile(keras.optimizers.Adam(0.02), LOSS)
    model.fit(X, Y, batch_size=16, epochs=8, verbose=0, callbacks=[doctor, norms])
    assert doctor.record is norms.record
    assert len(doctor.seen().norm) == 8 * 12
    norms.save(tmp_path / "good.npz")

    far = kg.TrainingDiagnosis("ignore", reference=tmp_path / "good.npz")
    trained(network("sigmoid", depth=2), keras.optimizers.SGD(1e-6), far, epochs=8)
    assert isinstance(far._reference, kg.GradientRecord)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_finding": "shout"}, "on_finding='shout'"),
        ({"every": 0}, "every=0"),
        ({"data": 3}, "Received: int"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kg.TrainingDiagnosis(**arguments)


@pytest.mark.any_backend
def test_guessing_of_a_loss_without_a_formula():
    numbers = np.append(_random.normal(size=63), 40.0).astype("float32")
    probe = Probe(keras.Sequential([keras.Input((6,)), L.Dense(1)]), X[:64], numbers)
    probe.model.compile("adam", keras.losses.Huber(delta=0.5))
    head = Head("head", np.zeros((64, 1)), numbers, "huber", False, "linear")

    far = np.abs(numbers[:, None] - np.linspace(-2, 2, 4001))
    best = np.where(far < 0.5, far**2 / 2, 0.5 * (far - 0.25)).mean(axis=0).min()

    assert constant_loss(probe, head) == pytest.approx(best, rel=0.02)


@pytest.mark.any_backend
def test_what_a_first_fit_did_not_show_a_second_one_does():
    model, doctor = network(), quiet()
    trained(model, "adam", doctor, epochs=1)
    first = doctor.findings.not_seen
    assert any("The loss curve: 12 steps were seen" in line for line in first)

    model.fit(X, Y, batch_size=16, verbose=0, epochs=1, callbacks=[doctor])

    assert not any("The loss curve" in line for line in doctor.findings.not_seen)


class OnlyTrains(keras.layers.Layer):
    """Once asked to, fails in inference with an error that has no words."""

    fails = False

    def call(self, inputs, training=False):
        if self.fails and not training:
            raise RuntimeError
        return inputs


@pytest.mark.any_backend
def test_what_cannot_be_run_ends_no_training():
    layer, doctor = OnlyTrains(), quiet()
    model = keras.Sequential(
        [keras.Input((6,)), layer, L.Dense(3, activation="softmax")]
    )
    trained(model, "adam", epochs=1)
    layer.fails = True
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[doctor])
    assert len(history.history["loss"]) == 2
    assert "could not be run (RuntimeError" in " ".join(doctor.findings.not_seen)


@pytest.mark.any_backend
def test_a_rate_that_a_callback_sets_is_not_judged():
    doctor = quiet()
    later = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01)
    model = network()
    model.compile(keras.optimizers.Adam(0.0), LOSS)
    model.fit(X, Y, verbose=0, callbacks=[later, doctor])
    assert "learning_rate_too_low" not in doctor.findings.names
    assert any("a callback sets it" in line for line in doctor.findings.not_seen)


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "weights",
    [{"class_weight": {0: 1.0, 1: 1.0, 2: 9.0}}, {"sample_weight": np.full(192, 9.0)}],
    ids=["classes", "samples"],
)
def test_a_weighted_loss_is_not_judged_by_a_plain_one(weights):
    doctor = quiet()
    trained(network(), keras.optimizers.Adam(0.02), doctor, epochs=9, **weights)
    seen = doctor.seen()
    assert (seen.guess, seen.weighted, len(seen.layers.loss)) == (None, True, 0)
    assert doctor.findings.at_least("warning") == []
    assert sum("sample_weight" in line for line in doctor.findings.not_seen) == 1


@pytest.mark.any_backend
def test_what_needs_no_data_is_judged_of_a_data_set_too():
    doctor = quiet()
    model = keras.Sequential(
        [keras.Input((6,)), L.Dense(8), L.Dense(8, "relu"), L.Dense(3, "softmax")]
    )
    model.layers[1].trainable = False
    model.compile(keras.optimizers.Adam(2.0), LOSS)
    held = Batches(X[:16], Y[:16])

    model.fit(Batches(X, Y), verbose=0, validation_data=held, callbacks=[doctor])

    assert {"no_activation", "frozen_random_weights", "learning_rate_too_high"} <= set(
        doctor.findings.at_least("warning").names
    )
    text = " ".join(doctor.findings.not_seen)
    assert "Data, loss and layer outputs" in text
    assert "`TrainingDiagnosis(data=(x, y))`" in text
    assert "Leakage: validation data come from a data set" in text


class Rebuilds(keras.Model):
    """Learns its own inputs, which `fit` is given alone."""

    def __init__(self):
        super().__init__()
        self.inner = L.Dense(6)

    def call(self, x):
        outputs = self.inner(x)
        self.add_loss(keras.ops.mean(keras.ops.square(outputs - x)))
        return outputs


@pytest.mark.any_backend
def test_inputs_alone_are_looked_at():
    doctor, model = quiet(), Rebuilds()
    model.compile("adam")
    model.fit(100 + 60 * X, verbose=0, callbacks=[doctor])
    assert "input_scale" in doctor.findings.names
    text = " ".join(doctor.findings.not_seen)
    assert "`fit` was given inputs alone" in text
    assert "data set" not in text
    assert len(doctor.seen().layers.step) >= 2


@pytest.mark.any_backend
def test_another_model_begins_anew():
    doctor = kg.TrainingDiagnosis("warn", every=10)
    for _ in range(2):
        with pytest.warns(RuntimeWarning, match="learning_rate_too_high"):
            trained(network(), keras.optimizers.Adam(5.0), doctor, epochs=2)
        seen = doctor.seen()
        assert (seen.steps, len(seen.norm)) == (2 * 12, 2 * 12)
        assert seen.epoch_end.tolist() == [12, 24]
        assert len(seen.logs["loss"]) == 2


def epochs_until_stopped(model, doctor, optimizer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return len(trained(model, optimizer, doctor, epochs=3)["loss"])


@pytest.mark.any_backend
def test_a_fault_that_was_told_ends_a_second_training_as_well():
    doctor, model = kg.TrainingDiagnosis("stop", every=5, check=False), network()
    # 20 steps are needed, of 12 an epoch, to say that no weight changes.
    assert epochs_until_stopped(model, doctor, keras.optimizers.SGD(0.0)) == 2
    assert doctor.findings.names[0] == "unchanged_weights"
    assert epochs_until_stopped(model, doctor, keras.optimizers.SGD(0.0)) == 1
    assert epochs_until_stopped(model, doctor, keras.optimizers.SGD(0.1)) == 3


@pytest.mark.any_backend
def test_nan_of_an_earlier_training_does_not_end_a_sound_one():
    doctor, model = kg.TrainingDiagnosis("stop", check=False), network()
    sound = model.get_weights()
    model.set_weights([np.nan * one for one in sound])
    assert epochs_until_stopped(model, doctor, "adam") == 1
    model.set_weights(sound)
    assert epochs_until_stopped(model, doctor, "adam") == 3


class _Logarithm(L.Layer):
    def call(self, inputs):
        return keras.ops.log(inputs)


@pytest.mark.any_backend
def test_the_layer_that_nan_comes_from():
    doctor = quiet()
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(8, "relu"),
            _Logarithm(name="logarithm"),
            L.Dense(3, "softmax"),
        ]
    )
    trained(model, "adam", doctor, epochs=1)
    (found,) = [f for f in doctor.findings if f.name == "non_finite"]
    assert found.message.endswith("first in 'logarithm'.")


@pytest.mark.any_backend
def test_weights_in_a_data_set_are_seen():
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((X, Y, np.full(192, 9.0))).batch(16)
    doctor, model = kg.TrainingDiagnosis("ignore", data=(X, Y)), network()
    model.compile("adam", LOSS)
    model.fit(batches, verbose=0, callbacks=[doctor])
    assert (doctor.seen().guess, doctor.seen().weighted) == (None, True)
