"""Which depth feeds which block."""

import re

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn.models.pathway_maps import PathwayWeights
from tests.models.test_pathways import VARIANTS, disturb, narrow
from tests.narrow import narrow as another
from tests.narrow import random_images

BLOCKS = (
    "stage1_block1",
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
# Block to the sources that it has.
FEEDS = {
    "stage1_block1": ("stem",),
    "stage2_block1": ("stem", "stage1_block1"),
    "stage2_block2": ("stem", "stage1", "stage2_block1"),
    "stage3_block1": ("stem", "stage1", "stage2_block1", "stage2_block2"),
    "stage3_block2": ("stem", "stage1", "stage2", "stage3_block1"),
    "head": ("stem", "stage1", "stage2", "stage3_block1", "stage3_block2"),
}


@pytest.fixture
def model():
    model = narrow(input_shape=(16, 16, 3))
    disturb(model)
    return model


def test_values_are_shares_of_the_sources_that_a_block_has(model):
    weights = keras_gradattn.pathway_weights(model, random_images(5, 16, 16, 3), 2)

    assert weights.values.shape == (5, 6, 2, 8)
    assert (weights.blocks, weights.sources) == (BLOCKS, SOURCES)
    for row, block in enumerate(BLOCKS):
        has = np.isin(SOURCES, FEEDS[block])
        np.testing.assert_array_equal(
            np.isfinite(weights.values[:, row]), np.broadcast_to(has, (5, 2, 8))
        )
    np.testing.assert_allclose(np.nansum(weights.values, axis=-1), 1, atol=1e-5)


def test_values_are_those_of_the_mixing_layers(model):
    images = random_images(3, 16, 16, 3)
    weights = keras_gradattn.pathway_weights(model, images)
    mixing = model.get_layer("stage3_block1_mixing")
    maps = keras.Model(model.input, mixing.input[: len(FEEDS["stage3_block2"])])(images)

    _, expected = mixing(maps, return_weights=True)

    row = weights.values[:, BLOCKS.index("stage3_block2")]
    columns = [SOURCES.index(name) for name in FEEDS["stage3_block2"]]
    np.testing.assert_allclose(
        row[..., columns], keras.ops.convert_to_numpy(expected), atol=1e-5
    )


def test_at_the_start_they_are_the_prior_for_every_image():
    model = narrow(input_shape=(16, 16, 3), older_weight=0.05)

    weights = keras_gradattn.pathway_weights(model, random_images(4, 16, 16, 3))

    head = weights.values[:, BLOCKS.index("head")]
    prior = np.array([0.05, 0.05, 1, 1, 1]) / 3.1
    columns = [SOURCES.index(name) for name in FEEDS["head"]]
    np.testing.assert_allclose(
        head[..., columns], np.broadcast_to(prior, (4, 2, 5)), atol=1e-6
    )
    np.testing.assert_allclose(weights.movement, 0, atol=1e-6)


def test_movement_by_hand():
    # Two images put everything on one source each: each differs from the mean by half.
    values = np.array([[[[1.0, 0.0, np.nan]]], [[[0.0, 1.0, np.nan]]]])

    weights = PathwayWeights(values, ("head",), ("stem", "stage1", "stage2"))

    np.testing.assert_allclose(weights.movement, [[0.5]])
    np.testing.assert_allclose(weights.mean[0, 0], [0.5, 0.5, np.nan])


def assert_at_mean(frozen, weights, images):
    still = keras_gradattn.pathway_weights(frozen, images)
    np.testing.assert_allclose(
        still.values, np.broadcast_to(weights.mean, weights.values.shape), atol=1e-6
    )


def test_frozen_weights_are_the_mean_for_every_image(model, tmp_path):
    images = random_images(6, 16, 16, 3)
    weights = keras_gradattn.pathway_weights(model, images)

    frozen = keras_gradattn.freeze_pathways(model, weights)

    assert_at_mean(frozen, weights, images)
    assert weights.movement[1:].min() > 1e-3
    frozen.save(tmp_path / "frozen.keras")
    loaded = keras.saving.load_model(tmp_path / "frozen.keras")
    np.testing.assert_array_equal(
        loaded.predict(images, verbose=0), frozen.predict(images, verbose=0)
    )


@VARIANTS
def test_every_variant_can_be_frozen(variant):
    model = narrow(input_shape=(16, 16, 3), **variant)
    disturb(model)
    images = random_images(6, 16, 16, 3)
    weights = keras_gradattn.pathway_weights(model, images)

    frozen = keras_gradattn.freeze_pathways(model, weights)

    assert_at_mean(frozen, weights, images)
    assert np.isfinite(frozen.predict(images, verbose=0)).all()


def test_freezing_what_does_not_move_changes_nothing(model):
    for layer in model.layers:
        if layer.name.endswith("_mixing"):
            layer.query.kernel.assign(np.zeros(layer.query.kernel.shape))
            layer.query.bias.assign(np.zeros(layer.query.bias.shape))
    images = random_images(6, 16, 16, 3)

    frozen = keras_gradattn.freeze_pathways(
        model, keras_gradattn.pathway_weights(model, images)
    )

    np.testing.assert_allclose(
        frozen.predict(images, verbose=0), model.predict(images, verbose=0), atol=1e-5
    )


@pytest.mark.parametrize("images", [(), (0, 3)])
def test_picture(model, images, tmp_path):
    weights = keras_gradattn.pathway_weights(model, random_images(4, 16, 16, 3))

    figure = weights.plot(tmp_path / "pathways.png", images)

    assert (tmp_path / "pathways.png").stat().st_size > 5000
    panels = [axes for axes in figure.axes if axes.get_ylabel() == "what is fed"]
    assert len(panels) == 1 + len(images)
    drawn = panels[0].images[0].get_array()
    np.testing.assert_allclose(
        drawn.filled(np.nan), weights.values.mean((0, 2)), atol=1e-6
    )
    assert [t.get_text() for t in panels[0].get_yticklabels()] == list(BLOCKS)
    assert [t.get_text() for t in panels[0].get_xticklabels()] == list(SOURCES)


def test_static_and_equal_weights_can_be_read():
    images = random_images(3, 16, 16, 3)
    for kind in ("static", "equal"):
        weights = keras_gradattn.pathway_weights(narrow(weights=kind), images)
        assert weights.values.shape == (3, 6, 2, 8)
        np.testing.assert_allclose(np.nansum(weights.values, axis=-1), 1, atol=1e-6)


def test_what_is_refused(model):
    images = random_images(2, 16, 16, 3)
    weights = keras_gradattn.pathway_weights(model, images)
    with pytest.raises(ValueError, match="must be a GradAttnPathways"):
        keras_gradattn.pathway_weights(another("resnet18"), images)
    with pytest.raises(ValueError, match=re.escape("weights='static'")):
        keras_gradattn.freeze_pathways(narrow(weights="static"), weights)
    with pytest.raises(ValueError, match="those of the model"):
        keras_gradattn.freeze_pathways(narrow(stage_blocks=(1, 1, 1)), weights)
    with pytest.raises(ValueError, match="one title per image"):
        weights.plot(images=[0], titles=["a", "b"])
