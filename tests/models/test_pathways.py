"""GradAttnPathways against PyTorch, and what it promises as the other networks do."""

import keras
import numpy as np
import pytest
import torch
from torch.nn import functional

import keras_gradattn
from keras_gradattn.paper.published_analysis import hooked_modules
from keras_gradattn.training import MODELS
from tests.backend_gradients import inference, loss_and_gradients
from tests.layers.test_depth_mixing import squared_error
from tests.narrow import random_images

DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 6, 12, 3),
    102: (4, 8, 34, 4),
}
# Keras' global average pooling computes float64 in float32 on JAX and PyTorch.
AVERAGED = 2e-6
MIXINGS = pytest.mark.parametrize("mixing", ["attention", "static", "equal"])
# What a step of training needs.
TWO_STAGES = {"stage_filters": (4, 8), "stage_blocks": (1, 2)}
STARTS = pytest.mark.parametrize("start", ["average", "residual"])


def narrow(num_classes=3, **arguments):
    defaults = {"stage_filters": (4, 8, 8), "stage_blocks": (1, 2, 2)}
    defaults["channel_groups"] = 2
    return keras_gradattn.GradAttnPathways(num_classes, **(defaults | arguments))


def outputs_of(model, images, **arguments):
    return keras.ops.convert_to_numpy(model(images, **arguments))


