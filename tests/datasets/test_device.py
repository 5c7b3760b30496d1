"""Images on the device: the same batches as from the host, inside the step."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_gradattn.datasets import (
    SPECS,
    Augmentation,
    DeviceFeed,
    ImagesOnDevice,
    Split,
    batches,
)

MIXING = (Augmentation("flip"), Augmentation("mixup"), Augmentation("cutmix"))
MODERN = (
    Augmentation("flip"),
    Augmentation("crop", padding=4),
    Augmentation("random_augment"),
)


def _levels(channels):
    random = np.random.default_rng(channels)
    return random.integers(0, 256, (256, channels), dtype="uint8")


# Tables that move whole pixels, change levels, mix labels, and replace levels first.
CASES = {
    "fashion_mnist": {},
    "cifar10": {},
    "cifar10, modern": {"augmentation": MODERN},
    "cifar10, mixing": {"augmentation": MIXING},
    "fashion_mnist, other levels": {"level_table": _levels(1)},
    "cifar10, other levels": {"level_table": _levels(3)},
    "tissuemnist": {},
    "svhn": {},
}


def _spec(case):
    # A quarter of the size compiles the same and computes a sixteenth.
    spec = SPECS[case.split(",")[0]]
    return dataclasses.replace(spec, image_size=16)


def _split(spec, count=40, seed=0, name="train"):
    random = np.random.default_rng(seed)
    shape = (count, spec.image_size, spec.image_size, spec.source_channels)
    images = random.integers(0, 256, shape, dtype="uint8")
    labels = (np.arange(count) % spec.num_classes).astype("int32")
    return Split(name, images, labels, np.arange(count))


def _images(feed, inputs, training):
    return keras.ops.convert_to_numpy(feed._layer(inputs, training=training))


@pytest.mark.parametrize("case", CASES)
def test_batches_are_those_of_the_host(case):
    spec, settings = _spec(case), CASES[case]
    split = _split(spec)
    other = _split(spec, 24, seed=1, name="validation")
    options = {"batch_size": 16, "training": True, "seed": 5, "initial_epoch": 2}
    host = batches(split, spec, engine="pydataset", **options, **settings)
    # The part does not stand first on the device.
    feed = DeviceFeed((other, split), spec, **settings)
    device = feed.batches(split, **options)
    assert len(device) == len(host) == 3
    for index in range(3):
        images, labels = host[index]
        inputs, device_labels = device[index]
        found = _images(feed, inputs, training=True)
        assert found.dtype == images.dtype == np.float32
        assert found.shape == images.shape
        # A pixel on an edge may fall the other way when sums are rounded otherwise.
        assert (np.abs(found - images) < 1e-3).mean() > 0.998
        np.testing.assert_array_equal(device_labels, labels)
        assert device_labels.dtype == labels.dtype


@pytest.mark.parametrize("case", ["cifar10, mixing", "fashion_mnist, other levels"])
def test_validation_is_never_augmented(case):
    spec, settings = _spec(case), CASES[case]
    train, validation = _split(spec), _split(spec, 24, seed=1, name="validation")
    feed = DeviceFeed((train, validation), spec, **settings)
    data = feed.batches(validation, batch_size=10, training=False)
    host = batches(validation, spec, batch_size=10, training=False, engine="pydataset")
    for (inputs, _), (images, _) in zip(data, host, strict=True):
        found = _images(feed, inputs, training=False)
        np.testing.assert_allclose(found, images, atol=1e-6)


def test_statistics_equal_those_of_the_host():
    spec = _spec("fashion_mnist")
    split = _split(spec, 400)
    feed = DeviceFeed((split,), spec)
    found, expected = [], []
    for data, images in (
        (feed.batches(split, batch_size=200, training=True), found),
        (batches(split, spec, batch_size=200, training=True), expected),
    ):
        for inputs, _ in data:
            if images is found:
                inputs = _images(feed, inputs, training=True)
            images.append(np.asarray(inputs))
    found, expected = np.concatenate(found), np.concatenate(expected)
    assert abs(found.mean() - expected.mean()) < 1e-3
    assert abs(found.std() - expected.std()) < 1e-3
    pixels = found * spec.std[0] + spec.mean[0]
    assert -1e-5 <= pixels.min() < 1e-5 < 1 - 1e-5 < pixels.max() <= 1 + 1e-5


def test_moves_stay_within_their_limits():
    spec = dataclasses.replace(SPECS["fashion_mnist"], mean=(0.0,), std=(1.0,))
    images = np.zeros((500, 28, 28, 1), "uint8")
    images[:, 14, 14] = 255
    split = Split("train", images, np.zeros(500, "int32"), np.arange(500))
    feed = DeviceFeed((split,), spec, augmentation=[Augmentation("translation")])
    (inputs, _), *_ = feed.batches(split, batch_size=500, training=True)
    found = _images(feed, inputs, training=True)
    places = np.argwhere(found[..., 0] > 0.99)[:, 1:] - 14
    # A tenth of 28 pixels is 2.8: three whole pixels at most, and that often.
    assert set(np.unique(places)) == set(range(-3, 4))


def _network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )


def _compile(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.01), loss, metrics=["accuracy"])
    return model


def test_training_gives_the_same_network():
    spec = _spec("fashion_mnist")
    train, validation = _split(spec), _split(spec, 24, seed=1, name="validation")
    options = {"batch_size": 16, "seed": 1}
    host, network = _compile(_network()), _network()
    feed = DeviceFeed((train, validation), spec)
    device = _compile(feed.connect(network))
    assert device.untapped is network
    histories = []
    for model, give in (
        (host, lambda *a, **k: batches(*a, spec, engine="pydataset", **k)),
        (device, feed.batches),
    ):
        history = model.fit(
            give(train, training=True, **options),
            validation_data=give(validation, training=False, **options),
            epochs=2,
            shuffle=False,
            verbose=0,
        )
        histories.append(history.history)
    for name, values in histories[0].items():
        np.testing.assert_allclose(histories[1][name], values, rtol=1e-3)
    for found, expected in zip(network.get_weights(), host.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    on_device = keras.ops.convert_to_numpy(feed._layer.images)
    both = np.concatenate([train.images, validation.images])
    np.testing.assert_array_equal(on_device, both)
    assert on_device.dtype == np.uint8


def test_half_precision_leaves_the_pixels_alone():
    spec = _spec("fashion_mnist")
    split = _split(spec)
    keras.config.set_dtype_policy("mixed_bfloat16")
    layer = ImagesOnDevice(split.images, spec)
    inputs = {"rows": np.arange(8), "numbers": np.full((8, 4), 0.7, "float32")}
    found = keras.ops.convert_to_numpy(layer(inputs, training=True))
    keras.config.set_dtype_policy("float32")
    expected = keras.ops.convert_to_numpy(
        ImagesOnDevice(split.images, spec)(inputs, training=True)
    )
    np.testing.assert_array_equal(found, expected)


def test_a_part_that_is_not_on_the_device():
    spec = _spec("fashion_mnist")
    feed = DeviceFeed((_split(spec),), spec)
    with pytest.raises(ValueError, match=r"on the device, train\. Received: the test"):
        feed.batches(_split(spec, name="test"), training=False)
