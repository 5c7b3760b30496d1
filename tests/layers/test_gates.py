"""Squeeze-excite and CBAM against plain NumPy computations."""

import keras
import numpy as np
import pytest
import torch

from keras_gradattn import layers


def maps_of(channels=8):
    return np.random.default_rng(0).normal(size=(2, 5, 4, channels)).astype("float32")


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def shared_network(layer, values):
    hidden = np.maximum(values @ layer.squeeze.kernel.numpy(), 0)
    return hidden @ layer.excite.kernel.numpy()


def test_squeeze_excite_equals_numpy():
    layer, maps = layers.SqueezeExcite(reduction=2), maps_of()

    outputs = keras.ops.convert_to_numpy(layer(maps))

    gate = sigmoid(shared_network(layer, maps.mean((1, 2))))
    np.testing.assert_allclose(outputs, maps * gate[:, None, None, :], atol=1e-5)


def test_cbam_equals_numpy():
    layer, maps = layers.CBAM(reduction=2), maps_of()

    outputs = keras.ops.convert_to_numpy(layer(maps))

    channel = sigmoid(
        shared_network(layer, maps.mean((1, 2)))
        + shared_network(layer, maps.max((1, 2)))
    )
    gated = maps * channel[:, None, None, :]
    described = np.stack([gated.mean(-1), gated.max(-1)], axis=1)
    spatial = torch.nn.functional.conv2d(
        torch.tensor(described),
        torch.tensor(layer.spatial.kernel.numpy().transpose(3, 2, 0, 1)),
        padding=3,
    ).numpy()
    expected = gated * sigmoid(spatial).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


@pytest.mark.parametrize("make", [layers.SqueezeExcite, layers.CBAM])
def test_few_channels_keep_one_hidden_unit(make):
    layer = make(reduction=16)

    layer(maps_of(4))

    assert layer.squeeze.units == 1


@pytest.mark.parametrize("make", [layers.SqueezeExcite, layers.CBAM])
def test_channels_first_equals_channels_last(make):
    last, maps = make(reduction=2), maps_of()
    expected = keras.ops.convert_to_numpy(last(maps))
    first = make(reduction=2, data_format="channels_first")
    transposed = maps.transpose(0, 3, 1, 2)
    first.build(transposed.shape)
    first.set_weights(last.get_weights())

    outputs = keras.ops.convert_to_numpy(first(transposed))

    np.testing.assert_allclose(outputs.transpose(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.parametrize("make", [layers.SqueezeExcite, layers.CBAM])
def test_bad_reduction(make):
    with pytest.raises(ValueError, match="Received: reduction=0"):
        make(reduction=0)
    with pytest.raises(ValueError, match="Received: data_format='NHWC'"):
        make(data_format="NHWC")
