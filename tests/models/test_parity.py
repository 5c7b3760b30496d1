"""The networks compute what the released PyTorch networks compute."""

import keras
import numpy as np
import pytest

from keras_gradattn.paper.pytorch_checkpoints import published_modules, released_tensors
from tests.backend_gradients import inference, loss_and_gradients
from tests.reference_numbers import (
    CASES,
    NETWORKS,
    PARAMETERS,
    REFERENCE,
    full_width,
    images_and_labels,
    network_with_released_weights,
)

# Plain float32 PyTorch is itself 3e-3 off in its gradients.
TOLERANCE = {
    "float64": {"logits": 1e-6, "loss": 1e-6, "gradients": 1e-6},
    "float32": {"logits": 1e-4, "loss": 1e-4, "gradients": 1e-2},
}


def cross_entropy(labels, logits):
    return keras.ops.mean(
        keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    )


def relative_error(actual, expected):
    """Largest error, relative to the largest reference value."""
    return np.max(np.abs(actual - expected)) / np.max(np.abs(expected))


def gradient_norms(network, model, gradients):
    """Norm of each released parameter's gradient, in the released order."""
    by_variable = {
        id(variable): gradient
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    slots = released_tensors(model)
    return np.array(
        [
            np.sqrt(sum(np.sum(by_variable[id(v)] ** 2) for v in slots[name].variables))
            for name, _ in PARAMETERS[network]["parameters"]
        ]
    )


# Every network at its smallest size; tests/gradients has the other sizes. PyTorch,
# which compiles nothing, takes one of them here as well. One network has float32.
COMBINATIONS = [
    *((network, "28x28x1", "float64") for network in NETWORKS),
    ("gradattn_v2", "32x32x3", "float32"),
]
if keras.backend.backend() == "torch":
    larger = [case for case in CASES if case != "28x28x1"]
    COMBINATIONS += [
        (network, larger[place % len(larger)], "float64")
        for place, network in enumerate(NETWORKS)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("network", "case", "dtype"), COMBINATIONS)
@pytest.mark.usefixtures("double_precision")
def test_numbers_of_the_released_network(network, case, dtype):
    model = network_with_released_weights(network, case, dtype=dtype)
    images, labels = images_and_labels(case)
    reference = {
        key: REFERENCE[f"{network}/{case}/{key}"]
        for key in ("eval_logits", "train_logits", "train_loss", "param_grad_norms")
    }
    tolerance = TOLERANCE[dtype]

    images = images.astype(dtype)
    logits = inference(model, images)
    assert logits.dtype == dtype
    loss, train_logits, gradients = loss_and_gradients(
        model, images, labels, cross_entropy
    )
    norms = gradient_norms(network, model, gradients)

    assert relative_error(logits, reference["eval_logits"]) < tolerance["logits"]
    assert relative_error(train_logits, reference["train_logits"]) < tolerance["logits"]
    assert relative_error(loss, reference["train_loss"]) < tolerance["loss"]
    assert relative_error(norms, reference["param_grad_norms"]) < tolerance["gradients"]


@pytest.mark.parametrize("network", NETWORKS)
def test_number_of_parameters(network):
    trainable = sum(np.prod(v.shape) for v in full_width(network).trainable_variables)

    assert trainable == PARAMETERS[network]["num_parameters"]


@pytest.mark.parametrize("network", NETWORKS)
def test_published_modules_are_those_of_the_released_analysis(network):
    modules = published_modules(full_width(network))

    assert list(modules) == PARAMETERS[network]["activation_grad_modules"]
