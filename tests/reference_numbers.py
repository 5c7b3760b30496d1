"""The released PyTorch implementation's numbers, and the weights they belong to."""

import functools
import json
import zlib
from pathlib import Path

import numpy as np

import keras_gradattn

DATA = Path(__file__).parent / "data"
PARAMETERS = json.loads((DATA / "parameters.json").read_text())
REFERENCE = np.load(DATA / "reference.npz")

NETWORKS = {
    "resnet18": keras_gradattn.ResNet18,
    "se_resnet18": keras_gradattn.SEResNet18,
    "cbam_resnet18": keras_gradattn.CBAMResNet18,
    "gradattn_v1": keras_gradattn.GradAttnV1,
    "gradattn_v2": keras_gradattn.GradAttnV2,
    "gradattn_v3": keras_gradattn.GradAttnV3,
}
# Case to image shape and number of classes.
CASES = {
    "32x32x3": ((32, 32, 3), 10),
    "28x28x1": ((28, 28, 1), 10),
    "64x48x3": ((64, 48, 3), 8),
}


def released_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of a released tensor, regenerated from its name."""
    seed = zlib.crc32(name.encode())
    z = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    if name.endswith("running_var"):
        return 1 + 0.1 * abs(z)
    if name.endswith("running_mean"):
        return 0.1 * z
    if name == "positional_embedding":
        return z
    if len(shape) == 4:
        return z * float(np.sqrt(2 / np.prod(shape[1:])))
    if len(shape) == 2:
        return z * float(np.sqrt(1 / shape[1]))
    if name.endswith("bias"):
        return 0.1 * z
    return 1 + 0.1 * z


def released_state(
    network: str, channels: int = 3, classes: int = 10
) -> dict[str, np.ndarray]:
    """State dict of a released network with the regenerated weights."""
    entries = PARAMETERS[network]["parameters"] + PARAMETERS[network]["buffers"]
    state = {}
    for name, shape in entries:
        shape = list(shape)
        if name == "conv1.weight":
            shape[1] = channels
        if name.startswith(("fc.", "classifier.")):
            shape[0] = classes
        state[name] = released_tensor(name, tuple(shape))
    return state


def images_and_labels(case: str) -> tuple[np.ndarray, np.ndarray]:
    """The eight images (NHWC, float32) and labels of a case."""
    shape, classes = CASES[case]
    images = np.random.default_rng(0).standard_normal((8, *shape)).astype("float32")
    return images, np.arange(8) % classes


@functools.cache
def full_width(network: str):
    """A network of ten classes at full width, for tests that change nothing in it."""
    return NETWORKS[network](num_classes=10)


def network_with_released_weights(network: str, case: str, **arguments):
    """A network without dropout that outputs logits, with the regenerated weights."""
    shape, classes = CASES[case]
    if network.startswith("gradattn"):
        arguments.setdefault("dropout", 0.0)
    model = NETWORKS[network](
        num_classes=classes,
        input_shape=(None, None, shape[-1]),
        classifier_activation=None,
        **arguments,
    )
    keras_gradattn.load_pytorch_weights(
        model, released_state(network, shape[-1], classes)
    )
    return model
