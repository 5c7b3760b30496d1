"""What Keras keeps to itself: it is there, and its absence is told or made up for."""

import keras
import numpy as np
import pytest

from keras_gradattn._compat import keras as keras_compat


class Nested(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = keras.layers.Dense(2, name="first")
        self.rest = [keras.layers.Dense(2, name="second"), keras.layers.Dropout(0.1)]
        self.inner = keras.Sequential([keras.layers.Dense(2, name="deep")])

    def call(self, inputs):
        return self.inner(self.first(inputs))


@pytest.fixture
def optimizer():
    found = keras.optimizers.SGD(0.1, use_ema=True)
    found.build([keras.Variable([1.0, 2.0]), keras.Variable([3.0])])
    return found


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("recursive", [True, False])
def test_layers_are_found_with_and_without_keras_help(
    include_self, recursive, monkeypatch
):
    model = Nested()
    options = {"include_self": include_self, "recursive": recursive}
    expected = keras_compat.flatten_layers(model, **options)
    monkeypatch.delattr(keras.layers.Layer, "_flatten_layers")

    found = keras_compat.flatten_layers(model, **options)

    assert {id(layer) for layer in found} == {id(layer) for layer in expected}
    assert len(found) == len(expected)
    assert (model in found) == include_self
    assert any(layer.name == "deep" for layer in found) == recursive


def test_inputs_keep_their_structure():
    inputs = {"a": keras.Input((2,)), "b": keras.Input((2,))}
    both = keras.layers.Add()(list(inputs.values()))
    functional = keras.Model(inputs, both)
    sequential = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])

    assert set(keras_compat.input_structure(functional)) == {"a", "b"}
    assert keras_compat.input_structure(sequential).shape == (None, 3)
    assert keras_compat.input_structure(Nested()) is None


def test_a_training_argument_is_seen():
    assert keras_compat.takes_training(keras.layers.Dropout(0.1))
    assert not keras_compat.takes_training(keras.layers.Flatten())
    assert not keras_compat.takes_training(Nested())


def test_a_variable_is_tracked_and_let_go(optimizer):
    variable = keras.Variable(0.0)
    before = len(optimizer.variables)

    keras_compat.track_variable(optimizer, variable)
    assert optimizer.variables[-1] is variable
    keras_compat.untrack_variable(optimizer, variable)
    keras_compat.untrack_variable(optimizer, variable)

    assert len(optimizer.variables) == before


@pytest.mark.parametrize("accumulated", [None, 2])
def test_updates_are_counted_one_by_one(accumulated):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=accumulated)
    variable = keras.Variable([1.0])
    optimizer.build([variable])

    for _ in range(3):
        optimizer.apply([keras.ops.ones(1)], [variable])

    assert int(keras_compat.update_count(optimizer).value) == 3


def test_averages_stand_beside_their_variables(optimizer):
    pairs = keras_compat.moving_averages(optimizer)

    assert [v for v, _ in pairs] == keras_compat.trained_variables(optimizer)
    for variable, average in pairs:
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(variable) * 0, average.numpy()
        )


def test_what_is_missing_is_named():
    for take in (keras_compat.trained_variables, keras_compat.moving_averages):
        with pytest.raises(
            keras_compat.MissingPrivateNameError, match=r"Received: Keras \d.*object"
        ):
            take(object())
    with pytest.raises(keras_compat.MissingPrivateNameError, match="Recording"):
        keras_compat.track_variable(object(), None)
    assert keras_compat.overwrite_rule(object()) is None


def test_shardings_join_those_that_older_versions_note():
    class Array:
        def __init__(self, sharding):
            self.sharding = sharding

    model = keras.Sequential()
    added = [(1, Array("b")), (3, Array("d"))]
    with keras_compat.with_shardings(model, added):
        assert "_optimizer_variable_shardings" not in vars(model)
    vars(model)["_optimizer_variable_shardings"] = noted = ["a", "c"]
    with keras_compat.with_shardings(model, added):
        assert vars(model)["_optimizer_variable_shardings"] == ["a", "b", "c", "d"]
    assert vars(model)["_optimizer_variable_shardings"] is noted == ["a", "c"]


def test_methods_that_are_exchanged_exist():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")

    assert keras_compat.epoch_logs(model)({"loss": 1.0})
    callback = keras.callbacks.Callback()
    callback.set_model(model)
    assert keras_compat.callback_model(callback) is model


def test_an_open_adam_is_adam():
    start, gradient = [1.0, -2.0], [0.5, 0.25]
    ends = []
    for kind in (keras.optimizers.Adam, keras_compat.OpenAdam):
        variable = keras.Variable(start)
        optimizer = kind(learning_rate=0.1, weight_decay=0.01)
        optimizer.build([variable])
        for _ in range(3):
            optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        ends.append(variable.numpy())

    np.testing.assert_array_equal(*ends)


def test_what_training_needs_is_made_before_the_first_step():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    batch = keras.KerasTensor((None, 3)), keras.KerasTensor((None, 2))

    keras_compat.make_training_state(model, batch)

    made = len(model.optimizer.variables), len(model.metrics_variables)
    model.train_on_batch(np.zeros((4, 3)), np.zeros((4, 2)))
    assert (len(model.optimizer.variables), len(model.metrics_variables)) == made


def test_a_wrong_batch_is_left_to_the_step():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])

    keras_compat.make_training_state(model, (keras.KerasTensor((None, 9)), None))

    with pytest.raises(ValueError, match="incompatible"):
        model.train_on_batch(np.zeros((4, 9)), np.zeros((4, 2)))
