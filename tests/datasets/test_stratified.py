"""Divisions that keep shares of classes, and groups together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from keras_gradattn.datasets.stratified import (
    rare_classes,
    shares_of,
    stratified_split,
)

pytestmark = pytest.mark.any_backend
SHARES = (0.7, 0.15, 0.15)
PARTS = ("train", "validation", "test")


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=12),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_every_image_once_and_every_class_in_its_share(counts, seed):
    labels = np.random.default_rng(seed).permutation(
        np.repeat(np.arange(len(counts)), counts)
    )
    rows = stratified_split(labels, SHARES, seed)
    together = np.sort(np.concatenate([rows[part] for part in PARTS]))
    np.testing.assert_array_equal(together, np.arange(len(labels)))
    for code, count in enumerate(counts):
        sizes = [int((labels[rows[part]] == code).sum()) for part in PARTS]
        if count < 3:
            assert sizes == [count, 0, 0]
            continue
        assert min(sizes) >= 1
        for size, share in zip(sizes, SHARES, strict=True):
            assert abs(size - share * count) < 2


def test_sizes_are_scikit_learns():
    labels = np.random.default_rng(0).integers(0, 7, 1000)
    rows = stratified_split(labels, SHARES, seed=1)
    train, rest = train_test_split(np.arange(1000), train_size=0.7, stratify=labels)
    theirs, ours = np.bincount(labels[train]), np.bincount(labels[rows["train"]])
    assert (len(train), len(rest)) == (len(rows["train"]), 300)
    np.testing.assert_allclose(ours, theirs, atol=1)


def test_the_seed_decides():
    labels = np.arange(100) % 4
    first, same, other = (stratified_split(labels, SHARES, seed) for seed in (1, 1, 2))
    for part in PARTS:
        np.testing.assert_array_equal(first[part], same[part])
    assert (first["train"] != other["train"]).any()


def test_a_part_without_a_share_gets_nothing():
    rows = stratified_split(np.arange(40) % 2, (0.85, 0.0, 0.15), seed=0)
    assert [len(rows[part]) for part in PARTS] == [34, 0, 6]


@given(
    members=st.lists(st.integers(0, 40), min_size=30, max_size=200),
    classes=st.integers(2, 4),
    seed=st.integers(0, 100),
    multi_label=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_groups_stay_together(members, classes, seed, multi_label):
    random = np.random.default_rng(seed)
    groups = np.array([*members, 50, 51, 52])
    shape = (len(groups), classes) if multi_label else len(groups)
    labels = random.integers(0, 2 if multi_label else classes, shape)
    rows = stratified_split(labels, SHARES, seed, groups=groups)
    together = np.sort(np.concatenate([rows[part] for part in PARTS]))
    np.testing.assert_array_equal(together, np.arange(len(groups)))
    parts = [set(groups[rows[part]]) for part in PARTS]
    assert sum(map(len, parts)) == len(set(groups.tolist()))


def test_groups_keep_the_shares_of_classes():
    random = np.random.default_rng(0)
    groups = random.integers(0, 300, 2000)
    labels = np.where(groups % 10 == 0, 1, 0)
    rows = stratified_split(labels, SHARES, seed=0, groups=groups)
    for part, share in zip(PARTS, SHARES, strict=True):
        assert len(rows[part]) == pytest.approx(share * 2000, abs=20)
        assert labels[rows[part]].mean() == pytest.approx(labels.mean(), abs=0.02)


def test_rare_classes_are_counted_in_images_and_groups():
    labels = np.array([0, 0, 0, 0, 1, 1])
    assert rare_classes(labels, None, 3).tolist() == [[1, 2]]
    groups = np.array([5, 5, 6, 6, 7, 8])
    assert rare_classes(labels, groups, 3).tolist() == [[0, 2], [1, 2]]


def test_ten_thousand_classes():
    labels = np.repeat(np.arange(10_000), 4)
    rows = stratified_split(labels, SHARES, seed=0)
    for part in PARTS:
        assert len(np.unique(labels[rows[part]])) == 10_000


@pytest.mark.parametrize(
    ("validation", "test"), [(0, 0.1), (0.1, 1), (0.5, 0.5), (True, 0.1), (-1, 0.5)]
)
def test_wrong_shares(validation, test):
    with pytest.raises(ValueError, match="Received: "):
        shares_of(validation, test)
