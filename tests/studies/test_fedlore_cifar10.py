"""Client files of a federated-learning repository as a copy of CIFAR-10."""

import json
import zipfile

import numpy as np
import pytest

from keras_gradattn import datasets
from studies import fedlore_cifar10

pytestmark = pytest.mark.any_backend


def write_clients(folder, clients=3, images=4):
    """Files as the repository has them; returns what they hold."""
    random = np.random.default_rng(0)
    pixels, labels = [], []
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True)
        for client in range(clients):
            pixels.append(random.integers(0, 256, (images, 3, 32, 32), dtype="uint8"))
            labels.append(random.integers(0, 10, images))
            scaled = (pixels[-1].astype("float32") / 255 - 0.5) / 0.5
            content = {"x": scaled, "y": labels[-1]}
            np.savez_compressed(folder / part / f"{client}.npz", data=content)
    return np.concatenate(pixels), np.concatenate(labels)


@pytest.fixture
def small(monkeypatch):
    """Few clients and a small test part."""
    monkeypatch.setattr(fedlore_cifar10, "_CLIENTS", 3)
    monkeypatch.setattr(fedlore_cifar10, "_TEST", 4)


def test_pixels_and_labels_survive(tmp_path, small):
    pixels, labels = write_clients(tmp_path / "clients")
    fedlore_cifar10.main([str(tmp_path / "clients"), str(tmp_path / "sets")])

    splits = datasets.load("cifar10", data_dir=tmp_path / "sets", verify=False)

    parts = [splits.train, splits.validation, splits.test]
    order = np.argsort(np.concatenate([part.rows for part in parts]))
    images = np.concatenate([part.images for part in parts])[order]
    np.testing.assert_array_equal(images, pixels.transpose(0, 2, 3, 1))
    found = np.concatenate([part.labels for part in parts])[order]
    np.testing.assert_array_equal(found, labels)


def test_what_is_missing_is_written_down(tmp_path, small):
    write_clients(tmp_path / "clients")
    (tmp_path / "clients" / "train" / "1.npz").unlink()
    fedlore_cifar10.main([str(tmp_path / "clients"), str(tmp_path / "sets")])
    (path,) = tmp_path.glob("sets/*/about.json")
    about = json.loads(path.read_text())
    assert about["missing_files"] == ["train/1.npz"]
    assert about["images"] == about["distinct_images"] == 20
    assert about["missing_images"] == 60_000 - 20


def test_other_pixels_are_refused(tmp_path, small):
    write_clients(tmp_path)
    content = {"x": np.full((4, 3, 32, 32), 0.123, "float32"), "y": np.zeros(4, int)}
    np.savez_compressed(tmp_path / "train" / "0.npz", data=content)
    with pytest.raises(ValueError, match="8 bits scaled to -1 to 1"):
        fedlore_cifar10.read_clients(tmp_path)


def test_files_that_call_something_are_refused(tmp_path, small):
    class Call:
        def __reduce__(self):
            return print, ("called",)

    write_clients(tmp_path)
    np.savez_compressed(tmp_path / "train" / "0.npz", data={"x": Call(), "y": 1})
    with zipfile.ZipFile(tmp_path / "train" / "0.npz") as archive:
        assert archive.namelist() == ["data.npy"]
    with pytest.raises(ValueError, match=r"it names builtins\.print"):
        fedlore_cifar10.read_clients(tmp_path)
