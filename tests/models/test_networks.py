"""What all six networks promise beyond their numbers."""

import functools

import keras
import numpy as np
import pytest

import keras_gradattn
from tests.backend_gradients import inference
from tests.narrow import HEAD, ONE_BLOCK, SHORT, TRUNK, narrow, random_images
from tests.reference_numbers import NETWORKS

NETWORK = pytest.mark.parametrize("network", NETWORKS)
# One network of each family, where all six would only repeat themselves.
FAMILY = pytest.mark.parametrize("network", ["cbam_resnet18", "gradattn_v3"])
SMALL = TRUNK | ONE_BLOCK | HEAD


def outputs_of(model, images, **arguments):
    return keras.ops.convert_to_numpy(model(images, **arguments))


@pytest.mark.any_backend
@NETWORK
def test_config_returns_every_argument(network):
    arguments = {
        "num_classes": 3,
        "input_shape": (None, 40, 1),
        "stage_filters": (4, 8),
        "stage_blocks": (1, 2),
        "stem": "cifar",
        "classifier_activation": None,
        "normalization": ((0.5,), (0.25,)),
        "class_names": ["a", "b", "c"],
        "name": "mine",
    }
    if network.startswith("gradattn"):
        arguments |= {
            "width": 8,
            "num_heads": 2,
            "feed_forward": 12,
            "num_layers": 1,
            "dropout": 0.2,
            "mixing": "static",
            "identical_blocks": True,
        }
    else:
        arguments |= {"initialization": "kaiming_fan_out", "shortcuts": False}
    model = NETWORKS[network](**arguments)

    config = model.get_config()

    assert {key: config[key] for key in arguments} == arguments
    assert set(config) - set(arguments) == {"data_format", "dtype"}
    assert type(model).from_config(config).get_config() == config


@NETWORK
def test_saved_cloned_and_rebuilt_models_give_equal_outputs(network, tmp_path):
    model = narrow(network, input_shape=(None, None, 3), **SHORT)
    images = random_images(2, 29, 37, 3)
    expected = outputs_of(model, images)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())

    assert type(loaded) is type(model)
    np.testing.assert_array_equal(outputs_of(loaded, images), expected)
    np.testing.assert_array_equal(outputs_of(clone, images), expected)


@pytest.mark.any_backend
@NETWORK
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_stage_features_have_readable_names_and_halve(network, stem):
    model = narrow(network, input_shape=(32, 32, 3), stem=stem)

    features = model.stage_features

    first = 8 if stem == "imagenet" else 32
    assert list(features) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert [f.shape[1] for f in features.values()] == [
        first,
        first,
        first // 2,
        first // 4,
        first // 8,
    ]
    tapped = keras.Model(model.inputs, features)
    assert set(tapped(random_images(1, 32, 32, 3))) == set(features)


@pytest.mark.any_backend
@NETWORK
def test_depth_groups_cover_every_layer_with_weights(network):
    model = narrow(network)

    groups = model.depth_groups()

    assert list(dict.fromkeys(groups.values())) == [
        "stem",
        "stage1",
        "stage2",
        "stage3",
        "stage4",
        "head",
    ]
    grouped = {id(v) for n in groups for v in model.get_layer(n).trainable_variables}
    assert grouped == {id(v) for v in model.trainable_variables}


@pytest.mark.any_backend
def test_deeper_trunk():
    shallow, deep = (
        narrow("resnet18", stage_blocks=blocks)
        for blocks in ((2, 2, 2, 2), (3, 4, 6, 3))
    )

    def convolutions(model):
        return sum("_convolution" in x.name for x in model.layers) - 3

    # 17 and 33 convolutions beside the three shortcuts, and a classifier.
    assert (convolutions(shallow), convolutions(deep)) == (17, 33)


def test_without_shortcuts_the_trunk_is_the_published_plain_one():
    """Layer by layer GradAttn's, whose numbers are matched elsewhere."""
    plain = narrow("resnet18", shortcuts=False)
    published = narrow("gradattn_v2")
    assert not any("shortcut" in layer.name for layer in plain.layers)
    trunk = published.layers[: published.layers.index(published.get_layer("stage4"))]
    for layer in trunk:
        if layer.weights:
            plain.get_layer(layer.name).set_weights(layer.get_weights())
    images = random_images(2, 32, 32, 3)
    found, expected = (
        keras.Model(model.input, model.get_layer("stage4").output)
        for model in (plain, published)
    )
    np.testing.assert_array_equal(
        outputs_of(found, images), outputs_of(expected, images)
    )


