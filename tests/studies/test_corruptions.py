"""Damaged test images, and the accuracy on them."""

import keras
import numpy as np
import pytest
from scipy import ndimage

from keras_gradattn import datasets
from studies import corruptions

pytestmark = pytest.mark.any_backend


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(60, 190, (3, 16, 16, 3), dtype="uint8")


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_damage_keeps_kind_and_shape(images, name):
    change, amount = corruptions.CORRUPTIONS[name]
    damaged = change(images, amount)
    assert (damaged.dtype, damaged.shape) == (images.dtype, images.shape)
    assert (damaged != images).any()
    np.testing.assert_array_equal(damaged, change(images, amount))


def test_blur_is_scipys(images):
    expected = ndimage.gaussian_filter(
        images.astype("float64"), (0, 1.2, 1.2, 0), mode="nearest", radius=(0, 4, 4, 0)
    )
    np.testing.assert_allclose(corruptions.blur(images, 1.2), expected, atol=0.51)


def test_noise_has_its_deviation(images):
    added = corruptions.noise(images, 10.0).astype(float) - images
    np.testing.assert_allclose((added.mean(), added.std()), (0, 10), atol=0.6)


def test_contrast_keeps_the_mean_and_shrinks_the_rest(images):
    # Grey levels are whole numbers: rounding moves a mean by half a level at most.
    found = corruptions.contrast(images, 0.5).astype(float)
    axes = (1, 2, 3)
    np.testing.assert_allclose(found.mean(axes), images.mean(axes), atol=0.5)
    np.testing.assert_allclose(found.std(axes), images.std(axes) / 2, rtol=0.02)


def test_accuracies_are_those_of_the_network(images):
    spec = datasets.spec("cifar10")
    labels = np.array([2, 2, 7], "int32")
    split = datasets.Split("test", images, labels, np.arange(3))
    inputs = keras.Input(images.shape[1:])
    always_two = keras.ops.one_hot(
        keras.ops.cast(keras.ops.sum(inputs, (1, 2, 3)) * 0 + 2, "int32"), 10
    )
    found = corruptions.accuracies(keras.Model(inputs, always_two), split, spec)
    assert set(found) == {"clean", *corruptions.CORRUPTIONS}
    np.testing.assert_allclose(list(found.values()), 2 / 3)
