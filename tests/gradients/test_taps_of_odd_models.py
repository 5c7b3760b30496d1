"""Taps on models with masks, averages, rematerialised layers and odd outputs."""

import collections
import contextlib

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.output_taps import with_output_taps
from tests.gradients.conftest import cross_entropy


def fit(model, data, optimizer=None, callbacks=(), **arguments):
    model.compile(optimizer or keras.optimizers.SGD(0.1), "mse", **arguments)
    model.fit(*data, batch_size=8, shuffle=False, epochs=2, verbose=0,
              callbacks=list(callbacks))  # fmt: skip


def masked():
    keras.utils.set_random_seed(1)
    encoder = keras.Sequential(
        [keras.Input((6, 2)), keras.layers.Masking(), keras.layers.Dense(4)],
        name="encoder",
    )
    inputs = keras.Input((6, 2))
    x = keras.layers.GRU(3)(encoder(inputs))
    return keras.Model(inputs, keras.layers.Dense(1)(x))


def test_masks_of_nested_models_survive():
    x = np.random.default_rng(0).normal(size=(16, 6, 2)).astype("float32")
    x[:, 4:] = 0
    data, weights = (x, np.ones((16, 1), "float32")), []
    for tapped in (False, True):
        model = masked()
        fit(with_output_taps(model, ["encoder"]) if tapped else model, data)
        weights.append(model.get_weights())
    for plain, trained in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, trained, rtol=1e-5, atol=1e-7)


@pytest.fixture
def data_of_six():
    x = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
    return x, np.ones((24, 3), "float32")


def two_layers():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(4, name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, name="out")(x))


@pytest.mark.parametrize("scaled", ["factor", "dynamic", "plain"])
def test_shares_of_zeros_are_not_scaled(data_of_six, scaled):
    model = two_layers()
    kernel, bias = model.get_layer("out").get_weights()
    kernel[:2] = 0  # half of the hidden units get no gradient
    model.get_layer("out").set_weights([kernel, bias])
    optimizer = keras.optimizers.SGD(0.0)
    if scaled == "dynamic":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    elif scaled == "factor":
        optimizer = keras.optimizers.SGD(0.0, loss_scale_factor=64.0)
    tapped = with_output_taps(model, ["hidden"], ["zero_share", "norm"])
    norms = GradientNorms()
    fit(tapped, data_of_six, optimizer, [norms])
    found = norms.record.layer_outputs["hidden"]
    np.testing.assert_allclose(found["zero_share"], 0.5, rtol=1e-6)
    plain = analyze_gradient_flow(
        model, data_of_six, "mse", layers=["hidden"], batch_size=8
    )
    np.testing.assert_allclose(
        found["norm"][:3], plain.gradient["norm"][:, 0], rtol=1e-4
    )


@pytest.mark.parametrize("arguments", [{}, {"ema_overwrite_frequency": 2}])
def test_averaged_weights(data_of_six, arguments):
    weights = []
    for tapped in (False, True):
        model = two_layers()
        target = with_output_taps(model, ["hidden"]) if tapped else model
        fit(target, data_of_six, keras.optimizers.Adam(1e-2, use_ema=True, **arguments))
        weights.append(model.get_weights())
    for plain, trained in zip(*weights, strict=True):
        np.testing.assert_allclose(plain, trained, rtol=1e-4, atol=1e-6)