@pytest.mark.usefixtures("without_traces")
@NETWORK
def test_training_lowers_the_loss(network):
    arguments = {"dropout": 0.0} if network.startswith("gradattn") else {}
    model = narrow(network, input_shape=(16, 16, 1), **SHORT, **arguments)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    labels = np.arange(24) % 3
    images = random_images(24, 16, 16, 1) + labels[:, None, None, None]

    history = model.fit(images, labels, batch_size=24, epochs=10, verbose=0)

    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]


WAYS = (
    {"jit_compile": True},
    {"run_eagerly": True},
    {"steps_per_execution": 2},
)


@functools.cache
def trained_one_way(network, jit_compile=False, **options):
    """Weights before and after two steps of a network of one block."""
    keras.utils.set_random_seed(0)
    images, labels = random_images(8, 16, 16, 3), np.arange(8) % 3
    head = {"dropout": 0.0, "num_layers": 1}
    model = narrow(
        network,
        input_shape=(16, 16, 3),
        # PyTorch's compiler takes a minute for a network of four stages.
        stage_filters=(8,),
        stage_blocks=(1,),
        **head if network.startswith("gradattn") else {},
    )
    before = model.get_weights()
    options["jit_compile"] = jit_compile and not options.get("run_eagerly")
    model.compile(
        keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", **options
    )
    model.fit(images, labels, batch_size=4, verbose=0, shuffle=False)
    return before, model.get_weights()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "options"),
    [
        (network, options)
        for network in ("cbam_resnet18", "gradattn_v3")
        for options in WAYS
        # PyTorch's compiler takes a minute a network, so it gets one of them.
        if (keras.backend.backend(), network, options)
        != ("torch", "cbam_resnet18", {"jit_compile": True})
    ],
    ids=str,
)
def test_ways_of_compiling_train_alike(network, options, backend):
    if backend == "torch" and "steps_per_execution" in options:
        model = narrow(network)
        model.compile("sgd", "sparse_categorical_crossentropy", **options)
        with pytest.raises(ValueError, match="steps_per_execution"):
            model.fit(random_images(4, 16, 16, 3), np.arange(4) % 3, verbose=0)
        return
    before, expected = trained_one_way(network)
    _, found = trained_one_way(network, **options)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    assert not np.array_equal(found[0], before[0])


@pytest.mark.usefixtures("without_traces")
@FAMILY
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(network, policy):
    model = narrow(network, input_shape=(16, 16, 1), dtype=policy, **SHORT)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    labels = np.arange(24) % 3
    images = random_images(24, 16, 16, 1) + labels[:, None, None, None]

    history = model.fit(images, labels, batch_size=24, epochs=8, verbose=0)

    assert history.history["loss"][-1] < history.history["loss"][0]
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    assert model.output.dtype == "float32"
    assert model.stage_features["stage1"].dtype == policy[len("mixed_") :]


@NETWORK
def test_channels_first_equals_channels_last(network):
    last = narrow(network, input_shape=(24, 20, 3), **ONE_BLOCK)
    images = random_images(2, 24, 20, 3)
    expected = outputs_of(last, images)
    shape = {"input_shape": (3, 24, 20), "data_format": "channels_first"}
    first = narrow(network, **shape, **ONE_BLOCK)
    first.set_weights(last.get_weights())

    outputs = outputs_of(first, images.transpose(0, 3, 1, 2))

    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@NETWORK
@pytest.mark.parametrize("size", [(8, 8), (29, 37)])
def test_batch_of_one_and_odd_sizes(network, size):
    model = narrow(network, **ONE_BLOCK)

    outputs = outputs_of(model, random_images(1, *size, 3))

    assert outputs.shape == (1, 3)
    np.testing.assert_allclose(outputs.sum(), 1, atol=1e-5)


def test_default_takes_any_size_and_returns_probabilities():
    model = keras_gradattn.GradAttnV2(num_classes=10)

    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, 10)
    assert model.name == "gradattn_v2"
    assert model.get_layer("head").classifier.activation is keras.activations.softmax


@FAMILY
def test_initialisation_differs_between_layers_and_follows_the_seed(network):
    def kernels():
        keras.utils.set_random_seed(5)
        return {v.path: v.numpy() for v in narrow(network).trainable_variables}

    first, second = kernels(), kernels()

    assert all(np.array_equal(first[path], second[path]) for path in first)
    for one, other in (("stage3_block1", "stage3_block2"), ("stage3", "stage4")):
        drawn = [
            first[f"{name}_convolution2/kernel"]
            for name in (
                one if "_" in one else f"{one}_block2",
                other if "_" in other else f"{other}_block2",
            )
        ]
        assert not np.allclose(*drawn)


