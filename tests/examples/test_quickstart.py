"""The quickstart, shortened, leaves a model that reads raw digits."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_gradattn

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.py"


def test_quickstart_trains_saves_and_says_where(tmp_path):
    finished = subprocess.run(
        [sys.executable, EXAMPLE, "--epochs", "1", "--output", tmp_path],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert f"Backend: {keras.backend.backend()}" in finished.stdout
    for name in ("GradAttnV2", "ResNet18"):
        assert f"{name}: " in finished.stdout
    for name in ("gradattn_v2", "resnet18"):
        assert str(tmp_path / f"{name}.keras") in finished.stdout
        assert (tmp_path / f"{name}_gradients.png").stat().st_size > 10_000
    model = keras.saving.load_model(tmp_path / "gradattn_v2.keras")
    raw = np.kron(load_digits().images[:4], np.ones((4, 4)))[..., None] / 16 * 255
    names = keras_gradattn.predict_labels(model, raw.astype("uint8"))
    assert set(names) <= set("0123456789")
