"""The TFDS builders, on small archives in the real formats."""

import dataclasses
import functools
import hashlib
import http.server
import pathlib
import re
import shutil
import sys
import tempfile
import threading
import unittest.mock
import zipfile

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from keras_gradattn import __main__, datasets
from keras_gradattn.datasets import _npz
from keras_gradattn.datasets.med_mnist import med_mnist_dataset_builder as med_mnist
from keras_gradattn.datasets.med_mnist.facts import FACTS, SIZES
from keras_gradattn.datasets.pad_ufes_20 import (
    pad_ufes_20_dataset_builder as pad_ufes_20,
)
from keras_gradattn.datasets.prepare import main, prepare
from keras_gradattn.datasets.tiny_imagenet import (
    tiny_imagenet_dataset_builder as tiny_imagenet,
)
from tests.datasets.small_archives import (
    write_med_mnist,
    write_pad_ufes_20,
    write_tiny_imagenet,
)

# Builders are TFDS' and NumPy's: no Keras backend takes part.
pytestmark = pytest.mark.any_backend


class _SmallArchives(tfds.testing.DatasetBuilderTestCase):
    """TFDS' own tests; the archives are written when the class starts."""

    __test__ = False
    # The files' publishers give MD5 sums, which the builders check themselves.
    SKIP_CHECKSUMS = True

    def test_session(self, *args, **kwargs):
        return super().test_session(*args, **kwargs)

    # Not a test, in spite of its name: it would be counted as a skipped one.
    test_session.__test__ = False

    @classmethod
    def setUpClass(cls):
        cls.EXAMPLE_DIR = tempfile.mkdtemp()
        cls.write(pathlib.Path(cls.EXAMPLE_DIR))
        cls.any_md5 = unittest.mock.patch.object(_npz, "verify_md5")
        cls.any_md5.start()
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.any_md5.stop()
        shutil.rmtree(cls.EXAMPLE_DIR)


class TestMedMnist(_SmallArchives):
    __test__ = True
    DATASET_CLASS = med_mnist.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ("bloodmnist_28", "chestmnist_64", "octmnist_28")
    SPLITS = {"train": 9, "validation": 3, "test": 4}  # noqa: RUF012

    @classmethod
    def write(cls, folder):
        for seed, name in enumerate(cls.BUILDER_CONFIG_NAMES_TO_TEST):
            flag, size = name.split("_")
            file = folder / med_mnist.file_name(flag, int(size))
            write_med_mnist(file, flag, int(size), (9, 3, 4), seed)

    def _get_dl_download_result(self, url):
        return self.dummy_data / url.rsplit("/", 1)[-1].split("?")[0]


class TestTinyImageNet(_SmallArchives):
    __test__ = True
    DATASET_CLASS = tiny_imagenet.Builder
    SPLITS = {"train": 12, "validation": 3}  # noqa: RUF012
    DL_EXTRACT_RESULT = "tiny-imagenet-200.zip"

    @classmethod
    def write(cls, folder):
        write_tiny_imagenet(folder / cls.DL_EXTRACT_RESULT)


class TestPadUfes20(_SmallArchives):
    __test__ = True
    DATASET_CLASS = pad_ufes_20.Builder
    SPLITS = {"train": 12}  # noqa: RUF012

    @classmethod
    def write(cls, folder):
        write_pad_ufes_20(folder)


def _prepare(builder, folder):
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=folder)
    )


def _with_download(monkeypatch, path):
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download", lambda self, url: path
    )


def test_every_set_and_size_has_a_configuration():
    names = {config.name for config in med_mnist.Builder.BUILDER_CONFIGS}
    assert names == {f"{flag}_{size}" for flag in FACTS for size in SIZES}
    assert len(names) == 48


def test_facts_agree_with_the_published_protocol():
    for name in ("tissuemnist", "bloodmnist"):
        assert dict(datasets.SPECS[name].split_sizes) == dict(FACTS[name].split_sizes)
    assert FACTS["chestmnist"].multi_label
    assert all(
        len(sum_) == 32 for facts in FACTS.values() for sum_ in facts.md5.values()
    )


