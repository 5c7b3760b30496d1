"""Layer-output gradients: equal to differentiation with respect to an added zero."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from keras_gradattn.gradients.output_taps import ALL_STATISTICS, with_output_taps
from tests.gradients.conftest import cross_entropy


class Composite(keras.layers.Layer):
    """Two layers that only its own code knows."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = keras.layers.Dense(6, activation="tanh", name="inner")
        self.outer = keras.layers.Dense(6, name="outer")

    def build(self, shape):
        self.inner.build(shape)
        self.outer.build((*shape[:-1], 6))

    def call(self, x):
        return x + self.outer(self.inner(x))


def make():
    keras.utils.set_random_seed(6)
    inputs = keras.Input((4, 6))
    x = Composite(name="composite")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(3, name="last")(x), name="nested")


@pytest.fixture
def batch():
    random = np.random.default_rng(2)
    x = random.normal(size=(16, 4, 6)).astype("float32")
    return x, random.integers(0, 3, 16)


def by_hand(model, x, y):
    """Output and gradient of `inner` and `last`, written out in NumPy (float64)."""
    weights = {v.path: v.numpy().astype("float64") for v in model.variables}

    def weight(name):
        return next(v for k, v in weights.items() if k.endswith(name))

    x = x.astype("float64")
    inner = np.tanh(x @ weight("inner/kernel") + weight("inner/bias"))
    added = x + inner @ weight("outer/kernel") + weight("outer/bias")
    mean, var = added.mean((0, 1)), added.var((0, 1))
    scale = weight("norm/gamma") / np.sqrt(var + 1e-3)
    normalised = (added - mean) / np.sqrt(var + 1e-3)
    flat = (normalised * weight("norm/gamma") + weight("norm/beta")).reshape(len(x), -1)
    logits = flat @ weight("last/kernel") + weight("last/bias")
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    g_last = (p - np.eye(3)[y]) / len(x)
    g = (g_last @ weight("last/kernel").T).reshape(x.shape)
    g_added = scale * (g - g.mean((0, 1)) - normalised * (g * normalised).mean((0, 1)))
    return {
        "inner": (inner, g_added @ weight("outer/kernel").T),
        "last": (logits, g_last),
    }


def statistics(output, g):
    def per_sample(values):
        return np.linalg.norm(values.reshape(len(values), -1), axis=1)

    norm, batch = np.linalg.norm(g), len(g)
    return {
        "norm": norm,
        "rms": norm * np.sqrt(batch) / np.sqrt(g[0].size),
        "product": np.sum(per_sample(output) * per_sample(g)),
        "mean_abs": np.abs(g).mean(),
        "std": g.std(ddof=1),
        "max_abs": np.abs(g).max(),
        "zero_share": 0.0,
    }


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.0),
        lambda: keras.optimizers.SGD(0.0, global_clipnorm=1e-3),
        lambda: keras.optimizers.SGD(0.0, loss_scale_factor=64.0),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.0)),
        lambda: keras.optimizers.AdamW(0.0, weight_decay=0.1),
    ],
    ids=["plain", "clipped", "scaled", "dynamically_scaled", "decayed"],
)
def test_recorded_in_training(batch, optimizer, jit_compile, backend):
    if backend == "torch":
        jit_compile = "auto"
    model = make()
    expected = {k: statistics(*v) for k, v in by_hand(model, *batch).items()}
    tapped = with_output_taps(model, ["inner", "last"], ALL_STATISTICS)
    tapped.compile(optimizer(), cross_entropy, jit_compile=jit_compile)
    norms = GradientNorms()
    tapped.fit(*batch, batch_size=16, epochs=2, verbose=0, callbacks=[norms])
    assert norms.record.groups == ("composite", "norm", "last")
    for layer, values in expected.items():
        for key, value in values.items():
            recorded = norms.record.layer_outputs[layer][key]
            np.testing.assert_allclose(recorded, value, rtol=1e-4, atol=1e-9)
    assert norms.record.taps[0][:2] == ("inner", "composite")


