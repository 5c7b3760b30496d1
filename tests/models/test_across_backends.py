"""Saved on one backend, used on another; exported where Keras can."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.backend_gradients import inference
from tests.narrow import HEAD, SHORT, narrow, random_images
from tests.reference_numbers import NETWORKS

ROOT = Path(__file__).parents[2]
BACKENDS = ("jax", "tensorflow", "torch")
SAVED = tuple(NETWORKS)

LOAD = """
import sys
from pathlib import Path
import keras, numpy as np
import keras_gradattn
from tests.backend_gradients import inference
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
for path in sorted(folder.glob("*.keras")):
    logits = inference(keras.saving.load_model(path), images)
    np.save(folder / f"{path.stem}_{keras.backend.backend()}.npy", logits)
"""


@pytest.mark.slow
def test_saved_here_loaded_on_the_other_backends(tmp_path, backend):
    images = random_images(2, 24, 20, 3)
    np.save(tmp_path / "images.npy", images)
    expected = {}
    for network in SAVED:
        # A stage of two blocks has all that the deeper network has.
        blocks = {"stage_blocks": (1, 2, 1, 1)}
        model = narrow(network, classifier_activation=None, **blocks)
        # Statistics that are not the initial ones have to travel as well.
        random = np.random.default_rng(1)
        model.set_weights(
            [w + abs(random.normal(0, 0.1, w.shape)) for w in model.get_weights()]
        )
        model.save(tmp_path / f"{network}.keras")
        expected[network] = inference(model, images)

    for other in set(BACKENDS) - {backend}:
        subprocess.run(
            [sys.executable, "-c", LOAD, tmp_path],
            cwd=ROOT,
            env=os.environ | {"KERAS_BACKEND": other},
            check=True,
            capture_output=True,
        )
        for network, logits in expected.items():
            loaded = np.load(tmp_path / f"{network}_{other}.npy")
            tolerance = 1e-5 * np.max(np.abs(logits))
            np.testing.assert_allclose(loaded, logits, atol=tolerance, err_msg=other)


def logits_of_saved_model(folder, images):
    import tensorflow as tf

    # Its variables live only as long as the loaded object.
    loaded = tf.saved_model.load(str(folder))
    return loaded.serve(images).numpy()


def logits_of_onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {session.get_inputs()[0].name: images})[0]


# Backend and format to how the exported file is read, and whether it needs a signature.
EXPORTS = {
    ("tensorflow", "tf_saved_model"): (logits_of_saved_model, False),
    ("tensorflow", "onnx"): (logits_of_onnx, False),
    ("jax", "tf_saved_model"): (logits_of_saved_model, False),
    ("torch", "onnx"): (logits_of_onnx, True),
}


@pytest.mark.parametrize("network", ["gradattn_v2", "cbam_resnet18"])
def test_exported_model_gives_equal_logits(network, tmp_path, backend):
    images = random_images(2, 24, 20, 3)
    shape = (24, 20, 3)
    model = narrow(network, classifier_activation=None, input_shape=shape, **SHORT)
    expected = inference(model, images)
    formats = [key for key in EXPORTS if key[0] == backend]
    assert formats

    for key in formats:
        read, static = EXPORTS[key]
        target = tmp_path / f"{key[1]}.{'onnx' if key[1] == 'onnx' else 'folder'}"
        signature = [keras.InputSpec(shape=(2, *shape), dtype="float32")]
        model.export(
            target,
            format=key[1],
            verbose=False,
            **({"input_signature": signature} if static else {}),
        )
        np.testing.assert_allclose(read(target, images), expected, atol=1e-4)


def test_any_size_is_exported_with_a_signature(tmp_path, backend):
    """A network declared for any size, by the formats that take a known one."""
    images = random_images(2, 24, 20, 3)
    model = narrow("gradattn_v2", classifier_activation=None, **SHORT)
    kind, read = {
        "jax": ("tf_saved_model", logits_of_saved_model),
        "tensorflow": ("tf_saved_model", logits_of_saved_model),
        "torch": ("onnx", logits_of_onnx),
    }[backend]
    batch = 2 if backend == "torch" else None
    signature = [keras.InputSpec(shape=(batch, 24, 20, 3), dtype="float32")]
    expected = inference(model, images)
    target = tmp_path / ("model.onnx" if kind == "onnx" else "folder")

    model.export(target, format=kind, input_signature=signature, verbose=False)

    np.testing.assert_allclose(read(target, images), expected, atol=1e-4)


MODULES = f"""
import json, sys
import keras, numpy as np
before = set(sys.modules)
import keras_gradattn, keras_gradattn.datasets
found = [sorted({{name.split(".")[0] for name in set(sys.modules) - before}})]
model = keras_gradattn.GradAttnV2(2, (16, 16, 3), **{HEAD | SHORT})
model.compile("adam", "sparse_categorical_crossentropy")
model.train_on_batch(np.zeros((2, 16, 16, 3)), np.zeros(2))
backends = {{"jax", "tensorflow", "torch"}}
found.append(sorted(backends & (set(sys.modules) - before)))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_importing_and_training_add_nothing_to_what_keras_loads():
    """TensorFlow, imported beside JAX or PyTorch, costs seconds and half a gigabyte."""
    finished = subprocess.run(
        [sys.executable, "-c", MODULES],
        cwd=ROOT,
        env=os.environ,
        check=True,
        capture_output=True,
        text=True,
    )

    imported, of_backends = json.loads(finished.stdout.splitlines()[-1])
    assert set(imported) - set(sys.stdlib_module_names) == {"keras_gradattn"}
    assert of_backends == []
