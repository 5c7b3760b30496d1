"""SVHN, PCam and PAD-UFES-20 from small files in their authors' formats."""

import builtins
import warnings

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from keras_gradattn import datasets
from keras_gradattn.datasets import _svhn_files
from tests.datasets.small_archives import write_pad_ufes_20

pytestmark = [
    pytest.mark.any_backend,
    pytest.mark.filterwarnings("ignore:.*comparable with published"),
    pytest.mark.filterwarnings("ignore:.*authors of SVHN give"),
]
PARTS = ("train", "validation", "test")


def write_svhn(folder, counts=(20, 12, 8), names=("train", "test", "extra")):
    """The three files; returns all images and digits in their order."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, digits = [], []
    for name, count in zip(names, counts, strict=True):
        pixels = random.integers(0, 256, (32, 32, 3, count), "uint8")
        # The digit 0 is called 10.
        labels = (np.arange(count, dtype="uint8") % 10 + 1)[:, None]
        savemat(folder / f"{name}_32x32.mat", {"X": pixels, "y": labels})
        images.append(np.moveaxis(pixels, 3, 0))
        digits.append(labels[:, 0] % 10)
    return np.concatenate(images), np.concatenate(digits)


def write_pcam(folder, counts=(12, 6, 6)):
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    content = {}
    for part, count in zip(("train", "valid", "test"), counts, strict=True):
        stem = f"camelyonpatch_level_2_split_{part}"
        pixels = random.integers(0, 256, (count, 96, 96, 3), "uint8")
        labels = (np.arange(count, dtype="uint8") % 2).reshape(-1, 1, 1, 1)
        with h5py.File(folder / f"{stem}_x.h5", "w") as stored:
            stored["x"] = pixels
        with h5py.File(folder / f"{stem}_y.h5", "w") as stored:
            stored["y"] = labels
        content[part] = (pixels, labels.reshape(-1))
    return content


@pytest.mark.parametrize("inside", ["", "svhn"])
def test_svhn(tmp_path, inside):
    images, digits = write_svhn(tmp_path / inside)
    splits = datasets.load("svhn", data_dir=tmp_path)
    assert [len(getattr(splits, part)) for part in PARTS] == [28, 6, 6]
    for part in PARTS:
        split = getattr(splits, part)
        np.testing.assert_array_equal(split.images, images[split.rows])
        np.testing.assert_array_equal(split.labels, digits[split.rows])
    assert set(digits) == set(range(10))


def test_another_copy_is_a_question_and_no_end(tmp_path, monkeypatch):
    write_svhn(tmp_path)
    with pytest.warns(UserWarning, match="Is that meant") as caught:
        datasets.load("svhn", data_dir=tmp_path)
    messages = [str(warning.message) for warning in caught]
    assert "holds 40 images of SVHN instead of 630,420" in messages[0]
    assert len([m for m in messages if "(MD5 sum " in m]) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets.load("svhn", data_dir=tmp_path, verify=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 4), "uint8")}, "KeyError"),
        (
            {"X": np.zeros((8, 8, 3, 4), "uint8"), "y": np.ones((4, 1), "uint8")},
            r"X should be uint8 \(32, 32, 3, images\)",
        ),
        (
            {"X": np.zeros((32, 32, 3, 4), "uint8"), "y": np.ones((3, 1), "uint8")},
            "Received: 3 labels",
        ),
        (
            {"X": np.zeros((32, 32, 3, 4), "uint8"), "y": np.zeros((4, 1), "uint8")},
            r"1 to 10, where 10 is the digit 0. Received: \[0\]",
        ),
    ],
)
def test_wrong_content_of_svhn(tmp_path, content, message):
    savemat(tmp_path / "train_32x32.mat", content)
    with pytest.raises(ValueError, match=message):
        datasets.load("svhn", data_dir=tmp_path)


def test_damaged_and_missing_files_of_svhn(tmp_path):
    write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"test_32x32\.mat cannot be read"):
        datasets.load("svhn", data_dir=tmp_path)
    (tmp_path / "train_32x32.mat").unlink()
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(ValueError, match=r"hold train_32x32.mat. Received: extra_"):
        datasets.load("svhn", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "module", "write"),
    [("svhn", "scipy", write_svhn), ("pcam", "h5py", write_pcam)],
)
def test_a_missing_library_is_named(tmp_path, monkeypatch, name, module, write):
    write(tmp_path)
    real = builtins.__import__

    def without(wanted, *arguments, **options):
        if wanted.split(".")[0] == module:
            raise ImportError(wanted)
        return real(wanted, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"keras-gradattn\[data\]"):
        datasets.load(name, data_dir=tmp_path)


def test_pcam(tmp_path):
    content = write_pcam(tmp_path / "pcam")
    splits = datasets.load("pcam", data_dir=tmp_path)
    for part, theirs in zip(PARTS, ("train", "valid", "test"), strict=True):
        split = getattr(splits, part)
        np.testing.assert_array_equal(split.images, content[theirs][0])
        np.testing.assert_array_equal(split.labels, content[theirs][1])
    some = datasets.load("pcam", data_dir=tmp_path, limit=4)
    np.testing.assert_array_equal(
        some.train.images, content["train"][0][some.train.rows]
    )


def test_wrong_content_of_pcam(tmp_path):
    write_pcam(tmp_path)
    path = tmp_path / "camelyonpatch_level_2_split_train_x.h5"
    whole = path.read_bytes()
    packed = path.with_name(path.name + ".gz")
    path.rename(packed)
    with pytest.raises(ValueError, match=r"with gunzip. Received: camelyonpatch.*\.gz"):
        datasets.load("pcam", data_dir=tmp_path)
    packed.unlink()
    with pytest.raises(ValueError, match=r"train_x\.h5 missing"):
        datasets.load("pcam", data_dir=tmp_path)
    path.write_bytes(whole[:100])
    with pytest.raises(ValueError, match="cannot be read as an HDF5 file"):
        datasets.load("pcam", data_dir=tmp_path)
    with h5py.File(path, "w") as stored:
        stored["x"] = np.zeros((12, 48, 48, 3), "uint8")
    with pytest.raises(
        ValueError, match=r"\(images, 96, 96, 3\). Received: uint8 with"
    ):
        datasets.load("pcam", data_dir=tmp_path)
    with h5py.File(path, "w") as stored:
        stored["images"] = np.zeros(3)
    with pytest.raises(ValueError, match=r"hold the array x. Received: images"):
        datasets.load("pcam", data_dir=tmp_path)
    path.write_bytes(whole)
    labels = tmp_path / "camelyonpatch_level_2_split_test_y.h5"
    for wrong, message in (
        (np.zeros((5, 1, 1, 1), "uint8"), "Received: 5 labels"),
        (np.full((6, 1, 1, 1), 7, "uint8"), r"should be 0 and 1. Received: \[7\]"),
    ):
        with h5py.File(labels, "w") as stored:
            stored["y"] = wrong
        with pytest.raises(ValueError, match=message):
            datasets.load("pcam", data_dir=tmp_path)


def test_pad_ufes_20(tmp_path):
    write_pad_ufes_20(tmp_path / "PAD-UFES-20", count=18)
    splits = datasets.load("pad_ufes_20", data_dir=tmp_path, group="patient_id")
    assert splits.spec.class_names == ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")
    assert splits.train.images.shape[1:] == (224, 224, 3)
    # Two photographs of each patient, one after the other.
    patients = [set(getattr(splits, part).rows // 2) for part in PARTS]
    assert sum(map(len, patients)) == 9
    names = ("BCC", "ACK", "NEV", "SEK", "SCC", "MEL")
    for part in PARTS:
        split = getattr(splits, part)
        expected = [names[row % 6] for row in split.rows]
        assert [splits.spec.class_names[label] for label in split.labels] == expected


def test_pad_ufes_20_without_a_photograph(tmp_path):
    names = write_pad_ufes_20(tmp_path, zipped=False)
    (tmp_path / "images" / names[3]).unlink()
    with pytest.raises(ValueError, match=f"lacks 1 of the 12.*Received: {names[3]}"):
        datasets.load("pad_ufes_20", data_dir=tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"isic_id,patient_id,diagnostic\n", "img_id,größe\n".encode("cp1252")],
)
def test_another_metadata_csv_is_no_pad_ufes_20(tmp_path, content):
    """Most data sets of photographs have a table of that name."""
    (tmp_path / "metadata.csv").write_bytes(content)
    with pytest.raises(datasets.DatasetNotFoundError, match=r"data\.mendeley\.com"):
        datasets.load("pad_ufes_20", data_dir=tmp_path)
    # A copy beside it is found.
    write_pad_ufes_20(tmp_path / "pad", count=18)
    splits = datasets.load("pad_ufes_20", data_dir=tmp_path, verify=False)
    assert sum(len(getattr(splits, part)) for part in PARTS) == 18


def test_published_sums_are_of_the_published_files():
    assert set(_svhn_files.MD5) == set(_svhn_files.FILES.values())
    assert all(len(md5) == 32 for md5 in _svhn_files.MD5.values())


def test_nothing_there(tmp_path):
    for name in ("svhn", "pcam", "pad_ufes_20"):
        with pytest.raises(datasets.DatasetNotFoundError, match="Get it with"):
            datasets.load(name, data_dir=tmp_path)
