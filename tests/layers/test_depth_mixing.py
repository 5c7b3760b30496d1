"""Attention over depth against plain NumPy, PyTorch and its own promises."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from keras_gradattn.layers._average_pooling import average_pool
from tests.backend_gradients import loss_and_gradients

CHANNELS, HEADS = 8, 2


def random_maps(count=3, size=(5, 4), channels=CHANNELS, batch=2, seed=0):
    random = np.random.default_rng(seed)
    return [
        random.normal(size=(batch, *size, channels)).astype("float32")
        for _ in range(count)
    ]


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def disturb(layer, seed=1, size=0.5):
    """Weights that are not the zeros that training starts from."""
    random = np.random.default_rng(seed)
    layer.set_weights(
        [w + random.normal(0, size, w.shape) for w in layer.get_weights()]
    )


def squared_error(targets, outputs):
    # A sum, because Keras averages float64 in float32 on JAX and PyTorch.
    targets = keras.ops.convert_to_tensor(targets, outputs.dtype)
    return keras.ops.sum((outputs - targets) ** 2)


def softmax(values):
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def unit_rms(vectors):
    return vectors / np.sqrt((vectors**2).mean(-1, keepdims=True) + 1e-6)


def mixed_by_numpy(
    maps,
    prior,
    prior_bias,
    query,
    vector,
    gate="softmax",
    top_k=None,
    cap=np.inf,
    normalized=False,
):
    """The formula in float64, head by head; maps are channels-last and aligned.

    `query` is `W d(h_n)` for every image or position, `(batch, height or 1, width or 1,
    channels)`.
    """
    maps = [m.astype("float64") for m in maps]
    keys = [unit_rms(m.mean((1, 2), keepdims=True)) for m in maps]
    query = query + vector
    mixed, weights = np.zeros_like(maps[-1]), []
    width = query.shape[-1] // prior_bias.shape[0]
    for head in range(prior_bias.shape[0]):
        group = slice(head * width, (head + 1) * width)
        logits = np.stack(
            [
                prior_bias[head, i]
                + (query[..., group] * key[..., group]).sum(-1) / np.sqrt(width)
                for i, key in enumerate(keys)
            ],
            axis=1,
        )
        if np.isfinite(cap):
            logits = cap * np.tanh(logits / cap)
        shares = np.reshape(prior, (1, -1, 1, 1)) / sum(prior)
        if gate == "sigmoid":
            weights.append(shares * 2 / (1 + np.exp(-logits)))
        else:
            logits = logits + np.log(shares)
            for place in np.ndindex(len(logits), *logits.shape[2:]):
                column = logits[place[0], :, place[1], place[2]]
                column[np.argsort(column)[: -(top_k or len(column))]] = -np.inf
            weights.append(softmax(logits))
        for i, source in enumerate(maps):
            total = 1 if normalized else sum(prior)
            share = total * weights[-1][:, i, ..., None]
            mixed[..., group] += share * source[..., group]
    return mixed, np.stack(weights, axis=1).mean((3, 4))


def expected_of(layer, maps, prior):
    """What the layer should return, from its weights alone."""
    by_name = {w.name: w.numpy().astype("float64") for w in layer.weights}
    current = maps[-1].astype("float64")
    if layer.query_of == "learned":
        query, vector = np.zeros((len(current), 1, 1, 1)), by_name["query"]
    else:
        if layer.query_of == "map":
            current = current.mean((1, 2), keepdims=True)
        query, vector = unit_rms(current) @ by_name["kernel"], by_name["bias"]
    return mixed_by_numpy(
        maps,
        prior,
        by_name["prior_bias"],
        query,
        vector,
        layer.gate,
        layer.top_k,
        layer.logit_cap or np.inf,
        layer.normalized,
    )


VARIANTS = pytest.mark.parametrize(
    "variant",
    [
        {},
        {"query": "pixels"},
        {"query": "learned"},
        {"gate": "sigmoid"},
        {"query": "pixels", "gate": "sigmoid"},
        {"top_k": 1},
        {"top_k": 2, "query": "pixels"},
        {"top_k": 9},
        {"normalized": True},
        {"normalized": True, "gate": "sigmoid"},
        {"logit_cap": 0.5},
        {"logit_cap": 0.5, "gate": "sigmoid"},
        {"logit_cap": 0.5, "top_k": 2, "query": "pixels"},
    ],
    ids=str,
)


@VARIANTS
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_equals_numpy(variant, data_format):
    maps, prior = random_maps(), (0.1, 1.0, 2.0)
    first = data_format == "channels_first"
    given_maps = [m.transpose(0, 3, 1, 2) for m in maps] if first else maps
    layer = layers.DepthMixing(HEADS, prior=prior, data_format=data_format, **variant)
    layer(given_maps)
    disturb(layer)

    mixed, weights = (as_array(x) for x in layer(given_maps, return_weights=True))

    expected = expected_of(layer, maps, prior)
    mixed = mixed.transpose(0, 2, 3, 1) if first else mixed
    np.testing.assert_allclose(mixed, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, expected[1], rtol=1e-5, atol=1e-6)


def test_a_cap_holds_whatever_the_image():
    layer = layers.DepthMixing(HEADS, logit_cap=1.0)
    layer(random_maps())
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(100 * random.normal(size=weight.shape))

    _, weights = layer(random_maps(), return_weights=True)

    weights = as_array(weights)
    # Far beyond the cap every logit is at one of its ends, 2 apart.
    assert weights.max() < np.exp(2) / (np.exp(2) + 2) + 1e-6
    assert weights.min() > 1 / (1 + 2 * np.exp(2)) - 1e-6


@VARIANTS
def test_unknown_sizes_compute_the_same(variant):
    inputs = [keras.Input((None, None, CHANNELS)) for _ in range(3)]
    layer = layers.DepthMixing(HEADS, **variant)
    model = keras.Model(inputs, layer(inputs, return_weights=True))
    disturb(layer)
    maps = random_maps()

    outputs = model.predict(maps, verbose=0)

    for output, expected in zip(outputs, layer(maps, return_weights=True), strict=True):
        np.testing.assert_allclose(output, as_array(expected), atol=1e-5)


@pytest.mark.parametrize("gate", ["softmax", "sigmoid"])
def test_static_weights_can_be_set(gate):
    prior = (0.5, 1.0, 1.5)
    layer = layers.DepthMixing(HEADS, weights="static", gate=gate, prior=prior)
    maps = random_maps()
    layer(maps)
    wanted = np.array([[0.1, 0.3, 0.6], [0.25, 0.25, 0.5]])
    layer.prior_bias.assign(layer.bias_for(wanted))

    _, weights = layer(maps, return_weights=True)

    np.testing.assert_allclose(as_array(weights)[0], wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["attention", "static", "equal"])
def test_sources_left_out_share_nothing(kind):
    layer = layers.DepthMixing(HEADS, weights=kind, source_dropout=0.4, seed=3)
    maps = random_maps(4, batch=400)
    layer(maps)

    mixed, weights = layer(maps, training=True, return_weights=True)
    at_test, at_test_weights = layer(maps, training=False, return_weights=True)

    weights = as_array(weights)[:, 0]
    counts = (weights > 0).sum(-1)
    np.testing.assert_allclose(weights, (weights > 0) / counts[:, None], atol=1e-6)
    # Four survivors of a coin of 0.6, or four where all would have gone.
    expected = 4 * 0.6 + 4 * 0.4**4
    assert abs(counts.mean() - expected) < 4 * np.sqrt(4 * 0.6 * 0.4 / 400)
    summed = 4 * np.einsum("bn,nbhwc->bhwc", weights, np.stack(maps))
    np.testing.assert_allclose(as_array(mixed), summed, atol=1e-4)
    np.testing.assert_allclose(as_array(at_test), sum(maps), atol=1e-5)
    np.testing.assert_allclose(as_array(at_test_weights), 0.25, atol=1e-6)


def test_sigmoid_gates_left_out_keep_the_mean():
    layer = layers.DepthMixing(HEADS, gate="sigmoid", source_dropout=0.25, seed=3)
    maps = random_maps(3, batch=64)
    layer(maps)

    _, weights = layer(maps, training=True, return_weights=True)

    weights = as_array(weights)
    np.testing.assert_allclose(weights[weights > 0], 1 / 3 / 0.75, atol=1e-6)
    assert 0.1 < (weights == 0).mean() < 0.4


def test_the_seed_repeats_what_is_left_out():
    def drawn(seed):
        layer = layers.DepthMixing(HEADS, source_dropout=0.5, seed=seed)
        return as_array(layer(random_maps(), training=True))

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert np.abs(drawn(1) - drawn(2)).max() > 0.1


@pytest.mark.parametrize("weights", ["attention", "static", "prior"])
def test_starts_as_the_sum_with_its_prior(weights):
    maps, prior = random_maps(), (0.1, 1.0, 2.0)

    layer = layers.DepthMixing(HEADS, weights=weights, prior=prior)
    mixed, shares = layer(maps, return_weights=True)

    assert bool(layer.weights) == (weights != "prior")
    expected = sum(p * m.astype("float64") for p, m in zip(prior, maps, strict=True))
    np.testing.assert_allclose(as_array(mixed), expected, atol=1e-6)
    expected = np.broadcast_to(np.array(prior) / sum(prior), (2, HEADS, 3))
    np.testing.assert_allclose(as_array(shares), expected, atol=1e-7)


def test_default_start_is_the_residual_sum():
    maps = random_maps(4)

    mixed = layers.DepthMixing(HEADS)(maps)

    np.testing.assert_allclose(as_array(mixed), sum(maps), atol=2e-6)


def test_equal_weights_learn_nothing_and_keep_the_sum_of_the_prior():
    maps = random_maps()

    layer = layers.DepthMixing(HEADS, weights="equal", prior=(0.1, 1.0, 1.0))
    mixed, shares = layer(maps, return_weights=True)

    assert layer.weights == []
    np.testing.assert_allclose(as_array(shares), 1 / 3, atol=1e-7)
    np.testing.assert_allclose(as_array(mixed), 0.7 * sum(maps), atol=2e-6)


@settings(deadline=None, max_examples=15)
@given(
    count=st.integers(1, 6),
    seed=st.integers(0, 999),
    size=st.sampled_from([1e-4, 1.0, 300.0]),
    learned=st.sampled_from([0.1, 3.0, 30.0]),
)
def test_weights_are_shares_whatever_the_numbers(count, seed, size, learned):
    maps = [size * m for m in random_maps(count, seed=seed)]
    layer = layers.DepthMixing(HEADS)
    layer(maps)
    disturb(layer, seed, learned)

    mixed, shares = (as_array(x) for x in layer(maps, return_weights=True))

    assert np.isfinite(mixed).all()
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)


def test_static_weights_do_not_see_the_image_and_attention_does():
    for kind, moves in (("static", False), ("attention", True)):
        layer = layers.DepthMixing(HEADS, weights=kind)
        maps = random_maps(batch=4)
        layer(maps)
        disturb(layer)
        _, shares = layer(maps, return_weights=True)
        differs = np.ptp(as_array(shares), axis=0).max()
        assert (differs > 1e-3) == moves, kind


def test_only_the_own_head_follows_a_query():
    layer = layers.DepthMixing(HEADS)
    maps = random_maps(batch=4)
    layer(maps)
    vector = np.zeros(CHANNELS)
    vector[: CHANNELS // 2] = 1
    layer.query.bias.assign(vector)

    _, shares = layer(maps, return_weights=True)

    assert np.ptp(as_array(shares)[:, 0], axis=0).max() > 1e-3
    np.testing.assert_allclose(as_array(shares)[:, 1], 1 / 3, atol=1e-6)


def test_descriptors_given_equal_those_computed():
    layer = layers.DepthMixing(HEADS)
    maps = random_maps()
    layer(maps)
    disturb(layer)
    expected = as_array(layer(maps))

    given_ones = layer(maps, descriptors=[layer.descriptor(m) for m in maps])

    np.testing.assert_array_equal(as_array(given_ones), expected)


def different_maps(batch=2):
    random = np.random.default_rng(0)
    shapes = [(11, 7, 4), (6, 4, 8), (3, 2, 8)]
    return [random.normal(size=(batch, *s)).astype("float32") for s in shapes]


def test_aligns_maps_of_different_sizes_and_channels():
    maps = different_maps()
    layer = layers.DepthMixing(HEADS, weights="static")
    mixed = as_array(layer(maps))

    expected = maps[-1].astype("float64")
    for source, size, alignment in zip(maps, (4, 2), layer.alignments, strict=False):
        pooled = as_array(average_pool(source, size, "channels_last"))
        kernel = alignment.convolution.kernel.numpy()[0, 0]
        # Moving statistics are still 0 and 1.
        expected = expected + pooled @ kernel / np.sqrt(1 + 1e-5)
    assert layer.alignments[-1] is None
    np.testing.assert_allclose(mixed, expected, atol=1e-5)


def test_pool_sizes_for_maps_of_unknown_size():
    inputs = [keras.Input((None, None, c)) for c in (4, 8, 8)]
    with pytest.raises(ValueError, match="give `pool_sizes`"):
        layers.DepthMixing(HEADS)(inputs)
    layer = layers.DepthMixing(HEADS, pool_sizes=(4, 2, 1))
    model = keras.Model(inputs, layer(inputs))
    known = layers.DepthMixing(HEADS)
    maps = different_maps()
    known(maps)
    known.set_weights(layer.get_weights())

    outputs = model.predict(maps, verbose=0)

    np.testing.assert_allclose(outputs, as_array(known(maps)), atol=1e-5)


def test_channels_first_equals_channels_last():
    maps = different_maps()
    last = layers.DepthMixing(HEADS)
    last(maps)
    disturb(last, size=0.2)
    for weight in last.weights:
        if "moving_variance" in weight.path:
            weight.assign(abs(weight.numpy()) + 0.5)
    first = layers.DepthMixing(HEADS, data_format="channels_first")
    transposed = [m.transpose(0, 3, 1, 2) for m in maps]
    first(transposed)
    first.set_weights(last.get_weights())

    outputs = as_array(first(transposed))

    np.testing.assert_allclose(
        outputs.transpose(0, 2, 3, 1), as_array(last(maps)), atol=1e-5
    )


def test_gradients_equal_pytorch_autograd():
    maps, prior = random_maps(), (0.5, 1.0, 1.0)
    inputs = [keras.Input(m.shape[1:]) for m in maps]
    layer = layers.DepthMixing(HEADS, prior=prior)
    model = keras.Model(inputs, layer(inputs))
    disturb(layer)
    target = np.random.default_rng(5).normal(size=maps[-1].shape).astype("float32")

    loss, _, gradients = loss_and_gradients(model, maps, target, squared_error)

    weights = {
        v.path: torch.tensor(v.numpy(), dtype=torch.float64, requires_grad=True)
        for v in model.trainable_variables
    }
    by_name = {path.rsplit("/", 1)[1]: w for path, w in weights.items()}
    sources = [torch.tensor(m, dtype=torch.float64) for m in maps]
    means = [m.mean((1, 2)) for m in sources]
    keys = torch.stack([m * (m.pow(2).mean(-1, True) + 1e-6).rsqrt() for m in means], 1)
    query = keys[:, -1] @ by_name["kernel"] + by_name["bias"]
    by_head = (2, -1, HEADS, CHANNELS // HEADS)
    products = query.reshape(2, 1, *by_head[2:]) * keys.reshape(by_head)
    logits = products.sum(-1) / np.sqrt(by_head[-1])
    logits = logits + by_name["prior_bias"].T + torch.tensor(prior).log()[:, None]
    shares = sum(prior) * logits.softmax(1).repeat_interleave(CHANNELS // HEADS, -1)
    mixed = sum(shares[:, i, None, None] * source for i, source in enumerate(sources))
    expected = (torch.tensor(target) - mixed).pow(2).sum()
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    for (path, weight), gradient in zip(weights.items(), gradients, strict=True):
        expected = weight.grad.numpy()
        assert np.abs(expected).max() > 1e-5, path
        np.testing.assert_allclose(
            gradient, expected, atol=1e-5 * np.abs(expected).max(), err_msg=path
        )


@pytest.mark.usefixtures("double_precision")
def test_float64_is_computed_in_float64():
    maps = [m.astype("float64") for m in random_maps()]
    layer = layers.DepthMixing(HEADS, dtype="float64")
    layer(maps)
    disturb(layer)

    mixed = as_array(layer(maps))

    expected, _ = expected_of(layer, maps, (1, 1, 1))
    assert mixed.dtype == "float64"
    np.testing.assert_allclose(mixed, expected, rtol=1e-12, atol=1e-12)


def test_large_float16_maps_do_not_overflow():
    # 512 x 512 positions of 60: their sum is beyond float16's largest number, 65504.
    maps = [
        np.full((1, 512, 512, 2), 60, "float16"),
        np.ones((1, 512, 512, 2), "float16"),
    ]
    layer = layers.DepthMixing(2, dtype="mixed_float16")
    layer(maps)
    layer.query.bias.assign([1.0, -1.0])

    mixed, shares = (as_array(x) for x in layer(maps, return_weights=True))

    assert mixed.dtype == "float16"
    assert shares.dtype == "float32"
    np.testing.assert_allclose(mixed, 61, rtol=2e-3)


def test_one_source_passes():
    maps = random_maps(1)

    layer = layers.DepthMixing(HEADS)
    layer(maps)
    disturb(layer)

    np.testing.assert_allclose(as_array(layer(maps)), maps[0], atol=1e-6)


def test_copy_from_config_and_saved_model(tmp_path):
    inputs = [keras.Input(m.shape[1:]) for m in different_maps()]
    layer = layers.DepthMixing(HEADS, prior=(0.1, 0.2, 1), name="mixing")
    model = keras.Model(inputs, layer(inputs))
    disturb(layer.query)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.get_layer("mixing").get_config() == layer.get_config()
    np.testing.assert_array_equal(
        loaded.predict(different_maps(), verbose=0),
        model.predict(different_maps(), verbose=0),
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 0}, "Received: heads=0"),
        ({"heads": 3}, "Received: channels=8, heads=3"),
        ({"weights": "softmax"}, "Received: weights='softmax'"),
        ({"query": "token"}, "Received: query='token'"),
        ({"gate": "relu"}, "Received: gate='relu'"),
        ({"top_k": 0}, "Received: top_k=0"),
        ({"top_k": 2, "gate": "sigmoid"}, "Received: top_k=2, gate='sigmoid'"),
        ({"logit_cap": 0}, "Received: logit_cap=0"),
        ({"logit_cap": "a"}, "Received: logit_cap='a'"),
        ({"source_dropout": 1}, "Received: source_dropout=1"),
        ({"source_dropout": "a"}, "Received: source_dropout='a'"),
        ({"prior": (1, 1)}, "one entry for each of the 3 maps"),
        ({"prior": (1, 0, 1)}, "positive numbers"),
        ({"prior": 1.0}, "positive numbers"),
        ({"pool_sizes": (1, 1)}, "one entry for each of the 3 maps"),
        ({"pool_sizes": (1, 0.5, 1)}, "positive integers"),
        ({"data_format": "NHWC"}, "Received: data_format='NHWC'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.DepthMixing(**({"heads": HEADS} | arguments))(random_maps())


def test_bad_maps():
    with pytest.raises(ValueError, match="non-empty list"):
        layers.DepthMixing(HEADS)(random_maps(1)[0])
    with pytest.raises(ValueError, match="whole number of pixels"):
        layers.DepthMixing(HEADS)([*random_maps(1, (7, 5)), *random_maps(1, (5, 5))])
    with pytest.raises(ValueError, match="Every map"):
        layers.DepthMixing(HEADS)([np.ones((2, 8)), np.ones((2, 8))])
