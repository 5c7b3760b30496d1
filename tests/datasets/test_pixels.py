"""Normalisation, the published code's broken pixels, resizing."""

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gradattn.datasets import SPECS
from keras_gradattn.datasets.pixels import (
    break_pixels,
    normalize,
    released_pixel_table,
)
from keras_gradattn.datasets.resize import resize, resize_matrix

FASHION, CIFAR = SPECS["fashion_mnist"], SPECS["cifar10"]


def test_normalize_by_hand():
    images = np.array([0, 255, 51], "uint8").reshape(1, 1, 3, 1)
    result = normalize(images, [0.2], [0.4])
    np.testing.assert_allclose(result.ravel(), [-0.5, 2.0, 0.0], atol=1e-6)
    assert result.dtype == np.float32


def test_normalize_repeats_grey():
    images = np.array([[0, 255]], "uint8").reshape(1, 1, 2, 1)
    result = normalize(images, [0.5, 0.25, 0.0], [0.5, 0.25, 1.0])
    np.testing.assert_allclose(result[0, 0], [[-1, -1, 0], [1, 3, 1]], atol=1e-6)


def test_broken_pixels_by_hand():
    # Below zero: (0 - 0.286) / 0.353 x 255 = -206.6, truncated -206, modulo 256 50.
    # Just below zero: 60 gives -36.69, -36, 220. Just above: 75 gives 5.87, 5.
    # Above one: 165 gives 260.8, 260, 4, and 255 gives 515.8, 515, 3.
    table = released_pixel_table(FASHION.mean, FASHION.std)
    assert table[[0, 60, 75, 165, 255], 0].tolist() == [50, 220, 5, 4, 3]
    # CIFAR-10's red: (0 - 0.4914) / 0.2023 x 255 = -619.4, -619, modulo 256 149;
    # 255 gives 641.1, 641, 129; 125, next to the mean, gives -1.5, -1, 255.
    table = released_pixel_table(CIFAR.mean, CIFAR.std)
    assert table[[0, 125, 255], 0].tolist() == [149, 255, 129]


@pytest.mark.parametrize("spec", [FASHION, CIFAR], ids=lambda spec: spec.name)
def test_broken_pixels_against_torch(spec):
    import torch

    levels = torch.arange(256, dtype=torch.uint8)[:, None].repeat(1, spec.channels)
    scaled = levels.to(torch.float32).div(255)
    scaled.sub_(torch.tensor(spec.mean)).div_(torch.tensor(spec.std))
    # By way of int32: the cast of a negative float to 8 bits is not defined.
    expected = scaled.mul(255).to(torch.int32).to(torch.uint8).numpy()
    np.testing.assert_array_equal(released_pixel_table(spec.mean, spec.std), expected)


def test_break_pixels_looks_each_channel_up():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3), dtype="uint8")
    table = released_pixel_table(CIFAR.mean, CIFAR.std)
    broken = break_pixels(images, CIFAR.mean, CIFAR.std)
    for place in np.ndindex(images.shape):
        assert broken[place] == table[images[place], place[-1]]


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
