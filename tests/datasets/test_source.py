"""Input pipelines of every framework as a data set."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from keras_gradattn import datasets

pytestmark = pytest.mark.any_backend
COUNT = 40
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (COUNT, 8, 8, 3), "uint8")
LABELS = np.arange(COUNT) % 2


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 5

    def __getitem__(self, index):
        part = slice(8 * index, 8 * index + 8)
        return IMAGES[part], LABELS[part]


class Endless(Batches):
    __len__ = None
    num_batches = None


class MapStyle(torch.utils.data.Dataset):
    """Without an end that iteration would notice."""

    classes = ("even", "odd")

    def __len__(self):
        return COUNT

    def __getitem__(self, row):
        pixels = torch.from_numpy(IMAGES[row % COUNT]).permute(2, 0, 1)
        return pixels, int(LABELS[row % COUNT])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(MapStyle()[row] for row in range(COUNT))


class MapDataset:
    """What Grain's has: a length, places, and holes where it was filtered."""

    def __len__(self):
        return COUNT + 1

    def __getitem__(self, row):
        if row == 3:
            return None
        row -= row > 3
        return {"image": IMAGES[row], "label": LABELS[row]}


def tensors():
    return tf.data.Dataset.from_tensor_slices((IMAGES, LABELS))


SOURCES = {
    "tf.data": tensors,
    "tf.data batches": lambda: tensors().shuffle(COUNT).batch(7),
    "tf.data dictionaries": lambda: tensors().map(
        lambda image, label: {"image": image, "label": label}
    ),
    "tf.data one-hot": lambda: tensors().map(
        lambda image, label: (image, tf.one_hot(label, 2))
    ),
    "PyDataset": lambda: Batches(),
    "torch loader": lambda: torch.utils.data.DataLoader(MapStyle(), 6, shuffle=True),
    "torch dataset": MapStyle,
    "torch stream": lambda: torch.utils.data.DataLoader(Stream(), 6),
    "grain": MapDataset,
    "list": lambda: list(zip(IMAGES, LABELS, strict=True)),
    "generator": lambda: zip(IMAGES, LABELS, strict=True),
}


def pairs(splits):
    return [
        {
            (np.asarray(image).tobytes(), int(label))
            for image, label in zip(np.asarray(part.images), part.labels, strict=True)
        }
        for part in (splits.train, splits.validation, splits.test)
    ]


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_parts(kind):
    splits = datasets.from_source(SOURCES[kind](), seed=5)
    assert splits.spec.split_sizes == {"train": 28, "validation": 6, "test": 6}
    expected = datasets.from_source(SOURCES["list"](), seed=5)
    assert pairs(splits) == pairs(expected)
    assert splits.spec.mean == expected.spec.mean
    whole = {
        (image.tobytes(), int(label))
        for image, label in zip(IMAGES, LABELS, strict=True)
    }
    assert set.union(*pairs(splits)) == whole


def test_grey_batches_without_a_channel():
    batches = [(IMAGES[i : i + 8, ..., 0], LABELS[i : i + 8]) for i in range(0, 40, 8)]
    assert datasets.from_source(batches).spec.input_shape == (8, 8, 1)


@pytest.mark.parametrize("channels", [3, 4])
def test_one_image_of_torch_with_a_label_for_each_class(channels):
    """As many classes as channels: not as many grey images."""
    labels = np.arange(COUNT) % channels
    pixels = np.random.default_rng(1).integers(0, 256, (COUNT, channels, 8, 8), "uint8")
    one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels), channels)
    splits = datasets.from_source(
        list(zip(torch.from_numpy(pixels), one_hot, strict=True))
    )
    assert splits.spec.input_shape == (8, 8, channels)
    whole = {
        (p.transpose(1, 2, 0).tobytes(), k) for p, k in zip(pixels, labels, strict=True)
    }
    assert set.union(*pairs(splits)) == whole


def test_a_last_batch_of_three_grey_images():
    grey, labels = IMAGES[:35, ..., 0], LABELS[:35]
    batches = [(grey[i : i + 8], labels[i : i + 8]) for i in range(0, 35, 8)]
    assert batches[-1][1].tolist() == [0, 1, 0]
    splits = datasets.from_source(batches)
    assert splits.spec.input_shape == (8, 8, 1)
    whole = {(image.tobytes(), k) for image, k in zip(grey, labels, strict=True)}
    assert set.union(*pairs(splits)) == whole


@pytest.mark.parametrize(
    "labels",
    [
        # Several classes of one image, or the classes of three.
        ([0, 1, 1],),
        # What was taken for one class is one of three classes after all.
        ([0, 1, 0], [1, 2, 0]),
    ],
)
def test_one_image_or_three(labels):
    elements = [(IMAGES[:3, ..., 0], np.array(label)) for label in labels]
    with pytest.raises(ValueError, match=r"\(3, 8, 8\) with the label \[0, 1, [01]\]"):
        datasets.from_source(elements)


def test_class_names():
    assert datasets.from_source(MapStyle()).spec.class_names == ("even", "odd")
    loader = torch.utils.data.DataLoader(MapStyle(), 6)
    assert datasets.from_source(loader).spec.class_names == ("even", "odd")
    named = datasets.from_source(loader, class_names=("a", "b"))
    assert named.spec.class_names == ("a", "b")


def test_float_images_of_torch():
    scaled = [
        (torch.from_numpy(image).permute(2, 0, 1) / 255, label)
        for image, label in zip(IMAGES, LABELS, strict=True)
    ]
    splits = datasets.from_source(scaled)
    assert splits.spec.levels == (0, 1)
    found = np.sort(np.asarray(splits.test.images).sum((1, 2, 3)))
    every = IMAGES.sum((1, 2, 3))
    assert all(np.abs(every - value).min() < 0.1 for value in found)


def test_parts_of_their_own():
    items = SOURCES["list"]()
    splits = datasets.from_source(
        items[:20], validation=tensors().skip(20).take(10), test=items[30:]
    )
    assert splits.spec.split_sizes == {"train": 20, "validation": 10, "test": 10}
    assert pairs(splits)[2] == {
        (image.tobytes(), int(label)) for image, label in items[30:]
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: tensors().repeat(), "an endless"),
        (Endless, "an endless Endless"),
        (lambda: (IMAGES, LABELS), "For arrays there is `from_arrays`"),
        (lambda: {"image": IMAGES}, "For arrays there is `from_arrays`"),
        (lambda: IMAGES, "give .image, label.*Received: ndarray"),
        (lambda: [(IMAGES[0], 1, 1.0)], "Received: tuple of 3"),
        (lambda: [{"pixels": IMAGES[0]}], "Received: pixels"),
        (lambda: 7, "Received: int"),
        (list, "There should be images. Received: none"),
        (
            lambda: [(IMAGES[0], 0), (IMAGES[1, ..., :1], 1)],
            "1 channels instead of 3",
        ),
        (lambda: [(IMAGES[0], 0), (IMAGES[1] / 255, 1)], "image 1 of type float64"),
    ],
)
def test_wrong_sources(source, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_source(source())


def test_a_network_trains_on_a_source():
    splits = datasets.from_source(MapStyle())
    first, again = (
        datasets.batches(splits.train, splits.spec, training=True, engine="pydataset")
        for _ in range(2)
    )
    for index in itertools.islice(range(len(first)), 2):
        np.testing.assert_array_equal(first[index][0], again[index][0])