@pytest.mark.parametrize(
    "phases",
    [
        [(["inner", "last"], ("norm",)), (["inner"], ("norm",))],
        [(["last"], ("norm",)), (["inner", "last"], ("norm",))],
        [(["inner"], ("norm",)), (["last"], ("norm",))],
        [(["last"], ("norm", "rms")), (["last"], ("max_abs", "norm"))],
    ],
    ids=["fewer", "more", "others", "other statistics"],
)
def test_phases_keep_their_taps_apart(batch, phases, tmp_path):
    model, norms = make(), GradientNorms()
    expected = {k: statistics(*v) for k, v in by_hand(model, *batch).items()}
    for layers, names in phases:
        tapped = with_output_taps(model, layers, names)
        tapped.compile(keras.optimizers.SGD(0.0), cross_entropy)
        tapped.fit(*batch, batch_size=16, verbose=0, callbacks=[norms])
    norms.save(tmp_path / "taps.npz")
    loaded = GradientRecord.load(tmp_path / "taps.npz")
    for record in (norms.record, loaded, GradientRecord.join([loaded, loaded])):
        wanted = {layer for layers, _ in phases for layer in layers}
        assert sorted(tap[0] for tap in record.taps) == sorted(wanted)
        for layer, columns in record.layer_outputs.items():
            for row, (layers, names) in enumerate(phases * (len(record) // 2)):
                for name, column in columns.items():
                    known = layer in layers and name in names
                    value = expected[layer][name] if known else np.nan
                    np.testing.assert_allclose(column[row], value, rtol=1e-4)


def test_gradient_accumulation_gives_one_value_per_micro_batch(batch):
    x, y = batch
    model = make()
    expected = [
        statistics(*by_hand(model, x[s], y[s])["last"])["norm"]
        for s in (slice(0, 8), slice(8, 16))
    ]
    tapped = with_output_taps(model, ["last"])
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    tapped.compile(optimizer, cross_entropy)
    norms = GradientNorms()
    tapped.fit(*batch, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    recorded = norms.record.layer_outputs["last"]["norm"]
    np.testing.assert_allclose(recorded, expected, rtol=1e-4)


def test_weights_are_shared_and_the_model_is_untouched(batch):
    model = make()
    nodes = [len(layer._inbound_nodes) for layer in model.layers]
    tapped = with_output_taps(model, ["inner"])
    outputs = [keras.ops.convert_to_numpy(m(batch[0])) for m in (tapped, model)]
    np.testing.assert_array_equal(*outputs)
    tapped.compile(keras.optimizers.SGD(0.5), cross_entropy)
    before = model.get_weights()
    tapped.fit(*batch, verbose=0)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(before, model.get_weights(), strict=True)
    )
    assert [len(layer._inbound_nodes) for layer in model.layers] == nodes
    for layer in model._flatten_layers():
        assert "call" not in vars(layer)
    assert len(model.weights) == len(before)


def test_analysis_equals_the_hand_written_gradient(batch):
    model = make()
    expected = {k: statistics(*v) for k, v in by_hand(model, *batch).items()}
    flow = analyze_gradient_flow(
        model, batch, cross_entropy, layers=["last", "inner"], batches=1
    )
    assert flow.layers == ("inner", "last")  # by true depth, not as asked
    assert flow.groups == ("composite", "last")
    for i, layer in enumerate(flow.layers):
        for key, value in expected[layer].items():
            np.testing.assert_allclose(
                flow.gradient[key][0, i], value, rtol=1e-4, atol=1e-9
            )
    outputs = by_hand(model, *batch)["inner"][0].reshape(-1, 6)
    np.testing.assert_allclose(
        flow.forward["mean_square"][0, 0], np.square(outputs.mean(0)).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(
        flow.forward["variance"][0, 0], outputs.var(0).mean(), rtol=1e-4
    )


def test_rms_and_product_do_not_depend_on_the_batch():
    random = np.random.default_rng(0)
    x = random.normal(size=(8, 4, 6)).astype("float32")
    y = random.integers(0, 3, 8)
    small, large = (
        analyze_gradient_flow(
            make(), (np.tile(x, (n, 1, 1)), np.tile(y, n)), cross_entropy, batches=1
        )
        for n in (1, 4)
    )
    for key in ("rms", "product"):
        np.testing.assert_allclose(small.mean(key), large.mean(key), rtol=1e-4)
    # The published norm halves with four times the batch.
    np.testing.assert_allclose(small.mean("norm"), 2 * large.mean("norm"), rtol=1e-4)


def test_analysis_leaves_everything_as_it_was(batch):
    inputs = keras.Input((4, 6))
    x = keras.layers.Dropout(0.5, seed=1)(make()(inputs))
    model = keras.Model(inputs, x)
    model.compile(keras.optimizers.Adam(), cross_entropy)
    model.fit(*batch, verbose=0)
    state = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    function = model.train_function
    first = analyze_gradient_flow(model, batch, batch_size=4)
    again = analyze_gradient_flow(model, batch, batch_size=4)
    after = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
    for a, b in zip(state, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.train_function is function
    np.testing.assert_array_equal(first.gradient["norm"], again.gradient["norm"])
    assert len(first.losses) == 4


@pytest.mark.parametrize("kind", ["iterable", "pydataset", "dataset"])
def test_kinds_of_data(batch, kind, backend):
    x, y = batch
    pairs = [(x[i : i + 8], y[i : i + 8]) for i in (0, 8)]

    class Data(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return pairs[index]

    if kind == "iterable":
        data = iter(pairs)
    elif kind == "pydataset":
        data = Data()
    else:
        import tensorflow as tf

        data = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    flow = analyze_gradient_flow(make(), data, cross_entropy)
    expected = analyze_gradient_flow(make(), batch, cross_entropy, batch_size=8)
    np.testing.assert_allclose(
        flow.gradient["norm"], expected.gradient["norm"], rtol=1e-6
    )


def test_a_layer_called_twice_has_a_tap_per_call(batch):
    inputs = keras.Input((4, 6))
    shared = keras.layers.Dense(6, name="shared")
    x = keras.layers.Flatten()(shared(shared(inputs)))
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(x))
    flow = analyze_gradient_flow(model, batch, cross_entropy, layers=["shared"])
    assert flow.layers == ("shared", "shared (call 2)")
    kernels = [
        v.numpy().astype("float64") for v in (shared.kernel, model.layers[-1].kernel)
    ]
    logits = keras.ops.convert_to_numpy(model(batch[0])).astype("float64")
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    g = (p - np.eye(3)[batch[1]]) / 16
    second = (g @ kernels[1].T).reshape(16, 4, 6)
    expected = [np.linalg.norm(second @ kernels[0].T), np.linalg.norm(second)]
    np.testing.assert_allclose(flow.gradient["norm"][0], expected, rtol=1e-4)


def test_dead_layers_are_told_from_attenuated_ones(batch):
    inputs = keras.Input((4, 6))
    x = keras.layers.Dense(6, name="dead", activation="relu")(inputs)
    x = keras.layers.Flatten()(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="last")(x))
    kernel, bias = model.get_layer("dead").get_weights()
    model.get_layer("dead").set_weights([kernel, bias - 1e4])
    kernel, bias = model.get_layer("last").get_weights()
    model.get_layer("last").set_weights([kernel * 1e-8, bias])
    flow = analyze_gradient_flow(model, batch, cross_entropy)
    assert flow.mean("dead_relu_share")[0] == 1
    assert not flow.dead.any()  # the gradient at its output is small, not zero
    assert 0 < flow.mean("norm")[0] < 1e-6
    assert flow.health() == 0.5


def test_subclassed_model(batch):
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(3, name="last")
            self.first = keras.layers.Dense(6, name="first")
            self.flatten = keras.layers.Flatten()

        def call(self, x):
            return self.last(self.flatten(self.first(x)))

    model = Subclassed()
    model(batch[0])
    flow = analyze_gradient_flow(model, batch, cross_entropy)
    assert flow.layers == ("first", "last")


def test_flow_survives_its_file(batch, tmp_path):
    flow = analyze_gradient_flow(make(), batch, cross_entropy, batch_size=8)
    flow.save(tmp_path / "flow.npz")
    loaded = type(flow).load(tmp_path / "flow.npz")
    assert loaded.report() == flow.report()
    assert str(loaded.to_dict()) == str(flow.to_dict())
