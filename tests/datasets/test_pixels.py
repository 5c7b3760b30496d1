"""Normalisation, levels replaced, resizing."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gradattn.datasets.pixels import normalize, replace_levels
from keras_gradattn.datasets.resize import resize, resize_matrix


def test_normalize_by_hand():
    images = np.array([0, 255, 51], "uint8").reshape(1, 1, 3, 1)
    result = normalize(images, [0.2], [0.4])
    np.testing.assert_allclose(result.ravel(), [-0.5, 2.0, 0.0], atol=1e-6)
    assert result.dtype == np.float32


def test_levels_are_replaced_by_channel():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 3, 4, 3), dtype="uint8")
    levels = random.integers(0, 256, (256, 3), dtype="uint8")
    found = replace_levels(images, levels)
    for place in np.ndindex(images.shape):
        assert found[place] == levels[images[place], place[-1]]


def test_normalize_repeats_grey():
    images = np.array([[0, 255]], "uint8").reshape(1, 1, 2, 1)
    result = normalize(images, [0.5, 0.25, 0.0], [0.5, 0.25, 1.0])
    np.testing.assert_allclose(result[0, 0], [[-1, -1, 0], [1, 3, 1]], atol=1e-6)


@pytest.mark.parametrize(("source", "target"), [(28, 64), (64, 28), (450, 224), (8, 8)])
def test_resize_against_pillow(source, target):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, source, source, 3), dtype="uint8")
    found = resize(images, target)
    for image, result in zip(images, found, strict=True):
        expected = Image.fromarray(image).resize(
            (target, target), Image.Resampling.BILINEAR
        )
        # Pillow weighs in fixed point: some exact halves fall the other way.
        difference = np.abs(np.asarray(expected).astype(int) - result)
        assert difference.max() <= 1
        assert (difference == 0).mean() > 0.99


def test_resize_a_photograph_against_pillow():
    image = np.random.default_rng(0).integers(0, 256, (300, 410, 3), dtype="uint8")
    expected = Image.fromarray(image).resize((224, 224), Image.Resampling.BILINEAR)
    difference = np.asarray(expected).astype(int) - resize(image[None], 224)[0]
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.99


def test_resize_against_keras():
    images = np.random.default_rng(0).random((1, 30, 30, 1), "float32")
    matrix = resize_matrix(30, 12)
    expected = keras.ops.image.resize(
        images, (12, 12), "bilinear", antialias=True, data_format="channels_last"
    )
    found = matrix @ images[0, :, :, 0] @ matrix.T
    np.testing.assert_allclose(
        found, keras.ops.convert_to_numpy(expected)[0, :, :, 0], atol=1e-5
    )
