"""Attention over depth against plain NumPy, PyTorch and its own promises."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import GradAttnPathways, layers
from keras_gradattn.layers._average_pooling import average_pool
from tests.backend_gradients import loss_and_gradients

CHANNELS, GROUPS = 8, 2


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


def mixed_by_numpy(maps, start_weights, bias, query, total):
    """The formula in float64, group by group; maps are channels-last and aligned.

    `query` is `W d(h_n) + v`, `(batch, channels)`.
    """
    maps = [m.astype("float64") for m in maps]
    keys = [unit_rms(m.mean((1, 2))) for m in maps]
    mixed, weights = np.zeros_like(maps[-1]), []
    width = query.shape[-1] // bias.shape[0]
    for group in range(bias.shape[0]):
        own = slice(group * width, (group + 1) * width)
        logits = np.stack(
            [
                np.log(start_weights[i])
                + bias[group, i]
                + (query[:, own] * key[:, own]).sum(-1) / np.sqrt(width)
                for i, key in enumerate(keys)
            ],
            axis=1,
        )
        weights.append(softmax(logits))
        for i, source in enumerate(maps):
            share = total * weights[-1][:, i, None, None, None]
            mixed[..., own] += share * source[..., own]
    return mixed, np.stack(weights, axis=1)


def expected_of(layer, maps, start_weights=(1, 1, 1)):
    """What the layer should return, from its weights alone."""
    by_path = {w.path.split("/", 1)[1]: w.numpy() for w in layer.weights}
    current = unit_rms(maps[-1].astype("float64").mean((1, 2)))
    query = current @ by_path["query/kernel"] + by_path["query/bias"]
    total = sum(start_weights) if layer.start == "residual" else 1
    return mixed_by_numpy(maps, start_weights, by_path["bias"], query, total)


STARTS = pytest.mark.parametrize("start", ["average", "residual"])


@STARTS
@pytest.mark.parametrize("start_weights", [None, (0.1, 1.0, 2.0)], ids=str)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_equals_numpy(start, start_weights, data_format):
    maps = random_maps()
    first = data_format == "channels_first"
    given_maps = [m.transpose(0, 3, 1, 2) for m in maps] if first else maps
    layer = layers.DepthMixing.starting_at(
        start_weights, channel_groups=GROUPS, start=start, data_format=data_format
    )
    layer(given_maps)
    disturb(layer)

    mixed, weights = (as_array(x) for x in layer(given_maps, return_weights=True))

    expected = expected_of(layer, maps, start_weights or (1, 1, 1))
    mixed = mixed.transpose(0, 2, 3, 1) if first else mixed
    np.testing.assert_allclose(mixed, expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(weights, expected[1], rtol=1e-5, atol=1e-6)


@STARTS
def test_unknown_sizes_compute_the_same(start):
    inputs = [keras.Input((None, None, CHANNELS)) for _ in range(3)]
    layer = layers.DepthMixing(GROUPS, start=start)
    model = keras.Model(inputs, layer(inputs, return_weights=True))
    disturb(layer)
    maps = random_maps()

    outputs = model.predict(maps, verbose=0)

    for output, expected in zip(outputs, layer(maps, return_weights=True), strict=True):
        np.testing.assert_allclose(output, as_array(expected), atol=1e-5)


@pytest.mark.parametrize("start_weights", [None, (0.5, 1.0, 1.5)], ids=str)
def test_static_weights_can_be_set(start_weights):
    layer = layers.DepthMixing.starting_at(
        start_weights, channel_groups=GROUPS, mixing="static"
    )
    maps = random_maps()
    layer(maps)
    wanted = np.array([[0.1, 0.3, 0.6], [0.25, 0.25, 0.5]])
    layer.bias.assign(layer.bias_for(wanted))

    _, weights = layer(maps, return_weights=True)

    np.testing.assert_allclose(as_array(weights)[0], wanted, atol=1e-6)


@pytest.mark.parametrize("mixing", ["attention", "static"])
def test_starts_as_the_sum_with_its_start_weights(mixing):
    maps, start_weights = random_maps(), (0.1, 1.0, 2.0)

    layer = layers.DepthMixing.starting_at(
        start_weights, channel_groups=GROUPS, mixing=mixing, start="residual"
    )
    mixed, shares = layer(maps, return_weights=True)

    expected = sum(
        p * m.astype("float64") for p, m in zip(start_weights, maps, strict=True)
    )
    np.testing.assert_allclose(as_array(mixed), expected, atol=1e-6)
    expected = np.broadcast_to(np.array(start_weights) / 3.1, (2, GROUPS, 3))
    np.testing.assert_allclose(as_array(shares), expected, atol=1e-7)


@pytest.mark.parametrize("mixing", ["attention", "static", "equal"])
def test_starts_are_the_average_and_the_residual_sum(mixing):
    maps = random_maps(4)

    average = layers.DepthMixing(GROUPS, mixing=mixing)(maps)
    total = layers.DepthMixing(GROUPS, mixing=mixing, start="residual")(maps)

    np.testing.assert_allclose(as_array(average), sum(maps) / 4, atol=1e-6)
    np.testing.assert_allclose(as_array(total), sum(maps), atol=2e-6)


def test_layer_and_network_have_equal_defaults():
    layer = layers.DepthMixing().get_config()
    network = GradAttnPathways(10).get_config()

    for name in ("channel_groups", "mixing", "start"):
        assert layer[name] == network[name], name


def test_equal_weights_learn_nothing():
    maps = random_maps()

    layer = layers.DepthMixing(GROUPS, mixing="equal")
    _, shares = layer(maps, return_weights=True)

    assert layer.weights == []
    np.testing.assert_allclose(as_array(shares), 1 / 3, atol=1e-7)


@settings(deadline=None, max_examples=15)
@given(
    count=st.integers(1, 6),
    seed=st.integers(0, 999),
    size=st.sampled_from([1e-4, 1.0, 300.0]),
    learned=st.sampled_from([0.1, 3.0, 30.0]),
)
def test_weights_are_shares_whatever_the_numbers(count, seed, size, learned):
    maps = [size * m for m in random_maps(count, seed=seed)]
    layer = layers.DepthMixing(GROUPS)
    layer(maps)
    disturb(layer, seed, learned)

    mixed, shares = (as_array(x) for x in layer(maps, return_weights=True))

    assert np.isfinite(mixed).all()
    assert shares.min() >= 0
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)


def test_static_weights_do_not_see_the_image_and_attention_does():
    for mixing, moves in (("static", False), ("attention", True)):
        layer = layers.DepthMixing(GROUPS, mixing=mixing)
        maps = random_maps(batch=4)
        layer(maps)
        disturb(layer)
        _, shares = layer(maps, return_weights=True)
        differs = np.ptp(as_array(shares), axis=0).max()
        assert (differs > 1e-3) == moves, mixing


def test_only_the_own_group_follows_a_query():
    layer = layers.DepthMixing(GROUPS)
    maps = random_maps(batch=4)
    layer(maps)
    vector = np.zeros(CHANNELS)
    vector[: CHANNELS // 2] = 1
    layer.query.bias.assign(vector)

    _, shares = layer(maps, return_weights=True)

    assert np.ptp(as_array(shares)[:, 0], axis=0).max() > 1e-3
    np.testing.assert_allclose(as_array(shares)[:, 1], 1 / 3, atol=1e-6)


def test_descriptors_given_equal_those_computed():
    layer = layers.DepthMixing(GROUPS)
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
    layer = layers.DepthMixing(GROUPS, mixing="static", start="residual")
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
        layers.DepthMixing(GROUPS)(inputs)
    layer = layers.DepthMixing(GROUPS, pool_sizes=(4, 2, 1))
    model = keras.Model(inputs, layer(inputs))
    known = layers.DepthMixing(GROUPS)
    maps = different_maps()
    known(maps)
    known.set_weights(layer.get_weights())

    outputs = model.predict(maps, verbose=0)

    np.testing.assert_allclose(outputs, as_array(known(maps)), atol=1e-5)


def test_channels_first_equals_channels_last():
    maps = different_maps()
    last = layers.DepthMixing(GROUPS)
    last(maps)
    disturb(last, size=0.2)
    for weight in last.weights:
        if "moving_variance" in weight.path:
            weight.assign(abs(weight.numpy()) + 0.5)
    first = layers.DepthMixing(GROUPS, data_format="channels_first")
    transposed = [m.transpose(0, 3, 1, 2) for m in maps]
    first(transposed)
    first.set_weights(last.get_weights())

    outputs = as_array(first(transposed))

    np.testing.assert_allclose(
        outputs.transpose(0, 2, 3, 1), as_array(last(maps)), atol=1e-5
    )


def test_gradients_equal_pytorch_autograd():
    maps, start_weights = random_maps(), (0.5, 1.0, 1.0)
    inputs = [keras.Input(m.shape[1:]) for m in maps]
    layer = layers.DepthMixing.starting_at(
        start_weights, channel_groups=GROUPS, start="residual"
    )
    model = keras.Model(inputs, layer(inputs))
    disturb(layer)
    target = np.random.default_rng(5).normal(size=maps[-1].shape).astype("float32")

    loss, _, gradients = loss_and_gradients(model, maps, target, squared_error)

    weights = {
        v.path: torch.tensor(v.numpy(), dtype=torch.float64, requires_grad=True)
        for v in model.trainable_variables
    }
    by_path = {path.split("/", 1)[1]: w for path, w in weights.items()}
    sources = [torch.tensor(m, dtype=torch.float64) for m in maps]
    means = [m.mean((1, 2)) for m in sources]
    keys = torch.stack([m * (m.pow(2).mean(-1, True) + 1e-6).rsqrt() for m in means], 1)
    query = keys[:, -1] @ by_path["query/kernel"] + by_path["query/bias"]
    by_group = (2, -1, GROUPS, CHANNELS // GROUPS)
    products = query.reshape(2, 1, *by_group[2:]) * keys.reshape(by_group)
    logits = products.sum(-1) / np.sqrt(by_group[-1])
    logits = logits + by_path["bias"].T + torch.tensor(start_weights).log()[:, None]
    shares = logits.softmax(1).repeat_interleave(CHANNELS // GROUPS, -1)
    shares = sum(start_weights) * shares
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
    layer = layers.DepthMixing(GROUPS, dtype="float64")
    layer(maps)
    disturb(layer)

    mixed = as_array(layer(maps))

    expected, _ = expected_of(layer, maps)
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
    np.testing.assert_allclose(mixed, 30.5, rtol=2e-3)


def test_one_source_passes():
    maps = random_maps(1)

    layer = layers.DepthMixing(GROUPS)
    layer(maps)
    disturb(layer)

    np.testing.assert_allclose(as_array(layer(maps)), maps[0], atol=1e-6)


def test_copy_from_config_and_saved_model(tmp_path):
    inputs = [keras.Input(m.shape[1:]) for m in different_maps()]
    layer = layers.DepthMixing.starting_at(
        (0.1, 0.2, 1), channel_groups=GROUPS, start="residual", name="mixing"
    )
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
        ({"channel_groups": 0}, "Received: channel_groups=0"),
        ({"channel_groups": 3}, "Received: channels=8, channel_groups=3"),
        ({"mixing": "softmax"}, "Received: mixing='softmax'"),
        ({"start": "zero"}, "Received: start='zero'"),
        ({"pool_sizes": (1, 1)}, "one entry for each of the 3 maps"),
        ({"pool_sizes": (1, 0.5, 1)}, "positive integers"),
        ({"data_format": "NHWC"}, "Received: data_format='NHWC'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.DepthMixing(**({"channel_groups": GROUPS} | arguments))(random_maps())


def test_start_weights_must_fit_the_maps():
    layer = layers.DepthMixing.starting_at((1, 1), channel_groups=GROUPS)
    with pytest.raises(ValueError, match="one entry for each of the 3 maps"):
        layer(random_maps())


def test_bad_maps():
    with pytest.raises(ValueError, match="non-empty list"):
        layers.DepthMixing(GROUPS)(random_maps(1)[0])
    with pytest.raises(ValueError, match="whole number of pixels"):
        layers.DepthMixing(GROUPS)([*random_maps(1, (7, 5)), *random_maps(1, (5, 5))])
    with pytest.raises(ValueError, match="Every map"):
        layers.DepthMixing(GROUPS)([np.ones((2, 8)), np.ones((2, 8))])