def disturb(model, seed=1):
    """Weights of every kind that differ from those training starts from."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        values = variable.numpy() + random.normal(0, 0.2, variable.shape)
        if "moving_variance" in variable.path:
            values = abs(values) + 0.5
        variable.assign(values)


class Reference:
    """The network in PyTorch and float64, written from the formula alone."""

    def __init__(self, model, training):
        self.training = training
        self.filters = model.get_config()["stage_filters"]
        self.blocks = model.get_config()["stage_blocks"]
        self.residual = model.get_config()["start"] == "residual"
        self.older = 0.05 if self.residual else 1.0
        self.groups = model.get_config()["channel_groups"]
        self.weights = {
            variable.path: torch.tensor(variable.numpy(), dtype=torch.float64)
            for variable in model.weights
        }
        for variable in model.trainable_variables:
            self.weights[variable.path].requires_grad_()

    def of(self, layer, name):
        (found,) = (
            weight
            for path, weight in self.weights.items()
            if path.startswith(f"{layer}/") and path.endswith(name)
        )
        return found

    def convolution(self, x, layer, stride=1):
        kernel = self.of(layer, "kernel").permute(3, 2, 0, 1)
        return functional.conv2d(x, kernel, None, stride, (kernel.shape[-1] - 1) // 2)

    def normalization(self, x, layer):
        return functional.batch_norm(
            x,
            self.of(layer, "moving_mean").clone(),
            self.of(layer, "moving_variance").clone(),
            self.of(layer, "gamma"),
            self.of(layer, "beta"),
            training=self.training,
            eps=1e-5,
        )

    def branch(self, x, name, stride):
        x = self.convolution(x, f"{name}_convolution1", stride)
        x = self.normalization(x, f"{name}_normalization1").relu()
        x = self.convolution(x, f"{name}_convolution2")
        return self.normalization(x, f"{name}_normalization2")

    def aligned(self, x, source, stage):
        """Every halving on the way from a source to a stage, then its projection."""
        name = f"stage{stage}_from_{source}"
        born = 1 if source == "stem" else int(source.removeprefix("stage"))
        for _ in range(born, stage):
            x = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
        if not any(path.startswith(f"{name}_convolution/") for path in self.weights):
            return x
        return self.normalization(
            self.convolution(x, f"{name}_convolution"), f"{name}_normalization"
        )

    def stem(self, images):
        x = self.convolution(
            torch.tensor(images).permute(0, 3, 1, 2), "stem_convolution", 2
        )
        x = self.normalization(x, "stem_normalization").relu()
        return functional.max_pool2d(x, 3, 2, 1)

    def mixed(self, sources, older, name):
        start = torch.tensor([self.older] * older + [1.0] * (len(sources) - older))
        start = start.double()
        logits = start.log()[:, None] + self.of(name, "mixing/bias").T
        means = torch.stack([x.mean((2, 3)) for x in sources], 1)
        keys = means / (means.pow(2).mean(-1, True) + 1e-6).sqrt()
        query = keys[:, -1] @ self.of(name, "query/kernel") + self.of(
            name, "query/bias"
        )
        query = query.reshape(len(means), 1, self.groups, -1)
        keys = keys.reshape(len(means), len(sources), self.groups, -1)
        products = (query * keys).sum(-1) / keys.shape[-1] ** 0.5
        shares = (logits + products).softmax(1)
        by_channel = shares.repeat_interleave(keys.shape[-1], -1)
        if self.residual:
            by_channel = by_channel * start.sum()
        return sum(x * by_channel[:, i, :, None, None] for i, x in enumerate(sources))

    def classified(self, x):
        kernel, bias = (self.of("classifier", n) for n in ("kernel", "bias"))
        return x.mean((2, 3)) @ kernel + bias

    def pathways(self, images):
        x = self.stem(images)
        finished = {"stem": x}
        for stage, blocks in enumerate(self.blocks, start=1):
            sources = [self.aligned(h, name, stage) for name, h in finished.items()]
            for block in range(1, blocks + 1):
                name = f"stage{stage}_block{block}"
                stride = 2 if stage > 1 and block == 1 else 1
                sources.append(self.branch(x, name, stride))
                older = len(finished) - 1
                x = self.mixed(sources, older, f"{name}_mixing").relu()
            finished[f"stage{stage}"] = x
        return self.classified(x)

    def residual_network(self, images):
        """No attention at all: a sum that every block adds its branch to."""
        x = self.stem(images)
        source = "stem"
        for stage, blocks in enumerate(self.blocks, start=1):
            total = self.aligned(x, source, stage)
            for block in range(1, blocks + 1):
                stride = 2 if stage > 1 and block == 1 else 1
                total = total + self.branch(x, f"stage{stage}_block{block}", stride)
                x = total.relu()
            source = f"stage{stage}"
        return self.classified(x)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    ("size", "start"),
    [((24, 20), "average"), ((29, 37), "average"), ((24, 20), "residual")],
    ids=str,
)
def test_forward_equals_pytorch(size, start):
    model = narrow(dtype="float64", classifier_activation=None, start=start)
    disturb(model)
    images = random_images(3, *size, 3).astype("float64")

    expected = Reference(model, training=False).pathways(images).detach().numpy()

    np.testing.assert_allclose(inference(model, images), expected, atol=AVERAGED)


@pytest.mark.usefixtures("double_precision")
def test_gradients_equal_pytorch_autograd():
    model = narrow(dtype="float64", classifier_activation=None)
    disturb(model)
    images = random_images(4, 24, 20, 3).astype("float64")
    labels = np.random.default_rng(2).normal(size=(4, 3))

    loss, _, gradients = loss_and_gradients(model, images, labels, squared_error)

    reference = Reference(model, training=True)
    expected = (reference.pathways(images) - torch.tensor(labels)).pow(2).sum()
    expected.backward()
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        correct = reference.weights[variable.path].grad.numpy()
        assert np.abs(correct).max() > 0, variable.path
        np.testing.assert_allclose(
            gradient, correct, atol=1e-5 * np.abs(correct).max(), err_msg=variable.path
        )


@pytest.mark.usefixtures("double_precision")
def test_residual_start_is_the_residual_network_with_a_little_of_older_depths():
    model = narrow(dtype="float64", classifier_activation=None, start="residual")
    images = random_images(3, 24, 20, 3).astype("float64")
    reference = Reference(model, training=False)
    reference.mixed = lambda sources, older, name: (
        0.05 * sum(sources[:older]) + sum(sources[older:])
    )

    expected = reference.pathways(images).detach().numpy()

    np.testing.assert_allclose(inference(model, images), expected, atol=AVERAGED)


@pytest.mark.usefixtures("double_precision")
def test_default_starts_as_an_average_of_all_depths():
    model = narrow(dtype="float64", classifier_activation=None)
    images = random_images(3, 24, 20, 3).astype("float64")
    reference = Reference(model, training=False)
    reference.mixed = lambda sources, older, name: sum(sources) / len(sources)

    expected = reference.pathways(images).detach().numpy()

    np.testing.assert_allclose(inference(model, images), expected, atol=AVERAGED)


@pytest.mark.usefixtures("double_precision")
def test_residual_start_is_near_the_residual_network():
    model = narrow(dtype="float64", classifier_activation=None, start="residual")
    images = random_images(8, 24, 24, 3).astype("float64")
    # In training mode, where batch normalisation takes out all but the direction.
    reference = Reference(model, training=True)

    near, exact = (
        network(images).detach().numpy()
        for network in (reference.pathways, reference.residual_network)
    )

    assert 0 < np.abs(near - exact).max() < 0.2 * np.abs(exact).max()


def test_parameters_by_default():
    variables = keras_gradattn.GradAttnPathways(10).trainable_variables

    assert sum(int(np.prod(v.shape)) for v in variables) == 12_056_394


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_has_its_layers(depth):
    blocks = DEPTHS[depth]
    model = narrow(stage_filters=(4, 4, 8, 8), stage_blocks=blocks)

    weighted = [
        x.name
        for x in model.layers
        if x.weights
        and x.name.endswith(("convolution", "convolution1", "convolution2"))
    ]
    on_the_way = [name for name in weighted if "_from_" not in name]

    # The depth counts the classifier.
    assert len(on_the_way) + 1 == depth
    assert sum(x.name.endswith("_mixing") for x in model.layers) == sum(blocks)


@MIXINGS
@STARTS
def test_config_returns_every_argument(mixing, start):
    arguments = {
        "num_classes": 3,
        "input_shape": (None, 40, 1),
        "stage_filters": (4, 8),
        "stage_blocks": (1, 2),
        "stem": "cifar",
        "channel_groups": 2,
        "mixing": mixing,
        "start": start,
        "classifier_activation": None,
        "normalization": ((0.5,), (0.25,)),
        "class_names": ["a", "b", "c"],
        "name": "mine",
    }
    model = keras_gradattn.GradAttnPathways(**arguments)

    config = model.get_config()

    assert {key: config[key] for key in arguments} == arguments
    assert set(config) - set(arguments) == {"data_format", "dtype"}
    assert type(model).from_config(config).get_config() == config


@MIXINGS
def test_saved_cloned_and_rebuilt_models_give_equal_outputs(mixing, tmp_path):
    model = narrow(mixing=mixing)
    disturb(model)
    images = random_images(2, 29, 37, 3)
    expected = outputs_of(model, images)

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())

    assert type(loaded) is type(model)
    np.testing.assert_array_equal(outputs_of(loaded, images), expected)
    np.testing.assert_array_equal(outputs_of(clone, images), expected)


@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_stage_features_have_readable_names_and_halve(stem):
    model = narrow(input_shape=(32, 32, 3), stem=stem)

    sizes = {name: x.shape[1] for name, x in model.stage_features.items()}

    first = 8 if stem == "imagenet" else 32
    assert sizes == {
        "stem": first,
        "stage1": first,
        "stage2": first // 2,
        "stage3": first // 4,
    }


def test_depth_groups_cover_every_layer_with_weights():
    model = narrow()

    groups = model.depth_groups()

    names = ["stem", "stage1", "stage2", "stage3", "head"]
    assert list(dict.fromkeys(groups.values())) == names
    grouped = {id(v) for n in groups for v in model.get_layer(n).trainable_variables}
    assert grouped == {id(v) for v in model.trainable_variables}


@pytest.mark.usefixtures("without_traces")
@pytest.mark.parametrize(
    "mixing",
    [
        "attention",
        # The same but for what weighs; the analysis takes long to compile.
        *(pytest.param(m, marks=pytest.mark.any_backend) for m in ("static", "equal")),
    ],
)
def test_recorder_and_analysis_take_the_network(mixing):
    model = narrow(mixing=mixing, input_shape=(16, 16, 3), **TWO_STAGES)
    model.compile("adam", "sparse_categorical_crossentropy")
    images, labels = random_images(8, 16, 16, 3), np.arange(8) % 3
    norms = keras_gradattn.GradientNorms()

    model.fit(images, labels, batch_size=4, epochs=2, verbose=0, callbacks=[norms])
    flow = keras_gradattn.analyze_gradient_flow(model, [(images, labels)])

    assert norms.record.groups == ("stem", "stage1", "stage2", "head")
    assert (norms.record.rms > 0).all()
    assert set(hooked_modules(model)) <= set(flow.layers)


@pytest.mark.usefixtures("without_traces")
@pytest.mark.parametrize(
    ("mixing", "start"),
    [("attention", "average"), ("static", "average"), ("attention", "residual")],
)
def test_training_lowers_the_loss(mixing, start):
    model = narrow(mixing=mixing, start=start, input_shape=(16, 16, 1), **TWO_STAGES)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    labels = np.arange(24) % 3
    images = random_images(24, 16, 16, 1) + labels[:, None, None, None]

    history = model.fit(images, labels, batch_size=24, epochs=10, verbose=0)

    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    # The query started at zero.
    kernels = [v for v in model.trainable_variables if "mixing/query/kernel" in v.path]
    assert all(np.abs(v.numpy()).max() > 0 for v in kernels)
    assert bool(kernels) == (mixing == "attention")


@STARTS
def test_a_loaded_network_takes_any_size(start, tmp_path):
    model = narrow(start=start)
    disturb(model)
    model.save(tmp_path / "model.keras")

    loaded = keras.saving.load_model(tmp_path / "model.keras")

    assert loaded.get_config() == model.get_config()
    other = random_images(2, 19, 24, 3)
    np.testing.assert_array_equal(inference(loaded, other), inference(model, other))


def test_a_part_of_the_network_keeps_its_start(tmp_path):
    """Saved layer by layer, not as a network."""
    model = narrow(start="residual")
    disturb(model)
    part = keras.Model(model.input, model.get_layer("stage3").output)
    part.save(tmp_path / "part.keras")
    images = random_images(2, 16, 16, 3)

    loaded = keras.saving.load_model(tmp_path / "part.keras")

    np.testing.assert_array_equal(inference(loaded, images), inference(part, images))
    assert "start_weights" in loaded.get_layer("stage3_block1_mixing").get_config()


@pytest.mark.parametrize(
    "options",
    [
        # PyTorch's compiler takes a minute, and test_networks has one network for it.
        pytest.param(
            {"jit_compile": True}, marks=pytest.mark.backends("jax", "tensorflow")
        ),
        {"run_eagerly": True},
    ],
    ids=lambda options: next(iter(options)),
)
def test_ways_of_compiling_train_alike(options):
    images, labels = random_images(8, 16, 16, 3), np.arange(8) % 3
    # PyTorch's compiler takes a minute for a network of four stages.
    tiny = {"stage_filters": (4, 8), "stage_blocks": (1, 1), "input_shape": (16, 16, 3)}
    trained, weights = [], None
    for choice in (options, {"jit_compile": False}):
        model = narrow(**tiny)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile(
            keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", **choice
        )
        model.fit(images, labels, batch_size=4, verbose=0, shuffle=False)
        trained.append(model.get_weights())

    for one, other in zip(*trained, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    assert not np.array_equal(trained[0][0], weights[0])


@pytest.mark.usefixtures("without_traces")
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    model = narrow(input_shape=(16, 16, 1), dtype=policy, **TWO_STAGES)
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    labels = np.arange(24) % 3
    images = random_images(24, 16, 16, 1) + labels[:, None, None, None]

    history = model.fit(images, labels, batch_size=24, epochs=8, verbose=0)

    assert history.history["loss"][-1] < history.history["loss"][0]
    assert model.output.dtype == "float32"
    assert model.stage_features["stage1"].dtype == policy[len("mixed_") :]


@MIXINGS
def test_channels_first_equals_channels_last(mixing):
    last = narrow(mixing=mixing)
    disturb(last)
    images = random_images(2, 29, 20, 3)
    first = narrow(
        mixing=mixing, input_shape=(3, None, None), data_format="channels_first"
    )
    first.set_weights(last.get_weights())

    outputs = outputs_of(first, images.transpose(0, 3, 1, 2))

    np.testing.assert_allclose(outputs, outputs_of(last, images), atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (29, 37)])
def test_batch_of_one_and_odd_sizes(size):
    outputs = outputs_of(narrow(), random_images(1, *size, 3))

    assert outputs.shape == (1, 3)
    np.testing.assert_allclose(outputs.sum(), 1, atol=1e-5)


def test_model_for_raw_images_normalises_and_names():
    model = narrow()
    disturb(model)
    raw = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    expected = outputs_of(model, ((raw / 255 - 0.5) / 0.25).astype("float32"))

    usable = model.for_raw_images([0.5] * 3, [0.25] * 3, ["cat", "dog", "newt"])

    np.testing.assert_allclose(inference(usable, raw), expected, atol=1e-5)
    assert len(keras_gradattn.predict_labels(usable, raw)) == 4


def test_the_runner_knows_it():
    assert getattr(keras_gradattn, MODELS["gradattn_pathways"]) is (
        keras_gradattn.GradAttnPathways
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "Received: num_classes=0"),
        ({"channel_groups": 0}, "Received: channel_groups=0"),
        ({"channel_groups": 3}, "Received: channels=4, channel_groups=3"),
        ({"mixing": "learned"}, "Received: mixing='learned'"),
        ({"start": "zero"}, "Received: start='zero'"),
        ({"stem": "vgg"}, "Received: stem='vgg'"),
        ({"input_shape": (7, 32, 3)}, "at least 8 pixels"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        narrow(**arguments)
