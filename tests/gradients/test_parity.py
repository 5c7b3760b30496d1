"""Layer-output norms equal those that the released PyTorch code measured."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.analysis import analyze_gradient_flow
from tests.reference_numbers import (
    NETWORKS,
    PARAMETERS,
    REFERENCE,
    images_and_labels,
    network_with_released_weights,
)

CASES = [
    *((network, "32x32x3", "float64") for network in NETWORKS),
    ("gradattn_v2", "28x28x1", "float64"),
    ("resnet18", "32x32x3", "float32"),
    ("gradattn_v3", "32x32x3", "float32"),
]
TOLERANCE = {"float64": 1e-6, "float32": 1e-2}


def cross_entropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


@pytest.mark.parametrize(("network", "case", "dtype"), CASES)
@pytest.mark.usefixtures("double_precision", "quick_compilation")
def test_norms_of_the_released_code(network, case, dtype):
    model = network_with_released_weights(network, case, dtype=dtype)
    images, labels = images_and_labels(case)
    expected = dict(
        zip(
            PARAMETERS[network]["activation_grad_modules"],
            REFERENCE[f"{network}/{case}/activation_grad_norms"],
            strict=True,
        )
    )
    modules = model.published_modules()
    assert list(modules) == list(expected)
    # CBAM's MLP is called twice; the reference holds one of the two calls only.
    modules = {k: v for k, v in modules.items() if "shared_mlp" not in k}

    flow = analyze_gradient_flow(
        model, (images.astype(dtype), labels), cross_entropy,
        layers=list(modules.values()),
    )  # fmt: skip

    found = dict(zip(flow.layers, flow.gradient["norm"][0], strict=True))
    names = {name: layer.name for name, layer in modules.items()}
    for name, layer in names.items():
        hits = [norm for key, norm in found.items() if key.split("/")[-1] == layer]
        assert any(
            np.isclose(hit, expected[name], rtol=TOLERANCE[dtype], atol=0)
            for hit in hits
        ), (name, hits, expected[name])
