"""The quickstart, shortened, leaves a model that reads raw digits."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import keras_gradattn

EXAMPLE = Path(__file__).parents[2] / "examples" / "quickstart.py"


@pytest.fixture
def quickstart(monkeypatch):
    """The example, with networks that are compiled quickly."""
    spec = importlib.util.spec_from_file_location("quickstart", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAGE_FILTERS", (8, 16))
    for name in ("GradAttnV2", "ResNet18"):
        monkeypatch.setattr(module.kg, name, short(getattr(keras_gradattn, name)))
    return module


def short(network):
    def make(**options):
        return network(stage_blocks=(1, 1), **options)

    make.__name__ = network.__name__
    return make


@pytest.mark.slow
def test_quickstart_trains_saves_and_says_where(quickstart, tmp_path, capsys):
    quickstart.main(epochs=1, output=tmp_path)

    printed = capsys.readouterr().out
    assert f"Backend: {keras.backend.backend()}" in printed
    for name in ("GradAttnV2", "ResNet18"):
        assert f"{name}: " in printed
    for name in ("gradattn_v2", "resnet18"):
        assert str(tmp_path / f"{name}.keras") in printed
        assert (tmp_path / f"{name}_gradients.png").stat().st_size > 10_000
    model = keras.saving.load_model(tmp_path / "gradattn_v2.keras")
    raw = np.kron(load_digits().images[:4], np.ones((4, 4)))[..., None] / 16 * 255
    names = keras_gradattn.predict_labels(model, raw.astype("uint8"))
    assert set(names) <= set("0123456789")
