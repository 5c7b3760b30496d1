"""Fixtures of the data set tests."""

import pytest

from keras_gradattn.datasets import _npz
from tests.datasets.small_archives import write_med_mnist


@pytest.fixture
def any_md5(monkeypatch):
    """Small files stand in for the published ones, whose MD5 sums they lack."""
    monkeypatch.setattr(_npz, "verify_md5", lambda path, md5: None)


@pytest.fixture
def blood_cells(tmp_path):
    """A folder with a small `bloodmnist.npz`, and its arrays."""
    return tmp_path, write_med_mnist(tmp_path / "bloodmnist.npz")
