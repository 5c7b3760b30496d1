"""The training pixels that the published code damages."""

import numpy as np
import pytest

from keras_gradattn.datasets import SPECS
from keras_gradattn.paper import damaged_levels

pytestmark = pytest.mark.any_backend
FASHION, CIFAR = SPECS["fashion_mnist"], SPECS["cifar10"]


def test_damaged_levels_by_hand():
    # Below zero: (0 - 0.286) / 0.353 x 255 = -206.6, truncated -206, modulo 256 50.
    # Just below zero: 60 gives -36.69, -36, 220. Just above: 75 gives 5.87, 5.
    # Above one: 165 gives 260.8, 260, 4, and 255 gives 515.8, 515, 3.
    table = damaged_levels(FASHION)
    assert table[[0, 60, 75, 165, 255], 0].tolist() == [50, 220, 5, 4, 3]
    # CIFAR-10's red: (0 - 0.4914) / 0.2023 x 255 = -619.4, -619, modulo 256 149;
    # 255 gives 641.1, 641, 129; 125, next to the mean, gives -1.5, -1, 255.
    table = damaged_levels(CIFAR)
    assert table[[0, 125, 255], 0].tolist() == [149, 255, 129]


@pytest.mark.parametrize("spec", [FASHION, CIFAR], ids=lambda spec: spec.name)
def test_damaged_levels_against_torch(spec):
    import torch

    levels = torch.arange(256, dtype=torch.uint8)[:, None].repeat(1, spec.channels)
    scaled = levels.to(torch.float32).div(255)
    scaled.sub_(torch.tensor(spec.mean)).div_(torch.tensor(spec.std))
    # By way of int32: the cast of a negative float to 8 bits is not defined.
    expected = scaled.mul(255).to(torch.int32).to(torch.uint8).numpy()
    np.testing.assert_array_equal(damaged_levels(spec), expected)
