"""Augmentation against Pillow, by statistics, and on every backend."""

import colorsys
import copy
import itertools
import pickle

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gradattn.datasets import SPECS, Augmentation
from keras_gradattn.datasets.augmentation import (
    OPERATIONS,
    Augmenter,
    RandomAugmentation,
    operation,
)
from keras_gradattn.datasets.augmentation.mixing import beta_quantiles

TABLES = {
    **{
        name: SPECS[name].augmentation
        for name in ("cifar10", "fashion_mnist", "bloodmnist", "pad_ufes_20")
    },
    **{
        name: (Augmentation(name),)
        for name in ("random_erasing", "random_augment", "mixup", "cutmix")
    },
}


def _images(batch=64, size=16, channels=3, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (batch, size, size, channels), dtype="uint8")


def _augment(entries, images, seed=0, labels=None, numbers=None):
    augmenter = Augmenter(entries)
    if numbers is None:
        shape = (len(images), augmenter.numbers)
        numbers = np.random.default_rng(seed).random(shape, "float32")
    return augmenter(images, labels, numbers)


def _one(name, images, *numbers, **options):
    numbers = np.tile(np.array(numbers, "float32"), (len(images), 1))
    return _augment([Augmentation(name, **options)], images, numbers=numbers)[0]


def test_flip_mirrors_half_of_the_images():
    images = _images(2000, 4)
    result, _ = _augment([Augmentation("flip")], images)
    mirrored = (result == images[:, :, ::-1]).all((1, 2, 3))
    same = (result == images).all((1, 2, 3))
    assert (mirrored ^ same).all()
    assert 0.46 < mirrored.mean() < 0.54


@pytest.mark.parametrize("angle", [-10, -7.3, 0, 2.5, 10])
@pytest.mark.parametrize("size", [28, 33])
def test_rotation_against_pillow(angle, size):
    image = _images(1, size)
    found = _one("rotation", image, (angle / 10 + 1) / 2, degrees=10)[0]
    expected = np.asarray(Image.fromarray(image[0]).rotate(angle))
    # Pillow's fixed-point steps may fall the other way on a pixel's very edge.
    assert (found == expected).mean() > 0.995


def test_rotation_stays_within_its_limit():
    blob = np.zeros((400, 101, 101, 1), "uint8")
    blob[:, 49:52, 90:93] = 1
    result, _ = _augment([Augmentation("rotation", degrees=10)], blob)
    weight = result[..., 0] / result.sum((1, 2, 3))[:, None, None]
    row = (weight.sum(2) * np.arange(101)).sum(1) - 50
    column = (weight.sum(1) * np.arange(101)).sum(1) - 50
    angles = np.degrees(np.arctan2(-row, column))
    # A third of a pixel at a distance of 41 is half a degree.
    assert np.abs(angles).max() < 10.5
    assert angles.max() > 9
    assert angles.min() < -9
    assert abs(angles.mean()) < 1
    assert abs(angles.std() - 10 / np.sqrt(3)) < 0.5


