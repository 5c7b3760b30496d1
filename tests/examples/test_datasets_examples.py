"""Every data set's example runs end to end, on a little data in the real format."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.datasets import _npz
from tests.datasets.small_archives import (
    write_med_mnist,
    write_pad_ufes_20,
    write_tiny_imagenet,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
# PBC-28 is BloodMNIST's stand-in and shares its example.
NAMES = sorted(set(datasets.SPECS) - {"pbc28"})


# The runner, whose compiled steps are tested with it, takes each for a few steps.
pytestmark = [pytest.mark.usefixtures("without_traces"), pytest.mark.slow]


def prepare_tfds(name, folder, file_format):
    """A few random images of a TFDS data set, written by its own builder."""
    import tensorflow_datasets as tfds

    source = datasets.spec(name).source
    builder = tfds.builder(source.tfds, data_dir=folder)
    random = np.random.default_rng(0)
    shape = builder.info.features["image"].shape
    classes = builder.info.features["label"].num_classes

    def examples():
        for index in range(30):
            example = {
                "id": str(index),
                "image": random.integers(0, 256, shape, dtype="uint8"),
                "label": index % classes,
            }
            yield index, {k: example[k] for k in builder.info.features}

    names = source.merge or tuple(source.splits.values())
    builder._split_generators = lambda *arguments: {n: examples() for n in names}
    builder.download_and_prepare(file_format=file_format)


def prepare_med_mnist(name, folder, monkeypatch):
    write_med_mnist(folder / f"{name}.npz", name)
    # The small file cannot have the published file's sum.
    monkeypatch.setattr(_npz, "verify_md5", lambda path, md5: None)


def prepare_tiny_imagenet(folder, monkeypatch, file_format):
    import tensorflow_datasets as tfds

    from keras_gradattn.datasets.prepare import prepare

    archive = folder / "tiny-imagenet-200.zip"
    write_tiny_imagenet(archive, classes=4)
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download", lambda self, url: archive
    )
    monkeypatch.setattr(_npz, "verify_md5", lambda path, md5: None)
    prepare("tiny_imagenet", folder, file_format=file_format)


def prepare_pad_ufes_20(folder, file_format):
    from keras_gradattn.datasets.prepare import prepare

    manual = folder / "downloads" / "manual" / "pad_ufes_20"
    manual.parent.mkdir(parents=True)
    write_pad_ufes_20(manual, count=24)
    prepare("pad_ufes_20", folder, file_format=file_format, manual_dir=manual.parent)


@pytest.fixture
def data_dir(request, tmp_path, monkeypatch, backend):
    """A folder with a little of one data set, in the format its backend reads."""
    name = request.param
    # TFRecord where TensorFlow reads it, ArrayRecord where it need not.
    file_format = "tfrecord" if backend == "tensorflow" else "array_record"
    if name in ("tissuemnist", "bloodmnist"):
        prepare_med_mnist(name, tmp_path, monkeypatch)
    elif name == "tiny_imagenet":
        prepare_tiny_imagenet(tmp_path, monkeypatch, file_format)
    elif name == "pad_ufes_20":
        prepare_pad_ufes_20(tmp_path, file_format)
    elif name != "digits":
        prepare_tfds(name, tmp_path, file_format)
    return name, tmp_path


@pytest.mark.parametrize(
    "data_dir",
    [
        # Arrays, and a builder of our own: what a backend reads by itself.
        name
        if name in ("bloodmnist", "pad_ufes_20")
        else pytest.param(name, marks=pytest.mark.any_backend)
        for name in NAMES
    ],
    indirect=True,
)
def test_example_runs(data_dir, monkeypatch, capsys):
    name, folder = data_dir
    arguments = [f"{name}.py", "--epochs", "1", "--limit", "12", "--narrow"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--data-dir", str(folder)])
    # The picture goes into the working folder.
    monkeypatch.chdir(folder)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r"^accuracy +\d+\.\d\d%$", printed, re.MULTILINE)
    assert (folder / f"{name}_gradients.png").stat().st_size > 1000


@pytest.mark.any_backend
@pytest.mark.parametrize("name", NAMES)
def test_example_of_a_data_set_fits_a_screen(name):
    path = EXAMPLES / f"{name}.py"
    text = path.read_text()
    assert text.count("\n") <= 72
    opening = text.split('"""')[1]
    assert f"python examples/{path.name}" in opening
    for word in ("Needs", "Time", "Expect"):
        assert re.search(rf"^{word} +\S", opening, re.MULTILINE)
