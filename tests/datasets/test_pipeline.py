"""Batches: the same for a seed, on either engine, and fit to train on."""

import dataclasses
import time

import keras
import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.datasets import SPECS, Augmentation, Split, batches
from keras_gradattn.datasets.pipeline import BatchSource
from keras_gradattn.datasets.pixels import normalize

ENGINES = ("pydataset", "tf.data")


def _split(spec, count=50, seed=0, name="train"):
    random = np.random.default_rng(seed)
    shape = (count, spec.image_size, spec.image_size, spec.source_channels)
    images = random.integers(0, 256, shape, dtype="uint8")
    # The first pixel numbers the image, as long as nothing moves.
    images[:, 0, 0, 0] = np.arange(count)
    labels = (np.arange(count) % spec.num_classes).astype("int32")
    return Split(name, images, labels, np.arange(count))


def _collect(data):
    images, labels = zip(
        *((np.asarray(x), np.asarray(y)) for x, y in data), strict=True
    )
    return np.concatenate(images), np.concatenate(labels)


FASHION = SPECS["fashion_mnist"]
# Black becomes white and white black.
LEVELS = np.arange(255, -1, -1, dtype="uint8")[:, None]


def _fashion(engine="pydataset", **options):
    options = {"batch_size": 8, "training": True, "seed": 3, **options}
    return batches(_split(FASHION), FASHION, engine=engine, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_same_seed_same_batches(engine):
    first, second = _fashion(engine), _fashion(engine)
    for _ in range(2):
        one, two = _collect(first), _collect(second)
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_epochs_and_seeds_differ(engine):
    data = _fashion(engine)
    first, second = _collect(data), _collect(data)
    other = _collect(_fashion(engine, seed=4))
    assert (first[1] != second[1]).any()
    assert (first[1] != other[1]).any()
    for _, labels in (first, second, other):
        np.testing.assert_array_equal(
            np.bincount(labels), np.bincount(_split(FASHION).labels)
        )


def test_engines_give_the_same_batches():
    one, two = _fashion("pydataset"), _fashion("tf.data")
    for _ in range(3):
        np.testing.assert_array_equal(_collect(one)[0], _collect(two)[0])


@pytest.mark.parametrize("engine", ENGINES)
def test_resumed_run_sees_the_same_batches(engine):
    whole = _fashion(engine)
    epochs = [_collect(whole) for _ in range(4)]
    resumed = _fashion(engine, initial_epoch=2)
    for expected in epochs[2:]:
        found = _collect(resumed)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    whole.set_epoch(1)
    np.testing.assert_array_equal(_collect(whole)[0], epochs[1][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pass_left_half_way_is_begun_again(engine):
    data = _fashion(engine)
    for _ in range(2):
        images, _ = next(iter(data))
        first = np.asarray(images)
    np.testing.assert_array_equal(first, _collect(data)[0][:8])


class _Seen(keras.layers.Layer):
    """Keeps the sum of the first pixels, and their sum weighted by the turn."""

    def build(self, shape):
        self.total = self.add_weight(shape=(), trainable=False, name="total")
        self.turns = self.add_weight(shape=(), trainable=False, name="turns")
        self.order = self.add_weight(shape=(), trainable=False, name="order")

    def call(self, inputs):
        first = keras.ops.sum(inputs[:, 0, 0, 0])
        self.turns.assign_add(1.0)
        self.total.assign_add(first)
        self.order.assign_add(first * self.turns)
        return keras.layers.Flatten()(inputs)


class _Record(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.totals, self.orders = [], []

    def on_epoch_begin(self, epoch, logs=None):
        for weight in self.model.layers[0].weights:
            weight.assign(0.0)

    def on_epoch_end(self, epoch, logs=None):
        seen = self.model.layers[0]
        self.totals.append(float(keras.ops.convert_to_numpy(seen.total)))
        self.orders.append(float(keras.ops.convert_to_numpy(seen.order)))


def _fit(engine, initial_epoch=0, **options):
    spec = dataclasses.replace(FASHION, mean=(0.0,), std=(1 / 255,))
    data = batches(
        _split(spec),
        spec,
        batch_size=8,
        training=True,
        engine=engine,
        augmentation=(),
        initial_epoch=initial_epoch,
    )
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), _Seen(), keras.layers.Dense(10)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    record = _Record()
    model.fit(
        data,
        epochs=4,
        initial_epoch=initial_epoch,
        callbacks=[record],
        verbose=0,
        **options,
    )
    return model, data, record


@pytest.mark.parametrize("engine", ENGINES)
def test_fit_takes_one_epoch_after_the_other(engine):
    model, data, record = _fit(engine, shuffle=False)
    # Each image once an epoch: 0 + 1 + ... + 49.
    np.testing.assert_allclose(record.totals, [1225.0] * 4)
    expected = _epoch_orders(data, range(4))
    np.testing.assert_allclose(record.orders, expected)
    assert len(set(expected)) == 4
    _, _, resumed = _fit(engine, initial_epoch=2, shuffle=False)
    np.testing.assert_allclose(resumed.orders, expected[2:])
    model.evaluate(data, verbose=0)
    assert model.predict(data, verbose=0).shape == (50, 10)


def _epoch_orders(data, epochs):
    orders = []
    for epoch in epochs:
        data.set_epoch(epoch)
        sums = [np.asarray(images)[:, 0, 0, 0].sum() for images, _ in data]
        orders.append(float(np.dot(sums, np.arange(1, len(sums) + 1))))
    return orders


def test_fit_that_shuffles_again_still_sees_each_image_once():
    _, _, record = _fit("pydataset", shuffle=True)
    np.testing.assert_allclose(record.totals, [1225.0] * 4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "pbc28", "tissuemnist"])
def test_validation_and_test_are_never_augmented(engine, name):
    spec = SPECS[name]
    split = _split(spec, 20, name="test")
    level_table = np.tile(LEVELS, (1, spec.source_channels))
    data = batches(
        split,
        spec,
        batch_size=6,
        training=False,
        engine=engine,
        level_table=level_table,
    )
    for _ in range(2):
        images, labels = _collect(data)
        np.testing.assert_array_equal(
            images, normalize(split.images, spec.mean, spec.std)
        )
        np.testing.assert_array_equal(labels, split.labels)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "bloodmnist"])