@pytest.mark.parametrize("size", [28, 32])
def test_translation_moves_whole_pixels(size):
    dot = np.zeros((3000, size, size, 1), "uint8")
    dot[:, size // 2, size // 2] = 9
    result, _ = _augment([Augmentation("translation", fraction=0.1)], dot)
    place = np.array(np.nonzero(result[..., 0])[1:]) - size // 2
    assert place.shape == (2, 3000)
    # 28 pixels: 2.8, so up to 3; 3 has 0.3 of the share of 1, each side.
    assert np.abs(place).max() == 3
    shares = np.bincount(place[0] + 3) / 3000
    edge = (0.1 * size - 2.5) / (0.2 * size)
    np.testing.assert_allclose(shares[[0, 6]], edge, atol=0.02)
    np.testing.assert_allclose(shares[1:6], 1 / (0.2 * size), atol=0.03)
    assert abs(np.corrcoef(place)[0, 1]) < 0.1


def test_translation_fills_with_zero():
    result = _one("translation", np.full((1, 10, 10, 3), 7, "uint8"), 1.0, 0.5)
    assert (result[0, 0] == 0).all()
    assert (result[0, 1:] == 7).all()


def test_crop_equals_padding_and_cutting():
    images = _images(81, 32)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    places = np.array(list(itertools.product(range(9), range(9))))
    numbers = ((places + 0.5) / 9).astype("float32")
    result, _ = _augment([Augmentation("crop", padding=4)], images, numbers=numbers)
    for image, found, (row, column) in zip(padded, result, places, strict=True):
        np.testing.assert_array_equal(
            found, image[row : row + 32, column : column + 32]
        )


def test_fused_moves_equal_one_after_the_other():
    images = _images(32, 28, 1)
    entries = SPECS["fashion_mnist"].augmentation
    augmenter = Augmenter(entries)
    numbers = np.random.default_rng(0).random((32, augmenter.numbers), "float32")
    fused, _ = augmenter(images, None, numbers)
    single, first = images, 0
    for entry in entries:
        count = operation(entry).numbers
        own = numbers[:, first : first + count]
        single, _ = _augment([entry], single, numbers=own)
        first += count
    np.testing.assert_array_equal(fused, single)
    assert fused.dtype == np.uint8


def test_what_has_left_the_frame_does_not_come_back():
    images = np.full((1, 20, 20, 1), 5, "uint8")
    entries = [Augmentation("translation", fraction=0.5)] * 2
    numbers = np.array([[1.0, 0.5, 0.0, 0.5]], "float32")
    result, _ = _augment(entries, images, numbers=numbers)
    # Down by ten and up again: the lower half was lost.
    assert (result[0, :10] == 5).all()
    assert (result[0, 10:] == 0).all()


def test_brightness_multiplies():
    images = np.full((2000, 2, 2, 3), 100, "uint8")
    result, _ = _augment([Augmentation("brightness", amount=0.1)], images)
    factors = result[:, 0, 0, 0] / 100
    assert (result == result[:, :1, :1, :1]).all()
    assert 0.9 <= factors.min() < 0.905
    assert 1.095 < factors.max() <= 1.1
    assert abs(factors.mean() - 1) < 0.005
    assert abs(factors.std() - 0.1 / np.sqrt(3)) < 0.005


def test_brightness_stays_in_range():
    result = _one("brightness", np.full((1, 2, 2, 3), 250, "uint8"), 1.0, amount=0.5)
    assert (result == 255).all()


@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_against_pillow(factor, channels):
    from PIL import ImageEnhance

    image = _images(1, 24, channels)
    found = _one("contrast", image, 1 if factor > 1 else 0, amount=0.1)[0]
    picture = Image.fromarray(image[0] if channels == 3 else image[0, ..., 0])
    expected = np.asarray(ImageEnhance.Contrast(picture).enhance(factor))
    # Pillow rounds its mean and its result to whole levels.
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1.2


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_saturation_against_pillow(factor):
    from PIL import ImageEnhance

    image = _images(1, 24)
    picture = ImageEnhance.Color(Image.fromarray(image[0]))
    expected = np.asarray(picture.enhance(factor))
    numbers = (0.5, 0.5, 1 if factor > 1 else 0, 0.5, 0, 0.1, 0.2, 0.3)
    found = _one("color_jitter", image, *numbers, saturation=0.2)[0]
    assert np.abs(found - expected).max() < 1.7


@pytest.mark.parametrize("turn", [-0.1, 0.05, 0.1])
def test_hue_against_colorsys(turn):
    image = _images(1, 12)
    numbers = (0.5, 0.5, 0.5, (turn / 0.1 + 1) / 2, 0, 0.1, 0.2, 0.3)
    found = _one("color_jitter", image, *numbers, hue=0.1)[0]
    for place in np.ndindex(12, 12):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[0][place] / 255)
        expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
        np.testing.assert_allclose(found[place] / 255, expected, atol=2e-4)


def test_color_jitter_takes_every_order():
    # Brightness then contrast clip differently from contrast then brightness.
    images = np.repeat(_images(1, 8), 600, axis=0)
    strength = np.tile(np.array([1, 1, 1, 1], "float32"), (600, 1))
    keys = np.random.default_rng(0).random((600, 4), "float32")
    options = {"brightness": 0.9, "contrast": 0.9, "saturation": 0.9, "hue": 0.1}
    result, _ = _augment(
        [Augmentation("color_jitter", **options)],
        images,
        numbers=np.concatenate([strength, keys], axis=1),
    )
    ranks = np.argsort(np.argsort(keys, axis=1), axis=1)
    by_order = {}
    for order, image in zip(map(tuple, ranks), result, strict=True):
        by_order.setdefault(order, []).append(image)
    assert len(by_order) == 24
    for same in by_order.values():
        np.testing.assert_array_equal(same, [same[0]] * len(same))
    # Hue keeps the grey level only roughly, so that nearly all orders differ.
    assert len({same[0].tobytes() for same in by_order.values()}) > 12


