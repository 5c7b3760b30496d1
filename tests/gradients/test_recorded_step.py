"""The recorded step stays beside the plain one: no wait, nothing left behind."""

import copy

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms
from tests.gradients.conftest import cross_entropy

ARGUMENTS = {"batch_size": 8, "shuffle": False, "verbose": 0}


class Traced(keras.layers.Layer):
    """An identity that counts how often Python runs it."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def call(self, x):
        self.calls += 1
        return x


def traced_model(**compile_arguments):
    keras.utils.set_random_seed(3)
    counter = Traced()
    inputs = keras.Input((8,))
    x = counter(keras.layers.Dense(6, activation="tanh", name="first")(inputs))
    model = keras.Model(inputs, keras.layers.Dense(4, name="last")(x))
    model.compile(keras.optimizers.Adam(1e-2), cross_entropy, **compile_arguments)
    return model, counter


@pytest.mark.backends("jax", "tensorflow")
def test_what_was_compiled_once_is_not_compiled_again(data):
    x, y = (d[:32] for d in data)
    model, counter = traced_model()
    model.fit(x, y, callbacks=[GradientNorms()], **ARGUMENTS)
    model.fit(x, y, **ARGUMENTS)
    traced = counter.calls
    norms = GradientNorms()
    for callbacks in ([norms], [], [GradientNorms()], [norms]):
        model.fit(x, y, callbacks=callbacks, **ARGUMENTS)
    assert counter.calls == traced
    assert len(norms.record) == 8
    # Other settings are another step.
    model.fit(x, y, callbacks=[GradientNorms(include="first")], **ARGUMENTS)
    assert counter.calls > traced


@pytest.mark.backends("tensorflow")
@pytest.mark.parametrize("metrics", [None, ["sparse_categorical_accuracy"]])
def test_a_step_is_traced_once(data, metrics):
    """Keras makes variables inside the first trace, which then is traced once more."""
    model, counter = traced_model(metrics=metrics)
    made = counter.calls
    model.fit(*data, callbacks=[GradientNorms()], **ARGUMENTS)
    # Once without computing, for the shapes of metrics, and once for the step.
    assert counter.calls == made + 2


def test_plain_training_after_recorded_is_that_of_a_model_never_recorded(data):
    weights = []
    for callbacks in ([], [GradientNorms()]):
        model, _ = traced_model()
        for chosen in (callbacks, [], callbacks, []):
            model.fit(*data, callbacks=chosen, **ARGUMENTS)
        weights.append(
            [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
        )
    for plain, mixed in zip(*weights, strict=True):
        np.testing.assert_array_equal(plain, mixed)


def test_compiling_anew_is_recorded_anew(data):
    model, _ = traced_model()
    norms = GradientNorms("variable")
    model.fit(*data, callbacks=[norms], **ARGUMENTS)
    # The same loss, ten times as large: a stale step would show the old one.
    model.compile(keras.optimizers.SGD(0.0), lambda y, p: 10 * cross_entropy(y, p))
    model.fit(*data, callbacks=[norms], **ARGUMENTS)
    model.compile(keras.optimizers.SGD(0.0), cross_entropy)
    model.fit(*data, callbacks=[norms], **ARGUMENTS)
    ten, one = norms.record.norm[5:10], norms.record.norm[10:]
    np.testing.assert_allclose(ten, 10 * one, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("what", ["train_on_batch", "make_train_function"])
def test_callbacks_that_train_or_make_the_function_anew(data, what):
    class Interfere(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if what == "train_on_batch":
                self.model.train_on_batch(data[0][:8], data[1][:8])
            else:
                self.model.make_train_function(force=True)

    model, _ = traced_model()
    norms = GradientNorms()
    history = model.fit(
        *data, epochs=3, callbacks=[norms, Interfere()], **ARGUMENTS
    ).history
    steps = 18 if what == "train_on_batch" else 15
    assert norms.record.step.tolist() == list(range(steps))
    assert len(history["gradient_norm"]) == 3
    assert "make_train_function" not in vars(model)


def test_a_recompile_inside_a_callback(data):
    class Recompile(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                model = self.model
                model.compile(keras.optimizers.SGD(0.1), cross_entropy)
                model.optimizer.build(model.trainable_variables)
                model.make_train_function()

    model, _ = traced_model()
    norms = GradientNorms()
    model.fit(*data, epochs=2, callbacks=[norms, Recompile()], **ARGUMENTS)
    assert norms.record.step.tolist() == [0, 1, 2, 3, 4] * 2
    assert norms.record.running_step.tolist() == list(range(10))
    assert [phase.optimizer for phase in norms.record.phases] == ["Adam", "SGD"]


@pytest.mark.parametrize("where", ["on_train_batch_end", "on_train_batch_begin"])
def test_an_interrupted_training_loses_no_row_and_leaves_nothing(data, where):
    class Interrupt(keras.callbacks.Callback):
        pass

    def interrupt(self, batch, logs=None):
        if batch == 3:
            raise KeyboardInterrupt

    setattr(Interrupt, where, interrupt)
    model, _ = traced_model()
    variables = len(model.optimizer.variables)
    norms = GradientNorms()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, callbacks=[norms, Interrupt()], **ARGUMENTS)
    assert "apply" not in vars(model.optimizer)
    rows = 4 if where == "on_train_batch_end" else 3
    assert f"steps 0 to {rows - 1}" in norms.report()
    assert len(norms.record) == rows
    for name in ("gradient_norms_installation", "make_train_function", "evaluate"):
        assert name not in vars(model)
    built = len(model.optimizer.variables)
    model.fit(*data, **ARGUMENTS)
    assert len(model.optimizer.variables) == built >= variables
    assert len(norms.record) == rows


def test_a_training_after_an_interrupted_one_is_plain(data):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    model, _ = traced_model()
    norms = GradientNorms()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*data, callbacks=[norms, Interrupt()], **ARGUMENTS)
    model.train_on_batch(data[0][:8], data[1][:8])
    assert "make_train_function" not in vars(model)
    assert len(norms.record) == 1


def test_callbacks_called_by_hand(data):
    model, _ = traced_model()
    norms = GradientNorms()
    callbacks = keras.callbacks.CallbackList([norms], model=model)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(3):
        callbacks.on_train_batch_begin(batch)
        logs = model.train_on_batch(data[0][:8], data[1][:8], return_dict=True)
        callbacks.on_train_batch_end(batch, logs)
    callbacks.on_epoch_end(0, logs)
    callbacks.on_train_end()
    assert norms.record.step.tolist() == [0, 1, 2]
    assert norms.record.epochs["steps"].tolist() == [3]


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy])
def test_copies_record_for_themselves(data, make_copy):
    original = GradientNorms(every=2)
    model, _ = traced_model()
    model.fit(*data, callbacks=[original], **ARGUMENTS)
    for _ in range(2):
        trial, _ = traced_model()
        callbacks = (
            make_copy([original])
            if make_copy is copy.deepcopy
            else [make_copy(original)]
        )
        trial.fit(*data, callbacks=callbacks, **ARGUMENTS)
    assert [len(one.record) for one in (original, *original.copies)] == [3, 3, 3]
    assert original.copies[0].every == 2


def test_saving_in_the_middle_does_not_see_the_ring(data, tmp_path):
    sizes = []

    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            sizes.append(len(self.model.optimizer.variables))

    for callbacks in ([Save()], [GradientNorms(), Save()]):
        model, _ = traced_model()
        model.fit(*data, callbacks=callbacks, **ARGUMENTS)
    assert len(set(sizes)) == 1