def test_training_statistics(name):
    spec = SPECS[name]
    split = _split(spec, 200)
    images, _ = _collect(batches(split, spec, training=True, engine="pydataset"))
    mean, std = np.array(spec.mean), np.array(spec.std)
    pixels = images * std + mean
    assert pixels.min() >= -1e-5
    assert pixels.max() <= 1 + 1e-5
    # What moves out of the frame is replaced by black, nothing else is lost.
    black = (np.abs(pixels) < 1e-5).all(-1).mean()
    assert 0 < black < 0.25
    expected = split.images.mean() / 255 * (1 - black)
    assert abs(pixels.mean() - expected) < 0.01


def test_normalised_training_pixels_have_mean_zero_and_deviation_one():
    digits = datasets.load("digits")
    data = batches(digits.train, digits.spec, training=True, augmentation=())
    images, _ = _collect(data)
    assert abs(images.mean()) < 0.01
    assert abs(images.std() - 1) < 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_levels_are_replaced_in_training(engine):
    spec = FASHION
    images = np.tile(
        np.array([0, 60, 75, 165], "uint8").reshape(1, 2, 2, 1), (3, 14, 14, 1)
    )
    split = Split("train", images, np.zeros(3, "int32"), np.arange(3))
    data = batches(
        split, spec, training=True, augmentation=(), level_table=LEVELS, engine=engine
    )
    found, _ = _collect(data)
    by_hand = (np.array([[255, 195], [180, 90]]) / 255 - 0.2860) / 0.3530
    np.testing.assert_allclose(found[0, :2, :2, 0], by_hand, atol=1e-6)


def test_levels_are_replaced_before_the_augmentation():
    # Padding is black after the levels have been replaced: 0, not LEVELS[0] = 255.
    split = _split(FASHION, 64)
    split.images[:] = 0
    data = batches(split, FASHION, training=True, level_table=LEVELS, batch_size=64)
    found, _ = _collect(data)
    levels = np.rint((found * FASHION.std[0] + FASHION.mean[0]) * 255)
    assert set(np.unique(levels)) == {0.0, 255.0}


def test_grey_is_repeated():
    spec = SPECS["tissuemnist"]
    images, _ = batches(_split(spec, 4), spec, training=True, engine="pydataset")[0]
    assert images.shape == (4, 64, 64, 3)
    grey = images * np.array(spec.std) + np.array(spec.mean)
    np.testing.assert_allclose(grey[..., 0], grey[..., 1], atol=1e-5)
    np.testing.assert_allclose(grey[..., 0], grey[..., 2], atol=1e-5)


@pytest.mark.parametrize("engine", ENGINES)
def test_mixing_makes_one_hot_labels(engine):
    table = (Augmentation("flip"), Augmentation("mixup"), Augmentation("cutmix"))
    data = _fashion(engine, augmentation=table)
    images, labels = _collect(data)
    assert images.shape == (50, 28, 28, 1)
    assert labels.shape == (50, 10)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
    assert ((labels > 0).sum(1) > 1).any()
    validation = _fashion(engine, augmentation=table, training=False)
    _, labels = _collect(validation)
    assert set(np.unique(labels)) == {0.0, 1.0}
    with pytest.raises(ValueError, match="one_hot=False"):
        _fashion(engine, augmentation=table, one_hot=False)