def test_random_resized_crop_against_pillow():
    image = _images(1, 64)
    entry = Augmentation("random_resized_crop", scale=(0.8, 1.0))
    for seed in range(20):
        numbers = np.random.default_rng(seed).random((1, 22), "float32")
        found, _ = _augment([entry], image, numbers=numbers)
        box = _first_box(numbers[0], 64)
        crop = Image.fromarray(image[0]).crop(box)
        expected = crop.resize((64, 64), Image.Resampling.BILINEAR)
        assert np.abs(found[0] - np.asarray(expected)).max() < 1.6


def _first_box(numbers, size):
    for area, shape in zip(numbers[:10], numbers[10:20], strict=True):
        area = (0.8 + 0.2 * area) * size * size
        ratio = np.exp(np.log(3 / 4) + (np.log(4 / 3) - np.log(3 / 4)) * shape)
        width, height = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if width <= size and height <= size:
            top = int(numbers[20] * (size - height + 1))
            left = int(numbers[21] * (size - width + 1))
            return (left, top, left + width, top + height)
    return (0, 0, size, size)


def test_random_resized_crop_keeps_most_of_the_area():
    grid = np.indices((32, 32)).astype("uint8") * 8
    images = np.repeat(np.moveaxis(grid, 0, -1)[None], 500, axis=0)
    result, _ = _augment([Augmentation("random_resized_crop")], images)
    spread = (np.ptp(result, axis=(1, 2)) / 8 + 1) / 32
    area = spread.prod(axis=1)
    assert 0.76 < area.min() < 0.83
    assert area.max() <= 1.001
    ratio = spread[:, 1] / spread[:, 0]
    assert 0.7 < ratio.min() < 0.85
    assert 1.2 < ratio.max() < 1.4


def test_mixup_mixes_images_and_labels_alike():
    labels = np.eye(64, dtype="float32")
    images = np.repeat(labels[:, None, :, None], 8, axis=1) * 255
    mixed, targets = _augment([Augmentation("mixup", alpha=1.0)], images, labels=labels)
    np.testing.assert_allclose(mixed[:, 3, :, 0] / 255, targets, atol=1e-5)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-5)
    own = np.diag(targets)
    assert own.min() < 0.15
    assert own.max() > 0.85


def test_cutmix_mixes_by_area():
    images = np.zeros((400, 20, 20, 1), "float32")
    images[::2] = 255
    labels = np.eye(2, dtype="float32")[np.arange(400) % 2]
    mixed, targets = _augment([Augmentation("cutmix")], images, labels=labels)
    np.testing.assert_allclose(mixed.mean((1, 2, 3)) / 255, targets[:, 0], atol=1e-5)
    changed = mixed != images
    # What is changed is one box: as many pixels as its rows times its columns.
    rows, columns = changed.any(2).sum(1)[:, 0], changed.any(1).sum(1)[:, 0]
    np.testing.assert_array_equal(changed.sum((1, 2, 3)), rows * columns)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_takes_its_share_of_images(name):
    images = _images(4000, 4).astype("float32")
    labels = np.eye(4000, dtype="float32")[:, :1]
    entry = Augmentation(name, alpha=1.0, probability=0.25)
    mixed, _ = _augment([entry], images, labels=labels)
    share = (mixed != images).any((1, 2, 3)).mean()
    assert 0.15 < share < 0.29


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1.0, 2.0])
def testbeta_quantiles_against_scipy(alpha):
    from scipy import stats

    found = beta_quantiles(alpha)
    expected = stats.beta(alpha, alpha).ppf(np.linspace(0, 1, len(found)))
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_random_erasing_fills_with_the_mean():
    images = _images(2000, 16)
    result, _ = _augment([Augmentation("random_erasing")], images)
    changed = (result != images).any(-1)
    touched = changed.any((1, 2))
    assert 0.2 < touched.mean() < 0.3
    share = changed[touched].mean((1, 2))
    assert share.max() < 0.45
    first = np.flatnonzero(touched)[0]
    filled = result[first][changed[first]]
    mean = images[first].mean((0, 1))
    np.testing.assert_allclose(filled, np.tile(mean, (len(filled), 1)), atol=1e-3)