def test_released_initialisation_of_the_gated_networks():
    model = NETWORKS["se_resnet18"](10, initialization="kaiming_fan_out")

    kernel = model.get_layer("stage4_block2_convolution2").kernel.numpy()
    gate = model.get_layer("stage4_block2_gate")
    classifier = model.get_layer("classifier")

    assert abs(kernel.std() / np.sqrt(2 / (512 * 9)) - 1) < 0.01
    assert abs(gate.squeeze.kernel.numpy().std() / 0.01 - 1) < 0.05
    assert abs(classifier.kernel.numpy().std() / 0.01 - 1) < 0.05
    assert not classifier.bias.numpy().any()


@FAMILY
def test_too_small_images_are_refused_when_they_arrive(network):
    model = narrow(network)

    with pytest.raises(ValueError, match="at least 8 pixels"):
        model(random_images(1, 4, 9, 3))
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="at least 8 pixels"):
        model.predict(random_images(1, 9, 7, 3), verbose=0)


@pytest.mark.usefixtures("without_traces")
@FAMILY
def test_frozen_layers_stay_frozen_when_saved(network, tmp_path):
    model = narrow(network, input_shape=(16, 16, 3), **ONE_BLOCK)
    for layer in model.layers[:-1]:
        layer.trainable = False
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(random_images(2, 16, 16, 3), np.arange(2), verbose=0)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    def paths(of):
        return [v.path for v in of.trainable_variables]

    assert paths(loaded) == paths(model)
    assert len(paths(model)) < len(narrow(network, **ONE_BLOCK).trainable_variables)
    for one, other in zip(
        loaded.optimizer.variables, model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@FAMILY
def test_numpy_integers_are_integers(network):
    counts = np.array([4, 8])

    model = narrow(
        network,
        num_classes=counts.max() + 1,
        stage_filters=tuple(counts),
        stage_blocks=(np.int64(1), 1),
    )

    assert model.output_shape == (None, 9)
    assert all(type(n) is int for n in model.get_config()["stage_filters"])


def test_float64_network_takes_float64_images():
    assert narrow("resnet18", dtype="float64").inputs[0].dtype == "float64"


def test_model_for_raw_images_normalises_and_names(tmp_path):
    model = narrow("gradattn_v2")
    raw = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    expected = outputs_of(model, ((raw / 255 - mean) / std).astype("float32"))

    usable = model.for_raw_images(mean, std, ["cat", "dog", "newt"])
    usable.save(tmp_path / "usable.keras")
    loaded = keras.saving.load_model(tmp_path / "usable.keras")

    np.testing.assert_allclose(inference(loaded, raw), expected, atol=1e-5)
    names = [["cat", "dog", "newt"][i] for i in expected.argmax(-1)]
    assert keras_gradattn.predict_labels(loaded, raw) == names
    with pytest.raises(ValueError, match="class_names"):
        keras_gradattn.predict_labels(model, raw)
    with pytest.raises(ValueError, match="2 names for 3 outputs"):
        keras_gradattn.predict_labels(model, raw, ["cat", "dog"])


@FAMILY
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "Received: num_classes=0"),
        ({"num_classes": 2.5}, "Received: num_classes=2.5"),
        ({"num_classes": True}, "Received: num_classes=True"),
        ({"input_shape": 32}, "Received: input_shape=32"),
        ({"input_shape": (32.0, 32, 3)}, "positive integers or None"),
        ({"stage_filters": 32}, "Received: stage_filters=32"),
        ({"normalization": (0.5, 0.5)}, "3 values"),
        ({"input_shape": (7, 32, 3)}, "at least 8 pixels"),
        ({"input_shape": (32, 32)}, "three entries"),
        ({"input_shape": (32, 32, None)}, "channels"),
        ({"stem": "vgg"}, "Received: stem='vgg'"),
        ({"stage_filters": (8, 16)}, "same, positive length"),
        ({"stage_blocks": (1, 1, 0, 1)}, "positive integers"),
        ({"data_format": "NHWC"}, "Received: data_format='NHWC'"),
        ({"class_names": ["one"]}, "3 strings"),
        ({"normalization": ((0.5,), (0.2,))}, "3 values"),
        ({"normalization": ((0.5,) * 3, (0.0,) * 3)}, "positive"),
    ],
)
def test_bad_arguments(network, arguments, message):
    arguments = {"num_classes": 3} | arguments
    with pytest.raises(ValueError, match=message):
        narrow(network, **arguments)


@pytest.mark.parametrize(
    ("network", "arguments", "message"),
    [
        ("gradattn_v1", {"num_heads": 7}, "Received: width=16, num_heads=7"),
        ("gradattn_v3", {"num_heads": 16}, "even head width"),
        ("resnet18", {"initialization": "he"}, "Received: initialization='he'"),
    ],
)
def test_bad_arguments_of_one_family(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        narrow(network, **arguments)