@pytest.mark.parametrize("engine", ENGINES)
def test_shapes_and_types(engine):
    data = _fashion(engine)
    assert len(data) == 7
    shapes = [
        (np.asarray(x).shape, np.asarray(x).dtype, np.asarray(y).dtype) for x, y in data
    ]
    assert shapes[0] == ((8, 28, 28, 1), np.float32, np.int32)
    assert shapes[-1][0] == (2, 28, 28, 1)
    dropped = _fashion(engine, drop_remainder=True)
    assert [len(np.asarray(x)) for x, _ in dropped] == [8] * 6
    if engine == "tf.data":
        assert data.element_spec[0].shape.as_list() == [None, 28, 28, 1]


def test_tf_dataset_is_an_ordinary_one():
    import tensorflow as tf

    data = _fashion("tf.data", workers=3)
    assert isinstance(data, tf.data.Dataset)
    assert int(data.cardinality()) == len(data) == 7
    first = next(iter(data))[0].numpy()
    taken = list(data.take(2).map(lambda images, labels: images).as_numpy_iterator())
    np.testing.assert_array_equal(taken[0], first)
    assert [len(images) for images in taken] == [8, 8]
    assert len(list(data.unbatch())) == 50
    # Two epochs in a row, in order.
    twice = [labels.numpy() for _, labels in data.repeat(2)]
    assert len(twice) == 14
    again = _fashion("tf.data", initial_epoch=1)
    np.testing.assert_array_equal(np.concatenate(twice[:7]), _collect(again)[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_batches_are_prepared_ahead(engine, monkeypatch):
    made = []
    original = BatchSource.batch

    def batch(self, epoch, index):
        made.append(index)
        return original(self, epoch, index)

    monkeypatch.setattr(BatchSource, "batch", batch)
    iterator = iter(_fashion(engine, workers=2))
    next(iterator)
    # Nobody asks for a second batch; threads make it all the same.
    end = time.monotonic() + 20
    while len(made) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert {0, 1} <= set(made)


def test_workers_change_nothing():
    on_demand = _fashion(workers=0)
    ahead = _fashion(workers=3)
    for _ in range(2):
        np.testing.assert_array_equal(_collect(on_demand)[0], _collect(ahead)[0])


def test_batches_can_be_asked_for_in_any_order():
    data, other = _fashion(), _fashion()
    in_order = [data[index][1] for index in range(len(data))]
    for index in (3, 1, 5):
        np.testing.assert_array_equal(other[index][1], in_order[index])
    with pytest.raises(IndexError, match="There are 7 batches"):
        data[7]


@pytest.mark.parametrize("engine", ENGINES)
def test_multi_label(engine):
    spec = dataclasses.replace(FASHION, multi_label=True, num_classes=14)
    split = dataclasses.replace(_split(FASHION), labels=np.ones((50, 14), "int32"))
    _, labels = _collect(batches(split, spec, training=True, engine=engine))
    assert labels.shape == (50, 14)
    assert labels.dtype == np.float32


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"\(256, 1\)\. Received: uint8 .*\(256, 3\)"):
        _fashion(level_table=np.zeros((256, 3), "uint8"))
    with pytest.raises(ValueError, match="batch_size=0"):
        _fashion(batch_size=0)
    with pytest.raises(ValueError, match="engine='grain'"):
        _fashion("grain")
    with pytest.raises(ValueError, match="has no batch of batch_size=64"):
        _fashion(batch_size=64, drop_remainder=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("table", [None, (Augmentation("mixup"),)])
def test_replicas_share_the_same_batches(engine, table):
    options = {"augmentation": table, "replicas": 2, "engine": engine}
    whole, *parts = (
        [(np.asarray(x), np.asarray(y)) for x, y in _fashion(replica=r, **options)]
        for r in (None, 0, 1)
    )
    assert [len(labels) for _, labels in whole] == [8] * 6 + [2]
    for together, *shares in zip(whole, *parts, strict=True):
        for found, expected in zip(zip(*shares, strict=True), together, strict=True):
            np.testing.assert_array_equal(np.concatenate(found), expected)


def test_replicas_without_an_image_are_left_out():
    # 50 images: six batches of eight and two images, or one batch of 48 and two.
    assert len(_fashion(replicas=4)) == 6
    assert [len(y) for _, y in _fashion(batch_size=48, replicas=2)] == [48, 2]
    assert [len(y) for _, y in _fashion(batch_size=9, replicas=3)] == [9] * 5 + [3]
    with pytest.raises(ValueError, match="multiple of replicas=3"):
        _fashion(replicas=3)
