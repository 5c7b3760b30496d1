"""Released weights: strict about every tensor."""

import keras
import numpy as np
import pytest
import torch

import keras_gradattn
from tests.reference_numbers import NETWORKS, PARAMETERS, full_width, released_state


@pytest.fixture
def model():
    return keras_gradattn.GradAttnV2(num_classes=10)


def test_torch_tensors_and_batch_counts_are_accepted(model):
    state = {
        name: torch.tensor(values, requires_grad=True)
        for name, values in released_state("gradattn_v2").items()
    }
    state["bn1.num_batches_tracked"] = torch.tensor(7)

    keras_gradattn.load_pytorch_weights(model, state)

    kernel = model.get_layer("stem_convolution").kernel.numpy()
    np.testing.assert_array_equal(
        kernel, state["conv1.weight"].detach().numpy().transpose(2, 3, 1, 0)
    )


def test_missing_surplus_and_misshapen_tensors_are_all_named(model):
    before = model.get_weights()
    state = released_state("gradattn_v2")
    del state["layer3.0.bn1.running_mean"]
    state["fc.weight"] = np.zeros((10, 512))
    state["classifier.bias"] = np.zeros(9)

    with pytest.raises(ValueError, match="do not fit GradAttnV2") as error:
        keras_gradattn.load_pytorch_weights(model, state)

    message = str(error.value)
    assert "missing: layer3.0.bn1.running_mean" in message
    assert "unknown: fc.weight" in message
    assert "shape of classifier.bias: expected (10,), received (9,)" in message
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_another_model_is_refused():
    inputs = keras.Input((4,))
    other = keras.Model(inputs, keras.layers.Dense(2)(inputs), name="other")

    with pytest.raises(ValueError, match="Received: Functional 'other'"):
        keras_gradattn.load_pytorch_weights(other, {})


@pytest.mark.parametrize("network", NETWORKS)
def test_names_order_and_shapes_are_the_released_ones(network):
    from keras_gradattn.paper.pytorch_checkpoints import released_tensors

    slots = released_tensors(full_width(network))

    parameters = {n: list(s.shape) for n, s in slots.items() if "running_" not in n}
    statistics = {n: list(s.shape) for n, s in slots.items() if "running_" in n}
    assert list(parameters.items()) == [
        tuple(entry) for entry in PARAMETERS[network]["parameters"]
    ]
    assert list(statistics.items()) == [
        tuple(entry) for entry in PARAMETERS[network]["buffers"]
    ]
