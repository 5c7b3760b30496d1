"""Seeding a run is what Keras' own seeding is, without TensorFlow."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_gradattn import GradAttnV2
from keras_gradattn.training._seeding import seed_libraries


def drawn():
    """Weights and seed generators of a network, and a number of every library."""
    model = GradAttnV2(
        10, stage_filters=(4, 4, 8, 8), width=8, num_heads=2, feed_forward=8
    )
    numbers = [keras.ops.convert_to_numpy(v) for v in model.variables]
    return [*numbers, np.random.random()]


def test_same_numbers_as_after_keras_own_seeding():
    keras.utils.set_random_seed(5)
    expected = drawn()
    seed_libraries(6)
    other = drawn()
    seed_libraries(5)
    for found, value in zip(drawn(), expected, strict=True):
        np.testing.assert_array_equal(found, value)
    assert any((a != b).any() for a, b in zip(other[:-1], expected[:-1], strict=True))


@pytest.mark.slow
@pytest.mark.backends("jax", "torch")
def test_run_does_not_import_tensorflow(tmp_path, backend):
    """On a backend that has no use for it, even where it is installed."""
    code = (
        "import sys\n"
        "from keras_gradattn.__main__ import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    command = ["run", "--dataset", "digits", "--model", "resnet18", "--epochs", "1"]
    command += ["--limit", "64", "--results", str(tmp_path), "--no-pictures"]
    command += ["--model-option", "stage_filters=[4,4]"]
    command += ["--model-option", "stage_blocks=[1,1]"]
    result = subprocess.run(
        [sys.executable, "-c", code, *command],
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    # A log has a line for each epoch, and nothing that was meant for a terminal.
    assert "\r" not in result.stdout
    assert "\b" not in result.stdout
    assert len(result.stdout.splitlines()) == 2
