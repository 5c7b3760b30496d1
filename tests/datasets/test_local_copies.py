"""Copies of Tiny ImageNet and CIFAR-10 in a folder, in the real file formats."""

import builtins
import dataclasses
import hashlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
from PIL import Image

from keras_gradattn import datasets
from keras_gradattn.datasets import SPECS, _decoded_cache, local_copies
from keras_gradattn.datasets._restricted_pickle import read_pickle
from tests.datasets.small_archives import (
    CIFAR10_CLASSES,
    cifar10_arrays,
    cifar10_members,
    write_members,
    write_tiny_imagenet,
)

pytestmark = pytest.mark.any_backend
PARTS = ("train", "validation", "test")


def load(name, folder, **options):
    return datasets.load(name, data_dir=folder, **{"verify": False} | options)


def by_row(splits):
    """All images and labels in the order of their source."""
    rows = np.concatenate([getattr(splits, part).rows for part in PARTS])
    order = np.argsort(rows)
    return tuple(
        np.concatenate([getattr(getattr(splits, part), kind) for part in PARTS])[order]
        for kind in ("images", "labels")
    )


# === CIFAR-10 ===


@pytest.mark.parametrize("layout", ["python", "binary"])
@pytest.mark.parametrize(
    "name", ["some folder", "any.zip", "cifar-10.tar.gz", "cifar-10.tar", "."]
)
def test_cifar10_is_read_from_each_layout_and_container(tmp_path, layout, name):
    arrays = cifar10_arrays()
    write_members(tmp_path / name, cifar10_members(layout, arrays), "any-root")

    splits = load("cifar10", tmp_path)

    images, labels = by_row(splits)
    np.testing.assert_array_equal(
        images, np.concatenate([a for a, _ in arrays.values()])
    )
    np.testing.assert_array_equal(
        labels, np.concatenate([b for _, b in arrays.values()])
    )
    assert [len(getattr(splits, part)) for part in PARTS] == [84, 18, 18]
    assert splits.spec.class_names == CIFAR10_CLASSES


