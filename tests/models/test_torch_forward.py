"""PyTorch's forward pass lets maps go, and computes what Keras' own does."""

import weakref

import keras
import numpy as np
import pytest
import torch

import keras_gradattn
from tests.narrow import HEAD, TRUNK

pytestmark = pytest.mark.backends("torch")

NETWORKS = {
    "GradAttnV2": TRUNK | HEAD | {"dropout": 0.0},
    "ResNet18": TRUNK,
    "GradAttnPathways": TRUNK,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    keras.utils.set_random_seed(0)
    make = getattr(keras_gradattn, request.param)
    return make(3, input_shape=(16, 16, 1), **NETWORKS[request.param])


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(4, 16, 16, 1)).astype("float32")


def test_outputs_are_those_of_keras_own_pass_bit_by_bit(network, images):
    keras_own = keras.Model(network.input, network.output)

    found, expected = (
        keras.ops.convert_to_numpy(model(torch.from_numpy(images), training=True))
        for model in (network, keras_own)
    )

    np.testing.assert_array_equal(found, expected)


def test_what_enters_a_relu_is_gone_while_the_pass_goes_on(network, images):
    # The others' maps are summed or mixed later.
    norms = [x for x in network.layers if x.name.endswith("_normalization1")]
    normalised, alive = [], []
    for norm in norms:
        norm.register_forward_hook(
            lambda layer, inputs, output: normalised.append(weakref.ref(output))
        )
    network.layers[-1].register_forward_pre_hook(
        lambda layer, inputs: alive.extend(x for x in normalised if x() is not None)
    )

    network(torch.from_numpy(images), training=True)

    assert len(normalised) == len(norms) > 0
    assert not alive
