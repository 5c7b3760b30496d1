"""Which depth attends to which."""

import keras
import numpy as np
import pytest

import keras_gradattn
from tests.narrow import narrow, random_images


@pytest.mark.parametrize("network", ["gradattn_v1", "gradattn_v2", "gradattn_v3"])
def test_attention_beside_equal_predictions(network):
    model = narrow(network)
    images = random_images(4, 16, 16, 3)

    outputs = keras_gradattn.attention_model(model).predict(images, verbose=0)

    np.testing.assert_allclose(
        outputs["predictions"], model.predict(images, verbose=0), atol=1e-6
    )
    assert [a.shape for a in outputs["attention"]] == [(4, 2, 5, 5)] * 2
    for attention in outputs["attention"]:
        np.testing.assert_allclose(attention.sum(-1), 1, atol=1e-5)


def test_attention_is_that_of_the_blocks():
    model = narrow("gradattn_v2")
    images = random_images(2, 16, 16, 3)
    head = model.get_layer("head")
    features = keras.Model(model.inputs, list(model.stage_features.values()))(images)
    tokens = head.learnable_positions(head.tokens(features))

    outputs = keras_gradattn.attention_model(model)(images)

    first = head.blocks[0].attention
    query = keras.ops.convert_to_numpy(first.query_projection(tokens))
    key = keras.ops.convert_to_numpy(first.key_projection(tokens))
    scores = np.einsum(
        "bihd,bjhd->bhij", query.reshape(2, 5, 2, 8), key.reshape(2, 5, 2, 8)
    ) / np.sqrt(8)
    expected = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs["attention"][0]), expected, atol=1e-5
    )


def test_one_feature_and_saving(tmp_path):
    model = keras_gradattn.attach(narrow("resnet18"), ["stage1"], 3, width=8)
    images = random_images(2, 16, 16, 3)
    shown = keras_gradattn.attention_model(model)
    shown.save(tmp_path / "shown.keras")

    loaded = keras.saving.load_model(tmp_path / "shown.keras")

    outputs, expected = (m.predict(images, verbose=0) for m in (loaded, shown))
    assert outputs["attention"][0].shape == (2, 8, 1, 1)
    np.testing.assert_array_equal(outputs["predictions"], expected["predictions"])


def test_model_without_a_head_is_refused():
    with pytest.raises(ValueError, match="needs a model with a GradAttnHead"):
        keras_gradattn.attention_model(narrow("resnet18"))