def test_swapping_averaged_weights(data_of_six):
    tapped = with_output_taps(two_layers(), ["hidden"])
    norms = GradientNorms()
    fit(
        tapped, data_of_six, keras.optimizers.Adam(use_ema=True),
        [norms, keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
    )  # fmt: skip
    assert len(norms.record.layer_outputs["hidden"]["norm"]) == 6


def test_checkpoints_of_a_tapped_model_are_those_of_the_model(data_of_six, tmp_path):
    model = two_layers()
    tapped, path = with_output_taps(model, ["hidden"]), tmp_path / "model.keras"
    fit(tapped, data_of_six, callbacks=[keras.callbacks.ModelCheckpoint(path)])
    loaded = keras.models.load_model(path)
    for saved, own in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(saved, own)


# On TensorFlow Keras itself does not train such a model: what is computed again there
# takes no keywords inside a graph, and Keras gives `training` as one.
@pytest.mark.backends("jax", "torch")
def test_rematerialised_layers(data_of_six):
    def make(mode):
        keras.utils.set_random_seed(1)
        with keras.RematScope(mode=mode):
            inputs = keras.Input((6,))
            x = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
            return keras.Model(inputs, keras.layers.Dense(3, name="out")(x))

    records = []
    for mode in ("full", None):
        model, norms = make(mode), GradientNorms()
        with (
            contextlib.nullcontext()
            if mode is None
            else pytest.warns(RuntimeWarning, match="compute once")
        ):
            tapped = with_output_taps(model, ["hidden", "out"])
        fit(tapped, data_of_six, callbacks=[norms])
        records.append(norms.record)
    assert records[0].groups == records[1].groups == ("hidden", "out")
    for layer in ("hidden", "out"):
        for statistic in ("norm", "product"):
            again, once = (r.layer_outputs[layer][statistic] for r in records)
            np.testing.assert_allclose(again, once, rtol=1e-4)


Pair = collections.namedtuple("Pair", ["main", "side"])


class Twice(keras.layers.Layer):
    """Returns a named tuple."""

    def call(self, x):
        return Pair(2 * x, x)

    def compute_output_shape(self, shape):
        return Pair(shape, shape)


class Named(keras.Model):
    def __init__(self):
        super().__init__()
        self.twice = Twice(name="twice")
        self.out = keras.layers.Dense(3, name="out")

    def call(self, x):
        return self.out(self.twice(x).main)


def test_named_tuples(data_of_six):
    model = Named()
    model(data_of_six[0])
    flow = analyze_gradient_flow(
        model, data_of_six, "mse", layers=["twice"], batch_size=24
    )
    assert flow.mean("norm")[0] > 0


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "TimeDistributed", "Bidirectional"])
def test_analysis_takes_recurrent_layers_as_one(kind):
    layers = {
        "LSTM": lambda: keras.layers.LSTM(4, name="steps"),
        "GRU": lambda: keras.layers.GRU(4, name="steps"),
        "TimeDistributed": lambda: keras.layers.TimeDistributed(
            keras.layers.Dense(4), name="steps"
        ),
        "Bidirectional": lambda: keras.layers.Bidirectional(
            keras.layers.GRU(2), name="steps"
        ),
    }
    inputs = keras.Input((5, 3))
    x = keras.layers.Flatten()(layers[kind]()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    data = np.ones((8, 5, 3), "float32"), np.ones((8, 1), "float32")
    flow = analyze_gradient_flow(model, data, "mse")
    assert flow.layers == ("steps", "out")
    assert (flow.mean("norm") > 0).all()


def test_free_length_with_a_short_position_table():
    import keras_hub

    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=9, num_layers=1, num_heads=2, hidden_dim=8,
        intermediate_dim=16, max_sequence_length=32,
    )  # fmt: skip
    tapped = with_output_taps(backbone, ["transformer_layer_0"])
    assert [tap.gradient_tap.layer for tap in tapped.taps] == ["transformer_layer_0"]


@pytest.mark.parametrize("what", ["loss_weights", "regularizer", "add_loss"])
def test_analysis_measures_the_loss_of_training(data_of_six, what):
    class Penalty(keras.layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(keras.ops.square(x)))
            return x

    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    regularizer = keras.regularizers.L2(1.0) if what == "regularizer" else None
    x = keras.layers.Dense(4, activity_regularizer=regularizer, name="hidden")(inputs)
    if what == "add_loss":
        x = Penalty()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="out")(x))
    arguments = {"loss_weights": [3.0]} if what == "loss_weights" else {}
    model.compile(keras.optimizers.SGD(0.0), "mse", **arguments)
    flow = analyze_gradient_flow(model, data_of_six, batch_size=8)
    tapped, norms = with_output_taps(model, ["hidden", "out"]), GradientNorms()
    fit(tapped, data_of_six, keras.optimizers.SGD(0.0), [norms], **arguments)
    for column, layer in enumerate(flow.layers):
        np.testing.assert_allclose(
            flow.gradient["norm"][:, column],
            norms.record.layer_outputs[layer]["norm"][:3],
            rtol=1e-4,
        )