@pytest.mark.parametrize("layout", ["python", "binary"])
def test_cifar10_without_a_file_is_refused(tmp_path, layout):
    members = cifar10_members(layout, cifar10_arrays())
    del members[next(name for name in members if name.startswith("data_batch_3"))]
    write_members(tmp_path / "copy", members, "")
    with pytest.raises(ValueError, match=r"lacks files of CIFAR-10.*data_batch_3"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize("layout", ["python", "binary"])
def test_cifar10_with_other_classes_is_refused(tmp_path, layout):
    names = [*CIFAR10_CLASSES[:-1], "tractor"]
    members = cifar10_members(layout, cifar10_arrays(), names)
    write_members(tmp_path / "copy", members, "")
    with pytest.raises(ValueError, match=r"name the classes.*Received: .*tractor"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("layout", "change", "message"),
    [
        ("binary", lambda content: content[:-1], "records of 3073 bytes"),
        ("python", lambda content: content[:-20], "cannot be read as pickled arrays"),
        ("python", lambda content: pickle.dumps([1, 2]), "dictionary with data"),
        (
            "python",
            lambda content: pickle.dumps({"data": np.zeros((2, 5)), "labels": [1, 2]}),
            "uint8 data",
        ),
    ],
)
def test_damaged_batches_are_refused(tmp_path, layout, change, message):
    members = cifar10_members(layout, cifar10_arrays())
    name = next(name for name in members if name.startswith("test_batch"))
    members[name] = change(members[name])
    write_members(tmp_path / "copy", members, "")
    with pytest.raises(ValueError, match=f"{name} in .*{message}"):
        load("cifar10", tmp_path)


def test_damaged_tar_is_not_taken_for_a_copy(tmp_path):
    path = tmp_path / "cifar-10.tar.gz"
    write_members(path, cifar10_members("binary", cifar10_arrays()), "root")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(datasets.DatasetNotFoundError, match="authors' archive"):
        load("cifar10", tmp_path)


# === Tiny ImageNet ===


def images_of_zip(path, root):
    """Pixels and WordNet ids in the order of names, by a reader of its own."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(f"{root}val/val_annotations.txt").decode().splitlines()
        wnid_of = {
            f"{root}val/images/{line.split()[0]}": line.split()[1] for line in lines
        }
        names = archive.namelist()
        training = [n for n in names if n.startswith(f"{root}train/") and "JPEG" in n]
        order = [*sorted(training), *sorted(wnid_of)]
        pixels = [
            np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            for name in order
        ]
    wnids = [wnid_of.get(name, name.rsplit("/", 1)[-1].split("_")[0]) for name in order]
    return np.stack(pixels), wnids


@pytest.mark.parametrize("root", ["tiny-imagenet-200", "repo-main/tiny-imagenet-200"])
@pytest.mark.parametrize("extracted", [False, True])
def test_tiny_imagenet_is_read_from_any_copy(tmp_path, root, extracted):
    path = tmp_path / "any name.zip"
    write_tiny_imagenet(path, root=root)
    pixels, wnids = images_of_zip(path, f"{root}/")
    if extracted:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path)
        path.unlink()

    splits = load("tiny_imagenet", tmp_path)

    images, labels = by_row(splits)
    np.testing.assert_array_equal(images, pixels)
    assert [splits.spec.class_names[label] for label in labels] == wnids
    assert len(splits.spec.class_names) == 200


def test_a_set_at_another_size_and_name_finds_the_same_copy(tmp_path, monkeypatch):
    write_tiny_imagenet(tmp_path / "copy.zip", root="inner")
    half = dataclasses.replace(
        datasets.SPECS["tiny_imagenet"], name="tiny_imagenet_32", image_size=32
    )
    monkeypatch.setitem(datasets.SPECS, half.name, half)
    splits = load("tiny_imagenet_32", tmp_path)
    assert by_row(splits)[0].shape == (15, 32, 32, 3)


def test_the_extracted_folder_itself_is_a_data_folder(tmp_path):
    write_tiny_imagenet(tmp_path / "copy.zip", root="inner")
    with zipfile.ZipFile(tmp_path / "copy.zip") as archive:
        archive.extractall(tmp_path)
    splits = load("tiny_imagenet", tmp_path / "inner")
    assert sum(len(getattr(splits, part)) for part in PARTS) == 15


def test_decoded_images_are_kept_and_read_again(tmp_path, monkeypatch):
    path = tmp_path / "copy.zip"
    write_tiny_imagenet(path)
    first = load("tiny_imagenet", tmp_path)
    kept = tmp_path / "copy.zip.decoded"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.zip", kept.name]

    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(local_copies, "read_tiny_imagenet", refuse)
    again = load("tiny_imagenet", tmp_path)
    for one, other in zip(by_row(first), by_row(again), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.spec.class_names == first.spec.class_names

    # Another archive under the same name is decoded anew.
    write_tiny_imagenet(path, classes=4)
    monkeypatch.undo()
    assert sum(len(getattr(load("tiny_imagenet", tmp_path), p)) for p in PARTS) == 20


def test_half_written_decoded_images_are_never_there(tmp_path, monkeypatch):
    write_tiny_imagenet(tmp_path / "copy.zip")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    splits = load("tiny_imagenet", tmp_path)
    assert len(splits.train) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["copy.zip"]


def test_a_damaged_cache_is_ignored(tmp_path):
    write_tiny_imagenet(tmp_path / "copy.zip")
    first = load("tiny_imagenet", tmp_path)
    (tmp_path / "copy.zip.decoded" / "train_images.npy").write_bytes(b"\x93NUMPY")
    again = load("tiny_imagenet", tmp_path)
    np.testing.assert_array_equal(by_row(first)[0], by_row(again)[0])


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("val/images/val_1.JPEG", "lacks 1 images"),
        ("wnids.txt", "is not there"),
    ],
)
def test_an_incomplete_copy_is_refused(tmp_path, left_out, message):
    write_tiny_imagenet(tmp_path / "copy.zip", leave_out=(left_out,))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("tiny_imagenet", tmp_path)
    assert not (tmp_path / "copy.zip.decoded").exists()


def test_images_of_another_size_are_refused(tmp_path):
    path = tmp_path / "copy.zip"
    write_tiny_imagenet(path, leave_out=("val/images/val_0.JPEG",))
    stream = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), "uint8")).save(stream, "JPEG")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiny-imagenet-200/val/images/val_0.JPEG", stream.getvalue())
    with pytest.raises(ValueError, match=r"64 x 64 pixels.*32, 32"):
        load("tiny_imagenet", tmp_path)


# === Both ===


def test_other_numbers_and_sums_are_warned_of(tmp_path):
    path = tmp_path / "copy.zip"
    write_members(path, cifar10_members("binary", cifar10_arrays()), "root")
    with pytest.warns(UserWarning, match="CIFAR-10") as found:
        load("cifar10", tmp_path, verify=True)
    count, checksum = sorted((str(w.message) for w in found), key=len)
    assert "holds 120 images of CIFAR-10 instead of 60,000" in count
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    assert checksum.endswith(f"Received: {md5}")
    # The line that asked for the data is the one that is told.
    assert {os.path.basename(warning.filename) for warning in found} == {
        os.path.basename(__file__)
    }


def test_the_authors_own_archive_is_not_warned_of(tmp_path, monkeypatch, recwarn):
    path = tmp_path / "copy.zip"
    write_members(path, cifar10_members("binary", cifar10_arrays(10_000)), "root")
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    kind = dataclasses.replace(local_copies._KINDS["cifar10"], sums=(md5,))
    monkeypatch.setitem(local_copies._KINDS, "cifar10", kind)
    load("cifar10", tmp_path, verify=True)
    assert not [warning for warning in recwarn if "CIFAR" in str(warning.message)]


def test_no_copy_is_looked_for_where_tfds_has_prepared_the_data(tmp_path):
    write_members(tmp_path / "c.zip", cifar10_members("binary", cifar10_arrays()), "r")
    assert local_copies.find_copy(SPECS["cifar10"], tmp_path) == tmp_path / "c.zip"
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    (tmp_path / "cifar10" / "3.0.2" / "dataset_info.json").write_text("{}")
    assert local_copies.find_copy(SPECS["cifar10"], tmp_path) is None


def test_nothing_is_found_where_there_is_none(tmp_path):
    write_members(tmp_path / "c.zip", cifar10_members("binary", cifar10_arrays()), "r")
    assert local_copies.find_copy(SPECS["svhn"], tmp_path) is None
    assert local_copies.find_copy(SPECS["cifar10"], None) is None
    assert local_copies.find_copy(SPECS["cifar10"], tmp_path / "nothing") is None


def test_decoded_images_stand_beside_their_source(tmp_path):
    assert _decoded_cache.folder_of(tmp_path / "a.zip") == tmp_path / "a.zip.decoded"


# === Pickles ===


class _Call:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        _Call(os.getcwd),
        _Call(builtins.eval, "1"),
        _Call(np.load, "file"),
        {"data": [_Call(print, "here")]},
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_pickles_that_call_anything_are_refused(call, protocol, capsys):
    content = pickle.dumps(call, protocol)
    with pytest.raises(ValueError, match=r"file cannot be read.*it names"):
        read_pickle(content, "file")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "<f4", ">i8", "?", "<f8"])
def test_arrays_of_every_protocol_are_put_together(protocol, order, dtype):
    array = np.asarray(np.arange(24).reshape(2, 3, 4), dtype=dtype, order=order)
    value = {"x": array, "y": [1, 2.5, "text", None]}
    found = read_pickle(pickle.dumps(value, protocol), "file")
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype == array.dtype
    assert found["y"] == value["y"]


def test_a_dictionary_inside_an_array_is_read():
    stored = np.array({"x": np.arange(3, dtype="u1")}, dtype=object)
    found = read_pickle(pickle.dumps(stored, 3), "file")
    np.testing.assert_array_equal(found["x"], [0, 1, 2])


@pytest.mark.parametrize(
    "value",
    [np.array(["a", "b"]), np.array([{}, {}]), np.dtype("u1"), np.zeros(2, "c8")],
)
def test_other_arrays_are_refused(value):
    with pytest.raises(ValueError, match="file cannot be read"):
        read_pickle(pickle.dumps(value, 2), "file")
