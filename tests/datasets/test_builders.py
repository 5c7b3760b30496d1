"""The TFDS builders, on small archives in the real formats."""

import hashlib
import pathlib
import shutil
import tempfile
import unittest.mock

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_gradattn import datasets
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
    main(["tiny_imagenet", "--data_dir", folder, "--file_format", "array_record"])
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
