"""Layer-output norms equal those that the released PyTorch code measured."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients import gradient_flow as analysis
from keras_gradattn.gradients.output_taps import ALL_STATISTICS, TappedModel
from keras_gradattn.paper.pytorch_checkpoints import published_modules
from tests.reference_numbers import (
    CASES,
    NETWORKS,
    PARAMETERS,
    REFERENCE,
    images_and_labels,
    network_with_released_weights,
)

TOLERANCE = {"float64": 1e-6, "float32": 1e-2}
# Every network at one size, every size with two networks. Where steps are compiled,
# which takes long, the sizes that tests/models leaves out.
COMBINATIONS = (
    [
        *(
            (network, list(CASES)[place % len(CASES)], "float64")
            for place, network in enumerate(NETWORKS)
        ),
        ("gradattn_v2", "32x32x3", "float32"),
    ]
    if keras.backend.backend() == "torch"
    else [
        ("cbam_resnet18", "64x48x3", "float64"),
        ("gradattn_v3", "32x32x3", "float64"),
        ("gradattn_v2", "32x32x3", "float32"),
    ]
)


def cross_entropy(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


def norms_by_the_public_function(model, images, labels, layers):
    flow = analysis.analyze_gradient_flow(
        model, (images, labels), cross_entropy, layers=layers
    )
    assert set(flow.gradient) == set(ALL_STATISTICS)
    return dict(zip(flow.layers, flow.gradient["norm"][0], strict=True))


def norms_alone(model, images, labels, layers):
    """The same taps and measurement, without the statistics that take compiling."""
    tapped = TappedModel(model, layers, ("norm",))
    measure = analysis._MEASURES[keras.backend.backend()](
        tapped, analysis._loss_function(model, cross_entropy), True
    )
    state = [v.value for v in tapped.non_trainable_variables]
    batch = map(keras.ops.convert_to_tensor, (images, labels))
    _, gradients, _, _ = measure(state, *batch, None, 1.0)
    return {
        variable.gradient_tap.layer: float(keras.ops.convert_to_numpy(gradient)[0])
        for variable, gradient in zip(tapped.taps, gradients, strict=True)
    }


@pytest.mark.slow
@pytest.mark.parametrize(("network", "case", "dtype"), COMBINATIONS)
@pytest.mark.usefixtures("double_precision", "without_traces")
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
    modules = published_modules(model)
    assert list(modules) == list(expected)
    # CBAM's MLP is called twice; the reference holds one of the two calls only.
    modules = {k: v for k, v in modules.items() if "shared_mlp" not in k}

    public = case == "32x32x3"
    measure = norms_by_the_public_function if public else norms_alone
    found = measure(model, images.astype(dtype), labels, list(modules.values()))

    names = {name: layer.name for name, layer in modules.items()}
    for name, layer in names.items():
        hits = [norm for key, norm in found.items() if key.split("/")[-1] == layer]
        assert any(
            np.isclose(hit, expected[name], rtol=TOLERANCE[dtype], atol=0)
            for hit in hits
        ), (name, hits, expected[name])
