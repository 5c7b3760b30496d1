"""The PyTorch peers are our networks: parameters, outputs, gradients, running means."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import torch

import keras_gradattn
from benchmarks.speed.contenders import NETWORKS, PEERS, Task
from benchmarks.speed.peers import peer
from benchmarks.speed.torch_steps import Steps as TorchSteps
from keras_gradattn.paper.pytorch_checkpoints import released_tensors
from tests.backend_gradients import inference, loss_and_gradients
from tests.narrow import HEAD, TRUNK, random_images

COUNTS = {
    "GradAttnV1": 12_849_994,
    "GradAttnV2": 12_851_274,
    "GradAttnV3": 12_847_690,
    "ResNet18": 11_181_642,
    "SEResNet18": 11_268_682,
    "CBAMResNet18": 11_269_466,
}


def pair(network):
    """Narrow peer and network with the same random weights, without dropout."""
    sizes = TRUNK
    if network.startswith("GradAttn"):
        sizes = TRUNK | HEAD | {"dropout": 0.0}
    torch.manual_seed(0)
    module = peer(network, 3, 2, **sizes)
    model = getattr(keras_gradattn, network)(
        3, (None, None, 2), classifier_activation=None, **sizes
    )
    keras_gradattn.load_pytorch_weights(model, module.state_dict())
    return module, model


@pytest.mark.any_backend
def test_operations_of_resnet18_are_the_documented_ones():
    task = Task(network="ResNet18", size=224, channels=3, num_classes=1000, batch=1)

    inference, training = (
        TorchSteps(PEERS[0], replace(task, mode=mode)).operations_per_step()
        for mode in ("inference", "training")
    )

    # torchvision documents 1.814 billion multiply-adds.
    assert inference == pytest.approx(2 * 1.814e9, rel=1e-3)
    # Gradients of weights and of inputs, except of the images.
    stem = 2 * 112 * 112 * 64 * 7 * 7 * 3
    assert training == pytest.approx(3 * inference - stem, rel=1e-6)


def nchw(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.any_backend
@pytest.mark.parametrize("network", NETWORKS)
def test_full_width_parameters_are_as_many_as_published(network):
    with torch.device("meta"):
        module = peer(network, 10, 3)

    assert sum(p.numel() for p in module.parameters()) == COUNTS[network]


@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_are_ours(network):
    module, model = pair(network)
    images = random_images(4, 28, 28, 2)

    with torch.no_grad():
        expected = module.eval()(nchw(images)).numpy()

    np.testing.assert_allclose(inference(model, images), expected, atol=2e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_loss_gradients_and_running_statistics_of_a_step_are_ours(network):
    module, model = pair(network)
    images, labels = random_images(6, 28, 28, 2), np.arange(6) % 3
    expected_loss = torch.nn.CrossEntropyLoss()(
        module.train()(nchw(images)), torch.from_numpy(labels)
    )
    expected_loss.backward()
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    loss, _, gradients = loss_and_gradients(model, images, labels, cross_entropy)

    assert loss == pytest.approx(float(expected_loss.detach()), rel=1e-5)
    by_variable = {
        id(variable): gradient
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    }
    slots = released_tensors(model)
    parameters = dict(module.named_parameters())
    assert set(parameters) <= set(slots)
    for name, parameter in parameters.items():
        slot = slots[name]
        ours = slot.to_pytorch(
            np.concatenate([by_variable[id(v)] for v in slot.variables], axis=-1)
        )
        scale = float(parameter.grad.abs().max())
        np.testing.assert_allclose(
            ours,
            parameter.grad.numpy(),
            atol=1e-4 * max(scale, 1e-3),
            err_msg=name,
        )