def test_random_augment_changes_most_images_and_stays_in_range():
    images = _images(500, 16)
    result, _ = _augment([Augmentation("random_augment")], images)
    assert result.min() >= 0
    assert result.max() <= 255
    changed = (np.abs(result - images) > 1e-3).any((1, 2, 3))
    # Two draws of twelve, one of them "leave it": 1 - 1 / 144.
    assert changed.mean() > 0.95


@pytest.mark.parametrize("name", TABLES)
def test_one_image_s_choice_does_not_touch_another(name):
    images = _images(8, 16)
    labels = np.eye(8, dtype="float32")
    augmenter = Augmenter(TABLES[name])
    numbers = np.random.default_rng(0).random((8, augmenter.numbers), "float32")
    other = numbers.copy()
    other[5] = np.random.default_rng(1).random(augmenter.numbers, "float32")
    before, _ = augmenter(images, labels, numbers)
    after, _ = augmenter(images, labels, other)
    differs = (before != after).any((1, 2, 3))
    assert not differs[np.arange(8) != 5].any()


@pytest.mark.parametrize("name", TABLES)
def test_every_backend_agrees_with_numpy(name):
    images = _images(16, 20).astype("float32")
    labels = np.eye(16, dtype="float32")
    augmenter = Augmenter(TABLES[name])
    numbers = np.random.default_rng(3).random((16, augmenter.numbers), "float32")
    expected, expected_labels = augmenter(images, labels, numbers)
    found, found_labels = augmenter(
        keras.ops.convert_to_tensor(images),
        keras.ops.convert_to_tensor(labels),
        keras.ops.convert_to_tensor(numbers),
        keras.ops,
    )
    found = keras.ops.convert_to_numpy(found)
    # A pixel on an edge may fall the other way when sums are rounded otherwise.
    assert (np.abs(found - expected) < 0.05).mean() > 0.998
    found_labels = keras.ops.convert_to_numpy(found_labels)
    np.testing.assert_allclose(found_labels, expected_labels, atol=1e-5)


def test_layer_augments_in_training_only():
    layer = RandomAugmentation(SPECS["cifar10"].augmentation, seed=1)
    images = _images(8, 32).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(layer(images, training=False)), images
    )
    first = keras.ops.convert_to_numpy(layer(images, training=True))
    second = keras.ops.convert_to_numpy(layer(images, training=True))
    assert (first != images).any()
    assert (first != second).any()


def test_layer_trains_inside_a_compiled_step_and_is_saved(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            RandomAugmentation(SPECS["pad_ufes_20"].augmentation, seed=2),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(_images(8, 16).astype("float32") / 255, np.arange(8) % 2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(
        tmp_path / "model.keras",
        custom_objects={"RandomAugmentation": RandomAugmentation},
    )
    assert loaded.layers[0].augmentation == SPECS["pad_ufes_20"].augmentation


def test_layer_mixes_a_dictionary():
    layer = RandomAugmentation([Augmentation("mixup")], seed=0)
    inputs = {"images": np.ones((4, 2, 2, 1), "float32"), "labels": np.eye(4)}
    result = layer(inputs, training=True)
    labels = keras.ops.convert_to_numpy(result["labels"])
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="needs a dictionary"):
        layer(inputs["images"], training=True)


def test_unknown_augmentation_and_option():
    with pytest.raises(ValueError, match="Did you mean 'rotation'"):
        operation(Augmentation("rotatoin"))
    with pytest.raises(ValueError, match="has the options degrees"):
        operation(Augmentation("rotation", angle=10))


def test_entries_are_plain_data():
    entry = Augmentation("crop", padding=4)
    assert entry == Augmentation(**entry.to_dict())
    assert pickle.loads(pickle.dumps(entry)) == copy.deepcopy(entry) == entry
    assert hash(entry) == hash(Augmentation("crop", padding=4))
    assert entry != Augmentation("crop", padding=2)
    assert repr(entry) == "Augmentation('crop', padding=4)"
    with pytest.raises(AttributeError):
        entry.name = "flip"


def test_every_operation_runs_with_its_defaults():
    for name in OPERATIONS:
        images, _ = _augment(
            [Augmentation(name)], _images(4, 12), labels=np.eye(4, dtype="float32")
        )
        assert images.shape == (4, 12, 12, 3)
        assert 0 <= images.min() <= images.max() <= 255