def test_analysis_of_half_precision_sees_what_single_precision_sees():
    def make(policy):
        keras.utils.set_random_seed(1)
        inputs = x = keras.Input((16, 16, 3))
        for i in range(4):
            x = keras.layers.Conv2D(
                4, 3, padding="same", activation="tanh", name=f"c{i}", dtype=policy
            )(x)
        x = keras.layers.GlobalAveragePooling2D(dtype=policy)(x)
        initial = keras.initializers.RandomNormal(0, 0.02, seed=1)
        head = keras.layers.Dense(3, kernel_initializer=initial, dtype="float32")
        return keras.Model(inputs, head(x))

    single, half = make("float32"), make("mixed_float16")
    half.set_weights(single.get_weights())
    x = np.random.default_rng(0).normal(size=(256, 16, 16, 3)).astype("float32")
    data = x, (np.arange(256) % 3).astype("int32")
    flows = [
        analyze_gradient_flow(model, data, cross_entropy, batch_size=256)
        for model in (single, half)
    ]
    np.testing.assert_allclose(flows[1].mean("norm"), flows[0].mean("norm"), rtol=0.02)
    assert flows[1].mean("zero_share").max() < 0.01
    np.testing.assert_allclose(flows[1].losses, flows[0].losses, rtol=1e-2)


def test_norms_by_time_step():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((7, 3))
    x = keras.layers.Dense(4, name="feeds")(inputs)
    x = keras.layers.SimpleRNN(4, name="steps")(x)
    model = keras.Model(inputs, keras.layers.Dense(1, name="out")(x))
    # A recurrence that halves what it is handed: so does the gradient, back in time.
    rnn = model.get_layer("steps")
    rnn.set_weights([np.eye(4), 0.5 * np.eye(4), np.zeros(4)])
    rnn.cell.activation = keras.activations.linear
    tapped = with_output_taps(model, ["feeds"], ["norm_by_step", "norm"])
    norms = GradientNorms()
    x = np.random.default_rng(0).normal(size=(8, 7, 3)).astype("float32")
    fit(tapped, (x, np.ones((8, 1))), keras.optimizers.SGD(0.0), [norms])
    found = norms.record.layer_outputs["feeds"]
    by_step = np.array([found[f"norm_step_{step}"][0] for step in range(7)])
    np.testing.assert_allclose(by_step[1:] / by_step[:-1], 2, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(by_step), found["norm"][0], rtol=1e-4)


def test_time_steps_of_what_has_none(data_of_six):
    with pytest.raises(ValueError, match="known number of steps"):
        with_output_taps(two_layers(), ["hidden"], ["norm_by_step"])


@pytest.mark.parametrize("kind", [tuple, list, dict])
def test_a_sample_weight_per_output(kind):
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 6)).astype("float32")
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, name="hidden")(inputs)
    heads = {n: keras.layers.Dense(3, name=n)(hidden) for n in ("one", "two")}
    model = keras.Model(inputs, heads if kind is dict else list(heads.values()))
    model.compile("sgd", dict.fromkeys(heads, "mse") if kind is dict else ["mse"] * 2)
    targets = random.normal(size=(2, 12, 3)).astype("float32")
    weights = random.uniform(0.5, 2, size=(2, 12)).astype("float32")
    y, weight = (
        dict(zip(heads, part, strict=True)) if kind is dict else kind(part)
        for part in (targets, weights)
    )
    flow = analyze_gradient_flow(model, (x, y, weight), layers=["hidden"])

    # By hand: each loss is the mean over samples of weight times squared error.
    values = [w.astype("float64") for w in model.get_layer("hidden").get_weights()]
    activation = x @ values[0] + values[1]
    expected = 0
    for name, target, of_sample in zip(heads, targets, weights, strict=True):
        kernel, bias = model.get_layer(name).get_weights()
        error = activation @ kernel + bias - target
        expected = expected + (of_sample[:, None] * 2 * error / 3 / 12) @ kernel.T
    np.testing.assert_allclose(
        flow.gradient["norm"][0, 0], np.linalg.norm(expected), rtol=1e-4
    )


def test_a_weight_per_output_needs_a_loss_per_output():
    model = two_layers()
    x, y = np.ones((4, 6), "float32"), np.ones((4, 3), "float32")
    weights = (np.ones(4), np.ones(4))
    with pytest.raises(ValueError, match="one loss per output"):
        analyze_gradient_flow(model, (x, y, weights), "mse")
