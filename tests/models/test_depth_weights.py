"""Which depth feeds which."""

import functools
import re

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn.models.depth_weights import DepthWeights
from tests.backend_gradients import inference
from tests.models.test_pathways import disturb
from tests.models.test_pathways import narrow as narrow_pathways
from tests.narrow import HEAD, narrow, random_images

# Networks are called here; that they compile is tested with the networks.
pytestmark = pytest.mark.usefixtures("without_traces")
SIZE = (16, 16, 3)
TARGETS = (
    "stage2_block1",
    "stage2_block2",
    "stage3_block1",
    "stage3_block2",
    "head",
)
SOURCES = (
    "stem",
    "stage1_block1",
    "stage1",
    "stage2_block1",
    "stage2_block2",
    "stage2",
    "stage3_block1",
    "stage3_block2",
)
# What is fed to the sources that it has.
FEEDS = {
    "stage2_block1": ("stem", "stage1_block1"),
    "stage2_block2": ("stem", "stage1", "stage2_block1"),
    "stage3_block1": ("stem", "stage1", "stage2_block1", "stage2_block2"),
    "stage3_block2": ("stem", "stage1", "stage2", "stage3_block1"),
    "head": ("stem", "stage1", "stage2", "stage3_block1", "stage3_block2"),
}
STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")


def pathways(**arguments):
    model = narrow_pathways(**({"input_shape": SIZE} | arguments))
    disturb(model)
    return model


def head(network, **arguments):
    return narrow(network, input_shape=SIZE, stage_blocks=(1, 1, 1, 1), **arguments)


def attached():
    """The head on a network of another kind."""
    backbone = narrow("resnet18", input_shape=SIZE, stage_blocks=(1, 1, 1, 1))
    return keras_gradattn.attach(backbone, ["stage1", "stage3"], 3, **HEAD)


def own():
    """A network that is not ours, with both kinds of layers that weigh depths."""
    inputs = keras.Input(SIZE)
    early = keras.layers.Conv2D(4, 3, name="early")(inputs)
    late = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="late")(early)
    mixed = keras_gradattn.layers.DepthMixing(4, name="mixed")([early, late])
    outputs = keras_gradattn.layers.GradAttnHead(3, **HEAD)([late, mixed])
    model = keras.Model(inputs, outputs)
    mixing = model.get_layer("mixed")
    random = np.random.default_rng(0)
    mixing.set_weights(
        [w + random.normal(0, 0.3, w.shape) ** 2 for w in mixing.get_weights()]
    )
    return model


MODELS = {
    "pathways": pathways,
    "pathways, residual start": lambda: pathways(start="residual"),
    "v1": lambda: head("gradattn_v1"),
    "v2": lambda: head("gradattn_v2"),
    "v3": lambda: head("gradattn_v3"),
    "attached": attached,
    "own": own,
}
MODEL = pytest.mark.parametrize("kind", MODELS)


@functools.cache
def built(kind):
    """A model that no test changes."""
    return MODELS[kind]()


@functools.cache
def read(kind, images):
    """Its weights for so many images."""
    return keras_gradattn.depth_weights(built(kind), random_images(images, *SIZE))


def assert_shares(weights):
    sums = np.nansum(weights.values, axis=-1)
    there = np.isfinite(weights.values).any(axis=-1)
    np.testing.assert_allclose(sums, there, atol=1e-5)


# === Reading ===


def test_values_are_shares_of_the_sources_that_a_block_has():
    images = random_images(5, *SIZE)
    weights = keras_gradattn.depth_weights(built("pathways"), images, batch_size=2)

    assert weights.values.shape == (5, 5, 2, 8)
    assert (weights.targets, weights.sources) == (TARGETS, SOURCES)
    for row, block in enumerate(TARGETS):
        has = np.isin(SOURCES, FEEDS[block])
        np.testing.assert_array_equal(
            np.isfinite(weights.values[:, row]), np.broadcast_to(has, (5, 2, 8))
        )
    assert_shares(weights)


def test_values_are_those_of_the_mixing_layers():
    model, images = built("pathways"), random_images(3, *SIZE)
    weights = read("pathways", 3)
    mixing = model.get_layer("stage3_block1_mixing")
    inputs = mixing.input[: len(FEEDS["stage3_block2"])]
    maps = keras.Model(model.input, inputs).predict(images, verbose=0)

    _, expected = mixing(maps, return_weights=True)

    row = weights.values[:, TARGETS.index("stage3_block2")]
    columns = [SOURCES.index(name) for name in FEEDS["stage3_block2"]]
    np.testing.assert_allclose(
        row[..., columns], keras.ops.convert_to_numpy(expected), atol=1e-5
    )