def test_prepared_images_are_the_archive_s(tmp_path, monkeypatch, any_md5):
    arrays = write_med_mnist(tmp_path / "chestmnist.npz", "chestmnist")
    _with_download(monkeypatch, tmp_path / "chestmnist.npz")
    builder = med_mnist.Builder(config="chestmnist_28", data_dir=tmp_path / "tfds")
    builder.download_and_prepare()
    examples = builder.as_dataset(split="train").as_numpy_iterator()
    found = {
        (example["image"].tobytes(), example["label"].tobytes()) for example in examples
    }
    expected = {
        (image.tobytes(), label.tobytes())
        for image, label in zip(
            arrays["train_images"], arrays["train_labels"], strict=True
        )
    }
    assert found == expected


def test_wrong_md5_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "bloodmnist.npz"
    write_med_mnist(path)
    _with_download(monkeypatch, path)
    builder = med_mnist.Builder(config="bloodmnist_28", data_dir=tmp_path / "tfds")
    found = hashlib.md5(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"{FACTS['bloodmnist'].md5[28]}.*{found}"):
        builder.download_and_prepare()


def test_right_md5_is_taken(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"gradient")
    _npz.verify_md5(path, hashlib.md5(b"gradient").hexdigest())


@pytest.mark.parametrize("label_file", ["wnids.txt", "val/val_annotations.txt"])
def test_zip_without_its_label_file(tmp_path, monkeypatch, any_md5, label_file):
    path = tmp_path / "tiny.zip"
    write_tiny_imagenet(path, leave_out={label_file})
    _with_download(monkeypatch, path)
    builder = tiny_imagenet.Builder(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match=f"lacks its label file .*{label_file}"):
        builder.download_and_prepare()


def test_zip_without_a_named_image(tmp_path, monkeypatch, any_md5):
    path = tmp_path / "tiny.zip"
    write_tiny_imagenet(path, leave_out={"val/images/val_1.JPEG"})
    _with_download(monkeypatch, path)
    builder = tiny_imagenet.Builder(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match=r"lacks 1 images.*val_1\.JPEG"):
        builder.download_and_prepare()


@pytest.mark.parametrize(
    "member", ["../outside.JPEG", "/etc/outside", "a/../../b", "C:\\outside", "..\\b"]
)
def test_archive_stays_in_its_folder(tmp_path, monkeypatch, any_md5, member):
    path = tmp_path / "tiny.zip"
    write_tiny_imagenet(path, extra=[member])
    _with_download(monkeypatch, path)
    builder = tiny_imagenet.Builder(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match="leads outside its folder"):
        builder.download_and_prepare()


def test_truncated_zip(tmp_path, monkeypatch, any_md5):
    path = tmp_path / "tiny.zip"
    write_tiny_imagenet(path)
    path.write_bytes(path.read_bytes()[:-2000])
    _with_download(monkeypatch, path)
    builder = tiny_imagenet.Builder(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match="damaged or incomplete"):
        builder.download_and_prepare()


