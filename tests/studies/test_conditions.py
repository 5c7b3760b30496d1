"""What is done to a data set before a run."""

import numpy as np
import pytest
from PIL import Image

from keras_gradattn import datasets
from keras_gradattn.datasets import DatasetSplits, Split
from studies import reduced
from studies.conditions import with_label_noise, with_mixed_resolutions

pytestmark = pytest.mark.any_backend


def some_splits(count=600, first=0):
    random = np.random.default_rng(0)

    def split(name, start):
        images = random.integers(0, 256, (count, 32, 32, 3), dtype="uint8")
        labels = random.integers(0, 200, count).astype("int32")
        return Split(name, images, labels, np.arange(start, start + count))

    parts = ("train", "validation", "test")
    return DatasetSplits(
        reduced.TINY_IMAGENET_32,
        *(split(name, first + count * index) for index, name in enumerate(parts)),
    )


def test_two_fifths_of_the_training_labels_are_drawn_anew():
    splits = some_splits(10_000)
    noisy = with_label_noise(splits)
    changed = (noisy.train.labels != splits.train.labels).mean()
    # One in 200 is drawn as it was.
    assert 0.39 < changed <= 0.4
    assert np.bincount(noisy.train.labels, minlength=200).min() > 0
    again = with_label_noise(splits)
    np.testing.assert_array_equal(noisy.train.labels, again.train.labels)


def test_noise_leaves_images_and_other_parts_alone():
    splits = some_splits()
    noisy = with_label_noise(splits)
    assert noisy.train.images is splits.train.images
    assert noisy.validation is splits.validation
    assert noisy.test is splits.test


def test_images_are_reduced_as_pillow_reduces_them():
    splits = some_splits(60)
    mixed = with_mixed_resolutions(splits)
    found = []
    for before, after in zip(splits.test.images, mixed.test.images, strict=True):
        image = Image.fromarray(before)
        expected = {
            factor: np.asarray(
                image.resize((32 // factor,) * 2, Image.BILINEAR).resize(
                    (32, 32), Image.BILINEAR
                )
            )
            for factor in (1, 2, 4)
        }
        found.append(
            next(f for f, e in expected.items() if np.abs(e - 1.0 * after).max() <= 1)
        )
    assert set(found) == {1, 2, 4}


def test_an_image_looks_the_same_in_a_smaller_part():
    whole = some_splits(100)
    few = whole.train
    few = Split("train", few.images[10:20], few.labels[10:20], few.rows[10:20])
    splits = DatasetSplits(whole.spec, few, whole.validation, whole.test)
    np.testing.assert_array_equal(
        with_mixed_resolutions(splits).train.images,
        with_mixed_resolutions(whole).train.images[10:20],
    )


def test_the_name_says_what_is_done(monkeypatch):
    splits = some_splits()
    monkeypatch.setattr(reduced.loading, "load", lambda name, **options: splits)
    plain = reduced.load("tiny_imagenet_32")
    noisy = reduced.load("tiny_imagenet_32_label_noise")
    mixed = reduced.load("tiny_imagenet_32_mixed_resolutions")
    assert plain is splits
    assert (noisy.train.labels != splits.train.labels).any()
    assert (mixed.test.images != splits.test.images).any()


def test_registered_data_sets_are_known_to_the_package(monkeypatch):
    monkeypatch.setattr(datasets, "load", datasets.load)
    monkeypatch.setattr(datasets, "SPECS", datasets.SPECS)
    before = dict(datasets.SPECS)
    try:
        reduced.register()
        assert datasets.spec("tiny_imagenet_32_label_noise").image_size == 32
        assert datasets.load is reduced.load
    finally:
        for name in set(datasets.SPECS) - set(before):
            del datasets.SPECS[name]