@pytest.mark.any_backend
def test_names_are_those_of_the_layers():
    """What a block is fed is the output of the layers whose names are given."""
    model = built("pathways")

    for name, (target, sources) in model.mixed_depths.items():
        assert (target, sources) == (target, FEEDS[target])
        maps = [x for x in model.get_layer(name).input if len(x.shape) == 4]
        assert len(maps) == len(sources)
        # A block's map is its last normalisation's.
        own = model.get_layer(name.replace("_mixing", "_normalization2")).output
        assert maps[-1] is own
        assert sources[-1] == name.removesuffix("_mixing")


def test_at_the_residual_start_older_depths_weigh_little():
    model = narrow_pathways(input_shape=SIZE, start="residual")

    weights = keras_gradattn.depth_weights(model, random_images(4, *SIZE))

    head = weights.values[:, TARGETS.index("head")]
    start = np.array([0.05, 0.05, 1, 1, 1]) / 3.1
    columns = [SOURCES.index(name) for name in FEEDS["head"]]
    np.testing.assert_allclose(
        head[..., columns], np.broadcast_to(start, (4, 2, 5)), atol=1e-6
    )
    np.testing.assert_allclose(weights.movement, 0, atol=1e-6)


def test_attention_of_a_head_is_that_of_its_blocks():
    model, images = built("v2"), random_images(2, *SIZE)
    layer = model.get_layer("head")
    features = keras.Model(model.input, list(model.stage_features.values())).predict(
        images, verbose=0
    )
    tokens = layer.learnable_positions(layer.tokens(features))

    weights = read("v2", 2)

    first = layer.blocks[0].attention
    query = keras.ops.convert_to_numpy(first.query_projection(tokens))
    key = keras.ops.convert_to_numpy(first.key_projection(tokens))
    scores = np.einsum(
        "bihd,bjhd->bihj", query.reshape(2, 5, 2, 8), key.reshape(2, 5, 2, 8)
    ) / np.sqrt(8)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert weights.sources == STAGES
    assert weights.targets == (
        *(f"block1_{stage}" for stage in STAGES),
        *(f"block2_{stage}" for stage in STAGES),
    )
    np.testing.assert_allclose(weights.values[:, :5], expected, atol=1e-5)
    assert_shares(weights)


def test_one_feature_of_another_backbone():
    backbone = narrow("resnet18", input_shape=SIZE, stage_blocks=(1, 1, 1, 1))
    model = keras_gradattn.attach(backbone, ["stage1"], 3, width=8, num_layers=1)

    weights = keras_gradattn.depth_weights(model, random_images(2, *SIZE))

    assert weights.values.shape == (2, 1, 8, 1)
    assert (weights.targets, weights.sources) == (("block1_stage1",), ("stage1",))
    np.testing.assert_allclose(weights.values, 1, atol=1e-6)


def test_layers_with_different_groups_in_a_network_that_is_not_ours():
    weights = read("own", 3)

    blocks = ("block1_late", "block1_mixed", "block2_late", "block2_mixed")
    assert weights.targets == ("mixed", *blocks)
    assert weights.sources == ("early", "late", "mixed")
    # Four groups of channels, two attention heads.
    assert weights.values.shape == (3, 5, 4, 3)
    groups = np.isfinite(weights.values).any(-1).sum(-1)
    np.testing.assert_array_equal(groups, [[4, 2, 2, 2, 2]] * 3)
    np.testing.assert_array_equal(np.isfinite(weights.movement).sum(-1), groups[0])
    assert_shares(weights)


@pytest.mark.any_backend
def test_a_feature_that_is_given_twice_is_told_apart():
    inputs = keras.Input(SIZE)
    early = keras.layers.Conv2D(4, 3, name="early")(inputs)
    mixed = keras_gradattn.layers.DepthMixing(2, name="mixed")([early, early])

    weights = keras_gradattn.depth_weights(
        keras.Model(inputs, mixed), random_images(2, *SIZE)
    )

    assert weights.sources == ("early", "early_again1")
    np.testing.assert_allclose(weights.values, 0.5, atol=1e-6)


@pytest.mark.parametrize("mixing", ["static", "equal"])
@pytest.mark.parametrize("network", ["pathways", "gradattn_v2"])
def test_controls_can_be_read(network, mixing):
    make = pathways if network == "pathways" else lambda **k: head(network, **k)

    weights = keras_gradattn.depth_weights(make(mixing=mixing), random_images(3, *SIZE))

    assert_shares(weights)
    np.testing.assert_allclose(weights.movement, 0, atol=1e-6)


