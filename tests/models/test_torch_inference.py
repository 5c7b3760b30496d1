"""Inference on PyTorch runs captured operations, and nobody notices but the clock."""

import copy
import warnings

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn import config
from keras_gradattn.layers import SymmetricConv2D
from keras_gradattn.models import torch_inference
from tests.narrow import HEAD, random_images
from tests.reference_numbers import NETWORKS

# Capturing takes time by the operation, and two stages hold all there are.
TWO_STAGES = {"stage_filters": (4, 8), "stage_blocks": (1, 1)}

pytestmark = pytest.mark.backends("torch")


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Ask for captures, of the second pass, so that tests need not run sixteen."""
    monkeypatch.setattr(torch_inference, "CALLS_BEFORE_CAPTURE", 1)
    config.capture_torch_inference()
    yield
    config.capture_torch_inference(False)


@pytest.fixture
def convolutions(monkeypatch):
    """Names of the convolution layers that were walked through."""
    walked = []
    call = SymmetricConv2D.call

    def noted(layer, inputs):
        walked.append(layer.name)
        return call(layer, inputs)

    monkeypatch.setattr(SymmetricConv2D, "call", noted)
    return walked


def narrow(network, **arguments):
    head = HEAD | {"num_layers": 1} if network.startswith("gradattn_v") else {}
    if network == "gradattn_pathways":
        return keras_gradattn.GradAttnPathways(
            3, channel_groups=2, **TWO_STAGES, **arguments
        )
    return NETWORKS[network](3, **(TWO_STAGES | head | arguments))


def inference(model, images):
    import torch

    with torch.no_grad():
        outputs = model(torch.as_tensor(images), training=False)
    return outputs.numpy()


def captured(model, images):
    """Pass until the operations are captured; what the layers gave at first."""
    first = inference(model, images)
    inference(model, images)
    return first


def through_layers(model, images):
    fresh = type(model).from_config(model.get_config())
    fresh.set_weights(model.get_weights())
    return inference(fresh, images)


def test_nothing_is_captured_unless_asked_for(convolutions):
    config.capture_torch_inference(False)
    model = narrow("resnet18", input_shape=(16, 16, 3))
    images = random_images(2, 16, 16, 3)
    for _ in range(3):
        convolutions.clear()
        inference(model, images)

    assert convolutions


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        *[(network, {}) for network in [*NETWORKS, "gradattn_pathways"]],
        ("gradattn_v3", {"data_format": "channels_first"}),
        ("resnet18", {"normalization": ([0.5] * 3, [0.2] * 3)}),
    ],
)
def test_captured_operations_give_the_same_bits(network, arguments, convolutions):
    first = arguments.get("data_format") == "channels_first"
    arguments = {"input_shape": (3, 16, 16) if first else (16, 16, 3)} | arguments
    model = narrow(network, **arguments)
    images = random_images(2, *arguments["input_shape"])
    expected = captured(model, images)
    convolutions.clear()

    outputs = inference(model, images)

    assert not convolutions
    np.testing.assert_array_equal(outputs, expected)
    other = random_images(2, *arguments["input_shape"]) * 3
    np.testing.assert_array_equal(inference(model, other), through_layers(model, other))


def test_predict_and_evaluate_run_what_was_captured(convolutions):
    model = narrow("gradattn_v2", input_shape=(16, 16, 3))
    model.compile(loss="sparse_categorical_crossentropy")
    images, labels = random_images(6, 16, 16, 3), np.zeros(6)
    expected = model.predict(images, batch_size=2, verbose=0)
    loss = model.evaluate(images, labels, batch_size=2, verbose=0)
    convolutions.clear()

    outputs = model.predict(images, batch_size=2, verbose=0)
    again = model.evaluate(images, labels, batch_size=2, verbose=0)

    assert not convolutions
    np.testing.assert_array_equal(outputs, expected)
    assert again == loss


def test_training_and_assigning_change_what_was_captured(convolutions):
    model = narrow("gradattn_v2", input_shape=(16, 16, 3))
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = random_images(2, 16, 16, 3)
    before = captured(model, images)

    model.fit(images, np.array([0, 1]), verbose=0)
    captured(model, images)
    convolutions.clear()
    trained = inference(model, images)
    walked = list(convolutions)
    model.set_weights([weight * 1.1 for weight in model.get_weights()])
    assigned = inference(model, images)

    assert not walked
    assert not np.array_equal(trained, before)
    assert not np.array_equal(assigned, trained)
    np.testing.assert_array_equal(assigned, through_layers(model, images))


def test_training_is_never_captured(convolutions):
    import torch

    model = narrow("gradattn_v2", input_shape=(16, 16, 3), dropout=0.5)
    images = torch.as_tensor(random_images(2, 16, 16, 3))
    captured(model, images)

    with torch.no_grad():
        passes = [model(images, training=True).numpy() for _ in range(4)]
    outputs = model(images, training=False)
    outputs.sum().backward()

    assert not np.array_equal(passes[-1], passes[-2])
    assert all(v.value.grad is not None for v in model.trainable_variables)


def test_hooks_see_their_layer():
    model = narrow("resnet18", input_shape=(16, 16, 3))
    images = random_images(2, 16, 16, 3)
    expected = captured(model, images)
    seen = []
    hook = model.get_layer("stage1").register_forward_hook(
        lambda layer, inputs, outputs: seen.append(outputs.shape)
    )

    hooked = inference(model, images)
    hook.remove()
    inference(model, images)

    assert len(seen) == 1
    np.testing.assert_array_equal(hooked, expected)


def test_exchanged_calls_count():
    model = narrow("resnet18", input_shape=(16, 16, 3))
    images = random_images(2, 16, 16, 3)
    captured(model, images)
    classifier = model.layers[-1]

    classifier.__dict__["call"] = lambda inputs, **arguments: type(classifier).call(
        classifier, inputs * 0, **arguments
    )
    exchanged = inference(model, images)

    np.testing.assert_allclose(exchanged, 1 / exchanged.shape[-1], atol=0.2)
    assert np.ptp(exchanged, axis=0).max() == 0


def test_stateless_calls_compute_with_their_own_variables():
    import torch

    model = narrow("resnet18", input_shape=(16, 16, 3))
    images = random_images(2, 16, 16, 3)
    expected = captured(model, images)
    variables = [v.value for v in model.trainable_variables]

    with torch.no_grad():
        outputs, _ = model.stateless_call(
            [value * 1.5 for value in variables],
            [v.value for v in model.non_trainable_variables],
            torch.as_tensor(images),
            training=False,
        )

    assert not np.array_equal(outputs.numpy(), expected)
    np.testing.assert_array_equal(inference(model, images), expected)


def by_values(logits):
    """An activation that decides by what it sees."""
    return logits * (2 if float(logits.sum()) > 0 else 3)


def outside_of_torch(logits):
    """An activation that PyTorch cannot see through."""
    return keras.ops.convert_to_tensor(np.sin(logits.detach().numpy()))


@pytest.mark.parametrize("activation", [by_values, outside_of_torch])
def test_activations_that_cannot_be_captured_are_walked_through(activation):
    import torch

    model = narrow(
        "resnet18", input_shape=(16, 16, 3), classifier_activation=activation
    )
    plain = narrow("resnet18", input_shape=(16, 16, 3), classifier_activation=None)
    plain.set_weights(model.get_weights())
    captured(model, random_images(2, 16, 16, 3))

    for scale in (1, -1, 5, 0):
        images = random_images(2, 16, 16, 3) * scale
        expected = activation(torch.as_tensor(inference(plain, images)))
        np.testing.assert_array_equal(inference(model, images), expected)


def test_few_shapes_are_kept(convolutions):
    model = narrow("resnet18", input_shape=(None, None, 3))
    for batch in range(1, 6):
        captured(model, random_images(batch, 16, 16, 3))
    convolutions.clear()

    inference(model, random_images(5, 16, 16, 3))
    walked = len(convolutions)
    inference(model, random_images(1, 16, 16, 3))

    assert walked == 0
    assert len(convolutions) > 0
    # Walked through once, not captured again at once: shapes that take turns would be.
    assert len(set(convolutions)) == len(convolutions)


@pytest.mark.parametrize("arguments", [{"run_eagerly": True}, {"run_eagerly": False}])
def test_compiling_captures_anew_and_eager_models_walk(arguments, convolutions):
    model = narrow("resnet18", input_shape=(16, 16, 3), classifier_activation=None)
    images = random_images(2, 16, 16, 3)
    expected = captured(model, images)
    model.layers[-1].activation = keras.ops.negative

    model.compile(**arguments)
    np.testing.assert_array_equal(captured(model, images), -expected)
    convolutions.clear()
    inference(model, images)

    assert bool(convolutions) == arguments["run_eagerly"]


def test_half_precision_gives_the_same_bits():
    model = narrow("gradattn_v3", input_shape=(16, 16, 3), dtype="mixed_bfloat16")
    images = random_images(2, 16, 16, 3)

    expected = captured(model, images)

    np.testing.assert_array_equal(inference(model, images), expected)


def test_copies_and_saved_models_start_afresh(tmp_path):
    model = narrow("gradattn_v1", input_shape=(16, 16, 3))
    images = random_images(2, 16, 16, 3)
    expected = captured(model, images)

    model.save(tmp_path / "model.keras")
    copies = [
        keras.saving.load_model(tmp_path / "model.keras"),
        copy.deepcopy(model),
        keras.models.clone_model(model),
    ]
    copies[-1].set_weights(model.get_weights())

    for other in copies:
        np.testing.assert_array_equal(captured(other, images), expected)
        other.set_weights([weight * 1.1 for weight in other.get_weights()])
        assert not np.array_equal(inference(other, images), expected)
    np.testing.assert_array_equal(inference(model, images), expected)


def test_capturing_warns_of_nothing():
    model = narrow("gradattn_v3", input_shape=(16, 16, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        captured(model, random_images(2, 16, 16, 3))
