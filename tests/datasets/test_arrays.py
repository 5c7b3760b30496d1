"""Arrays and tensors as a data set."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import datasets
from keras_gradattn.datasets.gathering import GrowingArray, gather
from keras_gradattn.datasets.labels import encode_labels
from keras_gradattn.datasets.levels import choose_levels

PARTS = ("train", "validation", "test")
any_backend = pytest.mark.any_backend


def toy(count=60, shape=(8, 8, 3), classes=3, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), "uint8")
    return images, np.arange(count) % classes


def whole(splits):
    """All images, labels and rows, part after part."""
    parts = [getattr(splits, part) for part in PARTS]
    return (
        np.concatenate([np.asarray(part.images) for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.rows for part in parts]),
    )


@any_backend
def test_uint8_arrays_are_divided_and_not_copied(tmp_path):
    images, labels = toy()
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    splits = datasets.from_arrays(mapped, labels)
    assert splits.spec.split_sizes == {"train": 42, "validation": 9, "test": 9}
    found, found_labels, rows = whole(splits)
    np.testing.assert_array_equal(found, images[rows])
    np.testing.assert_array_equal(found_labels, labels[rows])
    assert sorted(rows) == list(range(60))
    train = images[splits.train.rows] / 255
    np.testing.assert_allclose(splits.spec.mean, train.mean((0, 1, 2)), atol=6e-5)
    np.testing.assert_allclose(splits.spec.std, train.std((0, 1, 2)), atol=6e-5)
    assert np.shares_memory(splits.train.images._images, mapped)


@any_backend
@given(
    count=st.integers(12, 40),
    height=st.integers(5, 9),
    width=st.integers(2, 9),
    channels=st.integers(1, 5),
    size=st.one_of(st.none(), st.integers(1, 8)),
    kind=st.sampled_from(("uint8", "uint16", "int64", "float32", "float64", "bool")),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_and_type(count, height, width, channels, size, kind):
    random = np.random.default_rng(0)
    images = random.random((count, height, width, channels))
    if kind not in ("float32", "float64"):
        images = images * {"bool": 2, "uint8": 256}.get(kind, 1000)
    splits = datasets.from_arrays(images.astype(kind), np.arange(count) % 2, size=size)
    side = size or min(height, width)
    assert splits.spec.input_shape == (side, side, channels)
    data = datasets.batches(
        splits.train, splits.spec, training=True, engine="pydataset", workers=0
    )
    batch, _ = data[0]
    assert batch.dtype == np.float32
    assert np.isfinite(batch).all()
    pixels = np.asarray(splits.train.images)
    assert pixels.min() >= 0
    assert pixels.max() <= 255


@any_backend
def test_fine_levels_are_kept():
    random = np.random.default_rng(0)
    deep = random.integers(0, 4096, (20, 6, 6, 1), "uint16")
    splits = datasets.from_arrays(deep, np.arange(20) % 2)
    assert splits.spec.levels == (0, 4095)
    assert splits.spec.deep
    images, _, rows = whole(splits)
    np.testing.assert_allclose(images, deep[rows] * (255 / 4095), rtol=1e-5)
    normalized = random.normal(size=(20, 6, 6, 1))
    with pytest.raises(ValueError, match=r"levels=\(black, white\).*Received: levels"):
        datasets.from_arrays(normalized, np.arange(20) % 2)
    splits = datasets.from_arrays(normalized, np.arange(20) % 2, levels=(-4, 4))
    images, _, rows = whole(splits)
    expected = np.clip((normalized[rows] + 4) * 255 / 8, 0, 255)
    np.testing.assert_allclose(images, expected, rtol=1e-4, atol=1e-3)


def test_tensors_of_the_backend():
    images, labels = toy()
    tensors = keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels)
    found, _, rows = whole(datasets.from_arrays(*tensors))
    np.testing.assert_array_equal(found, images[rows])


@any_backend
def test_channels_first_and_grey_without_a_channel():
    images, labels = toy()
    first = datasets.from_arrays(np.moveaxis(images, -1, 1), labels)
    found, _, rows = whole(first)
    np.testing.assert_array_equal(found, images[rows])
    grey = datasets.from_arrays(images[..., 0], labels)
    assert grey.spec.input_shape == (8, 8, 1)


@any_backend
def test_images_of_many_sizes():
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (10 + row, 12, 3), "uint8") for row in range(20)]
    splits = datasets.from_arrays(images, ["a", "b"] * 10, size=6, resize="pad")
    assert splits.spec.input_shape == (6, 6, 3)
    assert splits.spec.class_names == ("a", "b")
    assert splits.spec.resize == "pad"


@any_backend
def test_parts_of_their_own_and_groups():
    images, labels = toy()
    splits = datasets.from_arrays(
        images[:40],
        labels[:40],
        validation=(images[40:50], labels[40:50]),
        test=(images[50:], labels[50:]),
    )
    np.testing.assert_array_equal(np.asarray(splits.test.images), images[50:])
    assert len(splits.train) == 40
    groups = np.arange(60) // 6
    splits = datasets.from_arrays(images, labels, groups=groups)
    parts = [set(groups[getattr(splits, part).rows]) for part in PARTS]
    assert sum(map(len, parts)) == 10
    with pytest.raises(
        ValueError, match=r"one part only. Received: 6 in train and val"
    ):
        datasets.from_arrays(
            images[:40],
            labels[:40],
            validation=(images[40:], labels[40:]),
            groups=groups,
        )


@any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": np.zeros(3)}, "60 train images. Received: 3 labels"),
        ({"groups": np.zeros(3)}, "Received: groups with shape"),
        ({"validation": (1, 2, 3)}, "a tuple of 3"),
        ({"validation": 2.0}, "validation=2.0"),
        ({"images": np.zeros((60, 2, 2, 2, 2))}, "An image should be numbers"),
        ({"images": np.full((60, 4, 4), np.nan)}, "that are numbers"),
        ({"images": np.array(["x"] * 60)}, "An image should be numbers"),
        ({"images": [], "labels": []}, "Received: "),
        ({"labels": np.zeros(60, int)}, r"two classes at least. Received: \['0'\]"),
        ({"labels": np.arange(60) / 2}, "should be whole"),
        ({"class_names": ["a", "b"]}, "0 to 1, one for each"),
        ({"size": -2}, "size=-2"),
    ],
)
def test_wrong_arguments(arguments, message):
    images, labels = toy()
    given = {"images": images, "labels": labels} | arguments
    with pytest.raises(ValueError, match=message):
        datasets.from_arrays(**given)


@any_backend
def test_labels_of_every_kind():
    assert encode_labels([10, 9, 10]).class_names == ("9", "10")
    assert encode_labels(["10", "9"]).class_names == ("9", "10")
    assert encode_labels(np.array([[1.0], [3.0]])).class_names == ("1", "3")
    named = encode_labels([0, 0], ["cat", "dog"])
    assert named.class_names == ("cat", "dog")
    one_hot = encode_labels(np.eye(3))
    np.testing.assert_array_equal(one_hot.codes, [0, 1, 2])
    many = encode_labels([[1, 1], [0, 0]], ["a", "b"])
    assert many.multi_label
    with pytest.raises(ValueError, match="no label for 1 of 3 images, first in row 1"):
        encode_labels(["a", None, "b"])
    with pytest.raises(ValueError, match="should be 0 and 1"):
        encode_labels([[0.5, 0.5]])
    with pytest.raises(ValueError, match=r"among the 1 class names. Received: 'b'"):
        encode_labels(["a", "b"], ["a"])


@any_backend
def test_levels_are_chosen():
    assert choose_levels(0, 3000, integers=True) == (0, 4095)
    assert choose_levels(0, 9, integers=True) == (0, 255)
    assert choose_levels(0.0, 0.4, integers=False) == (0, 1)
    assert choose_levels(0.0, 99.5, integers=False) == (0, 255)


@any_backend
def test_multi_label_arrays_and_their_batches():
    images, _ = toy()
    labels = np.random.default_rng(0).integers(0, 2, (60, 4))
    splits = datasets.from_arrays(images, labels, class_names=list("abcd"))
    assert splits.spec.multi_label
    _, batch = datasets.batches(
        splits.train, splits.spec, training=True, engine="pydataset"
    )[0]
    assert batch.shape == (32, 4)


@any_backend
def test_ten_thousand_classes():
    labels = np.repeat(np.arange(10_000), 3)
    images = np.zeros((30_000, 2, 2, 1), "uint8")
    splits = datasets.from_arrays(images, labels)
    assert splits.spec.num_classes == 10_000
    data = datasets.batches(
        splits.train, splits.spec, training=True, one_hot=True, engine="pydataset"
    )
    _, batch = data[0]
    np.testing.assert_array_equal(batch.sum(axis=1), np.ones(32))
    assert batch.shape == (32, 10_000)


@any_backend
def test_what_does_not_fit_memory_is_in_a_file():
    rows = np.arange(60, dtype="uint8").reshape(20, 3)
    kept = {}
    for limit in (10, 10**6):
        store = GrowingArray(limit)
        for start in range(0, 20, 3):
            store.append(rows[start : start + 3])
        kept[limit] = store.finish()
        np.testing.assert_array_equal(kept[limit], rows)
    assert isinstance(kept[10], np.memmap)
    assert not isinstance(kept[10**6], np.memmap)
    images = np.random.default_rng(0).random((20, 4, 4, 1))
    spilled, memory = (
        gather(
            iter([images[:9], images[9:]]),
            size=4,
            resize="stretch",
            levels=None,
            largest_in_memory=limit,
        )
        for limit in (10, 10**9)
    )
    np.testing.assert_array_equal(spilled.images, memory.images)
    np.testing.assert_allclose(spilled.images, 255 * images, rtol=1e-5)
