"""Bad input: clear errors, nothing half-installed, the optimizer untouched."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.output_taps import with_output_taps
from tests.gradients.conftest import cross_entropy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"every": 1.5}, "every=1.5"),
        ({"detail_every": -1}, "detail_every=-1"),
        ({"check_every": 0}, "check_every=0"),
        ({"capacity": True}, "capacity=True"),
        ({"max_rows": 0}, "max_rows=0"),
        ({"level": 0}, "level=0"),
        ({"log_prefix": ""}, "log_prefix=''"),
        ({"include": 3}, "include=3"),
        ({"on_nonfinite": "raise"}, "on_nonfinite='raise'"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientNorms(**arguments)


def assert_untouched(model):
    assert "gradient_norms_installation" not in vars(model)
    assert "make_train_function" not in vars(model)
    for name in ("apply", "save_own_variables", "load_own_variables"):
        assert name not in vars(model.optimizer)
    names = [v.name for v in model.optimizer.variables]
    assert not any("gradient_norm" in name for name in names)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"frist": "a"}, "did you mean 'first'"),
        ("stages", "groups='stages'"),
        (lambda variable: 3, "must return a string"),
        (lambda variable: None, "leaves every variable out"),
    ],
)
def test_groups(make_model, data, groups, message):
    model = make_model()
    model.compile("sgd", cross_entropy)
    with pytest.raises(ValueError, match=message):
        model.fit(*data, verbose=0, callbacks=[GradientNorms(groups)])
    assert_untouched(model)
    model.fit(*data, verbose=0, callbacks=[GradientNorms()])


def test_groups_by_mapping_and_function(make_model, data):
    model = make_model()
    model.compile("sgd", cross_entropy)
    norms = GradientNorms({"first": "early", "last/kernel": "late"})
    model.fit(*data, verbose=0, callbacks=[norms])
    assert norms.record.groups == ("early", "other", "late")
    by_function = GradientNorms(lambda v: "kernels" if "kernel" in v.path else None)
    model.fit(*data, verbose=0, callbacks=[by_function])
    assert by_function.record.groups == ("kernels",)


def test_model_without_trainable_weights(data):
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    model.trainable = False
    model.compile("sgd", cross_entropy)
    with pytest.raises(ValueError, match="trainable weights"):
        model.fit(*data, verbose=0, callbacks=[GradientNorms()])
    with pytest.raises(ValueError, match="no trainable weights"):
        analyze_gradient_flow(model, data, cross_entropy)
    assert_untouched(model)


def test_two_recorders_on_one_fit(make_model, data):
    model = make_model()
    model.compile("sgd", cross_entropy)
    with pytest.raises(ValueError, match="records this model already"):
        model.fit(*data, verbose=0, callbacks=[GradientNorms(), GradientNorms()])
    model.fit(*data, verbose=0)
    assert_untouched(model)


def test_another_model_in_the_same_record(make_model, data):
    norms = GradientNorms()
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    for model in (make_model(), other):
        model.compile("sgd", cross_entropy)
    make_model()
    first = make_model()
    first.compile("sgd", cross_entropy)
    first.fit(*data, verbose=0, callbacks=[norms])
    with pytest.raises(ValueError, match="Use a new one"):
        other.fit(*data, verbose=0, callbacks=[norms])
    assert_untouched(other)


def test_training_that_does_not_use_the_optimizer(data):
    class Own(keras.Model):
        def train_step(self, *args):
            if keras.backend.backend() == "jax":
                return {"loss": 0.0}, args[0]
            return {"loss": 0.0}

    inputs = keras.Input((8,))
    model = Own(inputs, keras.layers.Dense(4)(inputs))
    model.compile("sgd", cross_entropy)
    with pytest.warns(RuntimeWarning, match="No gradient was recorded"):
        model.fit(*data, verbose=0, callbacks=[GradientNorms()])


def test_nothing_recorded_yet():
    with pytest.raises(ValueError, match="Nothing is recorded"):
        GradientNorms().report()


class TestGuard:
    def fit(self, on_nonfinite, **arguments):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        h = keras.layers.Dense(4, name="early", kernel_initializer="ones")(inputs)
        model = keras.Model(inputs, keras.layers.Dense(1, name="late")(h))
        model.compile(keras.optimizers.SGD(1e-3), "mse")
        x = np.ones((80, 3), "float32")
        x[42] = np.inf
        norms = GradientNorms(on_nonfinite=on_nonfinite, **arguments)
        model.fit(x, np.zeros(80), batch_size=1, shuffle=False, verbose=0,
                  callbacks=[norms])  # fmt: skip
        return norms

    def test_warns_with_step_and_group(self):
        with pytest.warns(RuntimeWarning, match=r"step 42 \(epoch 0\).*'late'"):
            norms = self.fit("warn")
        assert len(norms.record) == 80
        assert norms.record.finite[:42].all()
        assert not norms.record.finite[42:].any()

    def test_stops_at_the_next_look(self):
        with pytest.warns(RuntimeWarning, match="step 42.*stopped"):
            norms = self.fit("stop", check_every=10)
        assert len(norms.record) == 50

    def test_ignores(self, recwarn):
        norms = self.fit("ignore")
        assert len(norms.record) == 80
        assert not [w for w in recwarn if "Non-finite" in str(w.message)]

    def test_names_only_the_group_concerned(self, data):
        inputs = keras.Input((3,))
        side = keras.layers.Dense(1, name="side")(inputs)
        main = keras.layers.Dense(1, name="main")(inputs)
        model = keras.Model(inputs, [main, side])
        # The square root's slope is infinite where the side output is zero.
        model.get_layer("side").set_weights([np.zeros((3, 1)), np.zeros(1)])
        model.compile(
            "sgd", [lambda y, p: p, lambda y, p: keras.ops.sqrt(keras.ops.abs(p))]
        )
        norms = GradientNorms()
        zeros = np.zeros((8, 1))
        with pytest.warns(RuntimeWarning, match="first in group 'side'."):
            model.fit(np.ones((8, 3)), [zeros, zeros], batch_size=8, verbose=0,
                      callbacks=[norms])  # fmt: skip
        finite = dict(zip(norms.record.groups, norms.record.finite[0], strict=True))
        assert finite == {"main": True, "side": False}


class TestTaps:
    def test_unknown_layer(self, make_model):
        with pytest.raises(ValueError, match="did you mean 'shared'"):
            with_output_taps(make_model(), ["sharde"])

    def test_no_layers(self, make_model):
        with pytest.raises(ValueError, match="No layers"):
            with_output_taps(make_model(), [])

    def test_unknown_statistics(self, make_model):
        with pytest.raises(ValueError, match="must be among"):
            with_output_taps(make_model(), ["first"], statistics=["median"])

    def test_layers_inside_recurrent_layers(self):
        inputs = keras.Input((4, 3))
        rnn = keras.layers.RNN(keras.layers.SimpleRNNCell(2, name="cell"))
        model = keras.Model(inputs, rnn(inputs))
        with pytest.raises(ValueError, match="once per time step"):
            with_output_taps(model, ["cell"])

    def test_own_train_step(self):
        class Own(keras.Model):
            def train_step(self, *args):
                return super().train_step(*args)

        inputs = keras.Input((3,))
        model = Own(inputs, keras.layers.Dense(2, name="only")(inputs))
        with pytest.raises(ValueError, match="`train_step` of its own"):
            with_output_taps(model, ["only"])

    def test_unbuilt_model(self):
        with pytest.raises(ValueError, match="must be built"):
            with_output_taps(keras.Sequential([keras.layers.Dense(2)]), ["dense"])


class TestAnalysis:
    def test_empty_data(self, make_model, data):
        with pytest.raises(ValueError, match="holds no batch"):
            analyze_gradient_flow(
                make_model(), (data[0][:0], data[1][:0]), cross_entropy
            )
        with pytest.raises(ValueError, match="holds no batch"):
            analyze_gradient_flow(make_model(), [], cross_entropy)

    def test_nan_loss(self, make_model, data):
        x = data[0].copy()
        x[20] = np.nan
        with pytest.raises(ValueError, match="loss of batch 2 is not finite"):
            analyze_gradient_flow(
                make_model(), (x, data[1]), cross_entropy, batch_size=8
            )

    def test_no_loss(self, make_model, data):
        with pytest.raises(ValueError, match="Give a `loss`"):
            analyze_gradient_flow(make_model(), data)

    @pytest.mark.parametrize("argument", ["batches", "batch_size"])
    @pytest.mark.parametrize("value", [0, -3, 2.5])
    def test_numbers(self, make_model, data, argument, value):
        with pytest.raises(ValueError, match=f"{argument}={value}"):
            analyze_gradient_flow(
                make_model(), data, cross_entropy, **{argument: value}
            )

    def test_arrays_in_a_list(self, make_model, data):
        # Taken for batches, the first two samples would pass for images and labels.
        with pytest.raises(ValueError, match="given as a tuple"):
            analyze_gradient_flow(make_model(), list(data), cross_entropy)

    def test_a_loss_per_output(self, make_model, data):
        with pytest.raises(ValueError, match="as one function"):
            analyze_gradient_flow(make_model(), data, [cross_entropy])

    def test_lengths_that_differ(self, make_model, data):
        with pytest.raises(ValueError, match="same length"):
            analyze_gradient_flow(make_model(), (data[0], data[1][:3]), cross_entropy)