def test_movement_by_hand():
    # Two images put everything on one source each: each differs from the mean by half.
    values = np.array([[[[1.0, 0.0, np.nan]]], [[[0.0, 1.0, np.nan]]]])

    weights = DepthWeights(values, ("head",), ("stem", "stage1", "stage2"))

    np.testing.assert_allclose(weights.movement, [[0.5]])
    np.testing.assert_allclose(weights.mean[0, 0], [0.5, 0.5, np.nan])


# === Freezing ===


@MODEL
def test_frozen_weights_are_the_mean_for_every_image(kind, tmp_path):
    model, images, weights = built(kind), random_images(6, *SIZE), read(kind, 6)
    # A head's first weights hardly move; a mixing's have been disturbed.
    assert weights.movement[~np.isnan(weights.movement)].max() > 1e-4

    frozen = keras_gradattn.freeze_depth_weights(model, weights)

    still = keras_gradattn.depth_weights(frozen, images)
    np.testing.assert_allclose(
        still.values, np.broadcast_to(weights.mean, weights.values.shape), atol=1e-6
    )
    assert type(frozen) is type(model)
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    np.testing.assert_array_equal(inference(loaded, images), inference(frozen, images))


@MODEL
def test_freezing_what_does_not_move_changes_nothing(kind):
    """All other weights are copied: at one image the mean is what the model does."""
    model, image = built(kind), random_images(1, *SIZE)

    frozen = keras_gradattn.freeze_depth_weights(model, read(kind, 1))

    np.testing.assert_allclose(
        inference(frozen, image), inference(model, image), atol=1e-5
    )


def test_a_loaded_model_can_be_frozen(tmp_path):
    attached().save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    image = random_images(1, *SIZE)

    frozen = keras_gradattn.freeze_depth_weights(
        model, keras_gradattn.depth_weights(model, image)
    )

    np.testing.assert_allclose(
        inference(frozen, image), inference(model, image), atol=1e-5
    )


# === The picture ===


@pytest.mark.any_backend
@pytest.mark.parametrize("kind", ["pathways", "v2", "own"])
@pytest.mark.parametrize("images", [(), (0, 3), (0, 1, 2, 3)], ids=len)
def test_picture(kind, images, tmp_path):
    weights = read(kind, 6)

    figure = weights.plot(tmp_path / "depths.png", images)

    assert (tmp_path / "depths.png").stat().st_size > 5000
    width, height = figure.get_size_inches()
    assert width == pytest.approx(7.2)
    assert height < 11
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles == ["mean of 6 images", *(f"image {i}" for i in images)]
    drawn = [axes.images[0].get_array().filled(np.nan) for axes in panels]
    if kind == "v2":
        # Every target has every source and group.
        mean = weights.values.mean((0, 2))
        np.testing.assert_allclose(drawn[0], mean, atol=1e-6)
        for difference, image in zip(drawn[1:], images, strict=True):
            expected = weights.values[image].mean(1) - mean
            np.testing.assert_allclose(difference, expected, atol=1e-6)
    # Every target's shares add up in the picture, whatever its groups.
    np.testing.assert_allclose(np.nansum(drawn[0], axis=-1), 1, atol=1e-5)
    assert [t.get_text() for t in panels[0].get_yticklabels()] == list(weights.targets)
    assert [t.get_text() for t in panels[0].get_xticklabels()] == list(weights.sources)


@pytest.mark.any_backend
def test_names_of_a_deep_network_do_not_run_together():
    names = tuple(f"stage1_block{i}" for i in range(90))
    values = np.full((1, 90, 1, 90), 1 / 90)

    figure = DepthWeights(values, names, names).plot(images=[0, 0])

    panel = figure.axes[0]
    for labels in (panel.get_xticklabels(), panel.get_yticklabels()):
        assert 10 < len(labels) < 90
    assert figure.get_size_inches()[1] < 11


# === Refusals ===


@pytest.mark.any_backend
def test_what_is_refused():
    images, weights = random_images(2, *SIZE), read("pathways", 6)
    with pytest.raises(ValueError, match="needs a `GradAttnHead` or a `DepthMixing`"):
        keras_gradattn.depth_weights(narrow("resnet18"), images)
    with pytest.raises(ValueError, match=re.escape("mixing='static'")):
        keras_gradattn.freeze_depth_weights(pathways(mixing="static"), weights)
    with pytest.raises(ValueError, match="those of the model"):
        keras_gradattn.freeze_depth_weights(pathways(stage_blocks=(1, 1, 1)), weights)
    with pytest.raises(ValueError, match="one title per image"):
        weights.plot(images=[0], titles=["a", "b"])