class _QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """Address of a server that has the files of one folder."""
    (tmp_path / "files").mkdir()
    handler = functools.partial(_QuietServer, directory=tmp_path / "files")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_downloads_come_through_tfds_own_manager(tmp_path, server, monkeypatch):
    """From the address to the checked file: only host and sums are the test's."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    sums = {}
    for flag, name in (("chestmnist", "chestmnist_64.npz"), ("tiny", "tiny.zip")):
        file = tmp_path / "files" / name
        if flag == "tiny":
            write_tiny_imagenet(file, classes=1)
        else:
            write_med_mnist(file, flag, 64, (3, 2, 2))
        sums[flag] = hashlib.md5(file.read_bytes()).hexdigest()
    facts = FACTS["chestmnist"]
    monkeypatch.setitem(
        FACTS,
        "chestmnist",
        dataclasses.replace(facts, md5={**facts.md5, 64: sums["chestmnist"]}),
    )
    monkeypatch.setattr(med_mnist, "URL", server)
    monkeypatch.setattr(tiny_imagenet, "_URL", f"{server}/tiny.zip")
    monkeypatch.setattr(tiny_imagenet, "_MD5", sums["tiny"])
    for name, count in (("med_mnist/chestmnist_64", 3), ("tiny_imagenet", 4)):
        folder = prepare(name, tmp_path / "tfds", file_format="array_record")
        source = tfds.builder_from_directory(folder).as_data_source("train")
        assert len(source) == count
    # Downloaded once, kept, and refused when the sum is another.
    monkeypatch.setattr(tiny_imagenet, "_MD5", "0" * 32)
    with pytest.raises(ValueError, match="MD5 sum should be 000"):
        prepare("tiny_imagenet", tmp_path / "again")


def test_address_of_every_file():
    """Against the addresses that the publishers' package gives (its info.py)."""
    assert med_mnist.URL == "https://zenodo.org/records/10519652/files"
    names = [med_mnist.file_name("chestmnist", size) for size in SIZES]
    assert names == [
        "chestmnist.npz",
        "chestmnist_64.npz",
        "chestmnist_128.npz",
        "chestmnist_224.npz",
    ]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("cifar1", "cifar10"),
        ("bloodmnst", "bloodmnist"),
        ("patch_camelyn", "patch_camelyon"),
        ("med_mnist/chestmist_64", "med_mnist/chestmnist_64"),
    ],
)
def test_unknown_name_of_a_builder(name, nearest, capsys):
    assert main([name]) == 2
    error = capsys.readouterr().err
    assert f"Did you mean '{nearest}'" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pcam", "--data_dir", "x"), r"Did you mean '--data-dir'\?.*'--data_dir'"),
        (("pcam", "--file-format", "csv"), r"one of tfrecord, array_record.*'csv'"),
        ((), "needs name"),
    ],
)
def test_a_command_line_that_is_wrong(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(list(arguments))
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_command_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert main(["pcam"]) == 2
    error = capsys.readouterr().err
    assert "pip install 'keras-gradattn[data,tensorflow]'" in error
    assert error.count("\n") == 1


def test_a_file_that_is_not_on_the_server(tmp_path, server, monkeypatch, capsys):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(med_mnist, "URL", server)
    folder = str(tmp_path / "tfds")
    run = ["run", "--dataset", "bloodmnist", "--download", "--data-dir", folder]
    run += ["--results", str(tmp_path / "results")]
    commands = {
        "bloodmnist": lambda: main(["bloodmnist", "--data-dir", folder]),
        "BloodMNIST": lambda: __main__.main(run),
    }
    for title, command in commands.items():
        assert command() == 2
        error = capsys.readouterr().err
        assert re.fullmatch(
            rf"{title} cannot be downloaded \(Failed to get url {server}/bloodmnist.npz"
            r".*404\)\. .*try again\. Received: DownloadError\n",
            error,
        ), error


@pytest.mark.parametrize(
    "error",
    [
        tfds.core.download.extractor.ExtractError("a.zip: bad\nzip"),
        tfds.core.download.download_manager.NonMatchingChecksumError("a.zip: bad\n1"),
        requests.exceptions.ConnectionError("a.zip: bad"),
    ],
)
def test_what_stops_a_download_is_one_sentence(tmp_path, monkeypatch, error):
    def download(manager, url):
        raise error

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    with pytest.raises(datasets.DatasetNotFoundError) as raised:
        datasets.load("bloodmnist", data_dir=tmp_path, download=True)
    assert str(raised.value) == (
        "BloodMNIST cannot be downloaded (a.zip: bad). Nothing is half-prepared: try "
        f"again. Received: {type(error).__name__}"
    )
    # What is no matter of the download stays what it is.
    error = OSError(28, "No space left on device")
    with pytest.raises(OSError, match="No space") as raised:
        datasets.load("bloodmnist", data_dir=tmp_path, download=True)
    assert raised.value is error


def test_med_mnist_needs_a_configuration():
    with pytest.raises(ValueError, match=r"no such data set.*name='med_mnist'"):
        prepare("med_mnist")


def test_command_line_says_how_to_get_what_is_downloaded_by_hand(tmp_path, capsys):
    folder = tmp_path / "nothing"
    assert (
        main(["pad_ufes_20", "--data-dir", str(tmp_path), "--manual-dir", str(folder)])
        == 2
    )
    captured = capsys.readouterr()
    assert "data.mendeley.com/datasets/zr7vgbcyr2/1" in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert "\r" not in captured.err


def test_damaged_image_in_a_zip_is_named(tmp_path, monkeypatch, any_md5):
    path = tmp_path / "tiny.zip"
    write_tiny_imagenet(path)
    content = bytearray(path.read_bytes())
    place = content.index(b"val_2.JPEG") + 600
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    _with_download(monkeypatch, path)
    builder = tiny_imagenet.Builder(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match=r"val_2\.JPEG in .*tiny\.zip is damaged"):
        builder.download_and_prepare()
    assert not (tmp_path / "tfds" / "tiny_imagenet" / "1.0.0").exists()


@pytest.mark.parametrize("wrong", [8, 255])
def test_builder_refuses_labels_out_of_range(tmp_path, monkeypatch, any_md5, wrong):
    path = tmp_path / "bloodmnist.npz"
    arrays = write_med_mnist(path)
    arrays["val_labels"][3] = wrong
    np.savez(path, **arrays)
    _with_download(monkeypatch, path)
    with pytest.raises(ValueError, match=f"label {wrong}"):
        prepare("bloodmnist", tmp_path / "tfds")


def test_builder_refuses_images_of_another_size(tmp_path, monkeypatch, any_md5):
    path = tmp_path / "bloodmnist.npz"
    write_med_mnist(path, size=20)
    _with_download(monkeypatch, path)
    with pytest.raises(ValueError, match=r"\(28, 28, 3\)"):
        prepare("bloodmnist", tmp_path / "tfds")


def test_zip_of_photographs_stays_in_its_folder(tmp_path):
    write_pad_ufes_20(tmp_path / "pad")
    with zipfile.ZipFile(tmp_path / "pad" / "images" / "imgs_part_1.zip", "a") as file:
        file.writestr("../../outside.png", b"")
    with pytest.raises(ValueError, match="leads outside its folder"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def _pad_builder(tmp_path):
    return pad_ufes_20.Builder(data_dir=tmp_path / "tfds")


def test_unknown_diagnosis(tmp_path):
    write_pad_ufes_20(tmp_path / "pad", diagnoses=("BCC", "XYZ"))
    with pytest.raises(ValueError, match="Received: XYZ"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def test_missing_images_are_listed(tmp_path):
    names = write_pad_ufes_20(tmp_path / "pad", zipped=False)
    for name in names[:2]:
        (tmp_path / "pad" / "images" / name).unlink()
    with pytest.raises(ValueError, match=f"lacks 2 of the 12.*{names[0]}, {names[1]}"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def test_damaged_image_is_named(tmp_path):
    names = write_pad_ufes_20(tmp_path / "pad", zipped=False)
    image = tmp_path / "pad" / "images" / names[3]
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(ValueError, match=f"{names[3]}.*damaged"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def test_image_names_cannot_lead_outside(tmp_path):
    write_pad_ufes_20(tmp_path / "pad")
    table = tmp_path / "pad" / "metadata.csv"
    table.write_text(table.read_text().replace("PAT_0_0_100.png", "../secret.png"))
    with pytest.raises(ValueError, match="plain file name"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def test_links_out_of_the_folder_do_not_count(tmp_path):
    names = write_pad_ufes_20(tmp_path / "pad", zipped=False)
    image = tmp_path / "pad" / "images" / names[0]
    image.rename(tmp_path / "outside.png")
    image.symlink_to(tmp_path / "outside.png")
    with pytest.raises(ValueError, match=f"lacks 1 .*{names[0]}"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


@pytest.mark.parametrize("content", ["", "img_id,patient_id\na.png,PAT_1\n"])
def test_incomplete_metadata(tmp_path, content):
    write_pad_ufes_20(tmp_path / "pad")
    (tmp_path / "pad" / "metadata.csv").write_text(content)
    with pytest.raises(ValueError, match="lacks the columns"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


def test_without_metadata(tmp_path):
    write_pad_ufes_20(tmp_path / "pad")
    (tmp_path / "pad" / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"needs its metadata\.csv"):
        _prepare(_pad_builder(tmp_path), tmp_path / "pad")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_prepared_pad_ufes_20_loads(tmp_path, file_format):
    write_pad_ufes_20(tmp_path / "pad")
    prepare(
        "pad_ufes_20",
        tmp_path / "tfds",
        file_format=file_format,
        manual_dir=tmp_path / "pad",
    )
    data = datasets.load("pad_ufes_20", data_dir=tmp_path / "tfds")
    assert [len(data.train), len(data.validation), len(data.test)] == [8, 1, 3]
    assert data.train.images.shape == (8, 224, 224, 3)
    by_patient = datasets.load(
        "pad_ufes_20", data_dir=tmp_path / "tfds", group="patient_id"
    )
    # Rows 2 k and 2 k + 1 of the table are one patient; TFDS shuffles them.
    builder = tfds.builder("pad_ufes_20", data_dir=tmp_path / "tfds")
    if file_format == "tfrecord":
        examples = builder.as_dataset(split="train").as_numpy_iterator()
    else:
        examples = builder.as_data_source(split="train")
    patients = np.array([example["patient_id"] for example in examples])
    groups = [
        set(patients[split.rows])
        for split in (by_patient.train, by_patient.validation, by_patient.test)
    ]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6


def test_tiny_imagenet_as_array_record_loads(tmp_path, monkeypatch, any_md5, capsys):
    write_tiny_imagenet(tmp_path / "tiny.zip")
    _with_download(monkeypatch, tmp_path / "tiny.zip")
    folder = str(tmp_path / "tfds")
    main(["tiny_imagenet", "--data-dir", folder, "--file-format", "array_record"])
    assert "Prepared in" in capsys.readouterr().out
    data = datasets.load("tiny_imagenet", data_dir=tmp_path / "tfds")
    assert [len(data.train), len(data.validation), len(data.test)] == [10, 2, 3]
    assert data.train.images.shape == (10, 64, 64, 3)
    assert data.spec.class_names[:2] == ("n10000000", "n10000001")
    assert set(data.train.labels) <= {0, 1, 2}


def test_load_downloads_and_prepares(tmp_path, monkeypatch, any_md5):
    write_med_mnist(tmp_path / "bloodmnist.npz")
    _with_download(monkeypatch, tmp_path / "bloodmnist.npz")
    folder = tmp_path / "tfds"
    with pytest.raises(datasets.DatasetNotFoundError):
        datasets.load("bloodmnist", data_dir=folder)
    first = datasets.load("bloodmnist", data_dir=folder, download=True)
    again = datasets.load("bloodmnist", data_dir=folder)
    assert [len(again.train), len(again.validation), len(again.test)] == [24, 8, 8]
    np.testing.assert_array_equal(first.train.images, again.train.images)


def test_download_without_the_manual_folder(tmp_path):
    with pytest.raises(datasets.DatasetNotFoundError, match=r"data\.mendeley\.com"):
        datasets.load("pad_ufes_20", data_dir=tmp_path, download=True)


def test_data_that_is_not_prepared_with_tfds():
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        prepare("digits")
