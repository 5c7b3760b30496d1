"""Loading by name: splits, formats, subsets, bad input."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import datasets
from keras_gradattn.datasets import SPECS, _npz, loading
from keras_gradattn.datasets.splits import group_split, random_split, split_sizes
from tests.datasets.small_archives import write_med_mnist

PARTS = ("train", "validation", "test")
# How many images the merged sources hold.
MERGED = {
    "tiny_imagenet": 110_000,
    "cifar10": 60_000,
    "svhn": 630_420,
    "fashion_mnist": 70_000,
    "pad_ufes_20": 2_298,
    "digits": 1_797,
}
PUBLISHED = {
    "tiny_imagenet": (77_000, 16_500, 16_500),
    "cifar10": (42_000, 9_000, 9_000),
    "svhn": (441_294, 94_563, 94_563),
    "fashion_mnist": (49_000, 10_500, 10_500),
    "tissuemnist": (165_466, 23_640, 47_280),
    "bloodmnist": (11_959, 1_712, 3_421),
    "pcam": (262_144, 32_768, 32_768),
    "pad_ufes_20": (1_608, 344, 346),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_split_sizes_are_the_published_ones(name):
    assert tuple(SPECS[name].split_sizes[part] for part in PARTS) == PUBLISHED[name]


@pytest.mark.parametrize("name", MERGED)
def test_random_splits_have_the_published_sizes_and_are_disjoint(name):
    count = MERGED[name]
    assert split_sizes(count) == dict(SPECS[name].split_sizes)
    rows = random_split(count, seed=42)
    assert {part: len(found) for part, found in rows.items()} == split_sizes(count)
    together = np.sort(np.concatenate(list(rows.values())))
    np.testing.assert_array_equal(together, np.arange(count))


def test_random_splits_repeat_for_a_seed():
    first, same, other = (random_split(500, seed) for seed in (1, 1, 2))
    for part in PARTS:
        np.testing.assert_array_equal(first[part], same[part])
    assert (first["train"] != other["train"]).any()


@given(count=st.integers(0, 3000), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_random_splits_hold_every_image_once(count, seed):
    rows = random_split(count, seed)
    together = np.sort(np.concatenate([rows[part] for part in PARTS]))
    np.testing.assert_array_equal(together, np.arange(count))


@given(
    members=st.lists(st.integers(0, 60), min_size=3, max_size=300),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_group_splits_keep_groups_together(members, seed):
    members = np.array([-1, -2, -3, *members])
    rows = group_split(members, seed)
    together = np.sort(np.concatenate([rows[part] for part in PARTS]))
    np.testing.assert_array_equal(together, np.arange(len(members)))
    parts = [set(members[rows[part]]) for part in PARTS]
    assert all(parts)
    assert sum(map(len, parts)) == len(set(members))
    again = group_split(members, seed)
    np.testing.assert_array_equal(rows["test"], again["test"])


def test_group_splits_come_close_to_the_published_sizes():
    # As PAD-UFES-20: 2,298 images of 1,373 patients.
    random = np.random.default_rng(0)
    patients = np.concatenate([np.arange(1373), random.integers(0, 1373, 925)])
    rows = group_split(np.char.add("PAT_", patients.astype(str)), seed=42)
    largest = np.bincount(patients).max()
    for part, size in split_sizes(2298).items():
        assert abs(len(rows[part]) - size) <= largest


def test_group_split_needs_three_groups():
    with pytest.raises(ValueError, match="Received: 2 groups"):
        group_split(np.array([0, 1, 1, 0]), seed=0)


def test_digits():
    digits = datasets.load("digits")
    assert [len(getattr(digits, part)) for part in PARTS] == [1257, 269, 271]
    assert digits.train.images.shape == (1257, 8, 8, 1)
    assert digits.train.images.dtype == np.uint8
    from sklearn.datasets import load_digits

    source = load_digits()
    for part in PARTS:
        split = getattr(digits, part)
        np.testing.assert_array_equal(split.labels, source.target[split.rows])
        scaled = source.images[split.rows] * 255 / 16
        assert np.abs(split.images[..., 0] - scaled).max() <= 0.5
    pixels = np.concatenate([getattr(digits, part).images for part in PARTS]) / 255
    assert abs(pixels.mean() - digits.spec.mean[0]) < 1e-4
    assert abs(pixels.std() - digits.spec.std[0]) < 2e-4


def test_limit_takes_a_seeded_subset_of_the_same_split():
    whole = datasets.load("digits")
    few = datasets.load("digits", limit=30)
    assert [len(getattr(few, part)) for part in PARTS] == [30, 30, 30]
    for part in PARTS:
        assert set(getattr(few, part).rows) <= set(getattr(whole, part).rows)
    again = datasets.load("digits", limit=30)
    np.testing.assert_array_equal(few.train.images, again.train.images)
    assert len(datasets.load("digits", limit=10_000).train) == 1257


def test_med_mnist_file_is_read_as_given(blood_cells):
    folder, arrays = blood_cells
    data = datasets.load("pbc28", data_dir=folder)
    assert data.spec.title == "PBC-28"
    assert data.train.images.shape == (24, 64, 64, 3)
    np.testing.assert_array_equal(data.test.labels, arrays["test_labels"][:, 0])
    # A constant image stays what it is when enlarged.
    mean = arrays["train_images"].mean((1, 2, 3))
    np.testing.assert_allclose(data.train.images.mean((1, 2, 3)), mean, atol=1.5)


def test_official_bloodmnist_is_not_pbc28(blood_cells):
    folder, _ = blood_cells
    with pytest.warns(UserWarning, match=r"MD5 sum should be 7053d.*'pbc28'"):
        datasets.load("bloodmnist", data_dir=folder)
    data = datasets.load("bloodmnist", data_dir=folder, verify=False)
    assert len(data.train) == 24


def test_med_mnist_file_is_found_in_its_usual_folder(tmp_path):
    (tmp_path / "medmnist").mkdir()
    write_med_mnist(tmp_path / "medmnist" / "tissuemnist.npz", "tissuemnist")
    data = datasets.load("tissuemnist", data_dir=tmp_path, verify=False)
    assert data.train.images.shape == (24, 64, 64, 1)


def _rewrite(folder, **changes):
    path = folder / "bloodmnist.npz"
    with np.load(path) as arrays:
        arrays = {**arrays, **changes}
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_npz(blood_cells, share):
    folder, _ = blood_cells
    path = folder / "bloodmnist.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"bloodmnist.npz cannot be read.*damaged"):
        datasets.load("pbc28", data_dir=folder)


@pytest.mark.parametrize("compressed", [False, True])
def test_corrupt_npz(blood_cells, compressed):
    folder, arrays = blood_cells
    path = folder / "bloodmnist.npz"
    if compressed:
        np.savez_compressed(path, **arrays)
    content = bytearray(path.read_bytes())
    middle = len(content) // 3
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bloodmnist.npz cannot be read.*damaged"):
        datasets.load("pbc28", data_dir=folder)


class _Trap:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_npz_is_read_without_pickle(blood_cells):
    folder, _ = blood_cells
    trap = np.array([_Trap(folder / "sprung")], dtype=object)
    _rewrite(folder, train_images=trap)
    with pytest.raises(ValueError, match="cannot be read as a MedMNIST file"):
        datasets.load("pbc28", data_dir=folder)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_streaming_reads_what_reading_at_once_does(blood_cells, compressed):
    folder, arrays = blood_cells
    path = folder / "bloodmnist.npz"
    arrays["train_images"] = arrays["train_images"][..., 0]
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    for part, (images, labels) in _npz.read_npz(path).items():
        streamed = zip(*_npz.stream_npz(path, part), strict=True)
        for found, expected in zip(streamed, (images, labels), strict=True):
            np.testing.assert_array_equal(np.stack(found), expected)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_streaming_a_truncated_npz(blood_cells, share):
    folder, _ = blood_cells
    path = folder / "bloodmnist.npz"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"bloodmnist.npz cannot be read.*damaged"):
        list(_npz.stream_npz(path, "train"))


def test_streaming_takes_no_pickle_and_no_other_layout(blood_cells):
    folder, arrays = blood_cells
    path = folder / "bloodmnist.npz"
    trap = np.array([_Trap(folder / "sprung")], dtype=object)
    columns = np.asfortranarray(arrays["train_images"])
    for wrong, message in (
        ({"train_images": trap}, "should be uint8"),
        ({"train_labels": trap}, "cannot be read"),
        ({"train_images": columns}, "row by row"),
    ):
        np.savez(path, **{**arrays, **wrong})
        with pytest.raises(ValueError, match=message):
            list(_npz.stream_npz(path, "train"))
    assert not (folder / "sprung").exists()


def test_npz_without_a_part(blood_cells):
    folder, _ = blood_cells
    _rewrite(folder, val_labels=None)
    with pytest.raises(ValueError, match="val_labels"):
        datasets.load("pbc28", data_dir=folder)


@pytest.mark.parametrize("wrong", [8, 200])
def test_labels_out_of_range(blood_cells, wrong):
    folder, arrays = blood_cells
    labels = arrays["train_labels"].copy()
    labels[5] = wrong
    _rewrite(folder, train_labels=labels)
    with pytest.raises(ValueError, match=f"0 to 7. Received: {wrong} .1 labels"):
        datasets.load("pbc28", data_dir=folder)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((24, 28, 28), "uint8"),
        np.zeros((24, 28, 28, 4), "uint8"),
        np.zeros((24, 28, 28, 3), "float32"),
        np.zeros((24, 28), "uint8"),
    ],
)
def test_wrong_image_shape(blood_cells, images):
    folder, _ = blood_cells
    _rewrite(folder, train_images=images)
    with pytest.raises(ValueError, match=r"should be uint8.*Received: (uint8|float32)"):
        datasets.load("pbc28", data_dir=folder)


def test_labels_of_another_length(blood_cells):
    folder, arrays = blood_cells
    _rewrite(folder, test_labels=arrays["train_labels"])
    with pytest.raises(ValueError, match=r"test labels should be integers \(8"):
        datasets.load("pbc28", data_dir=folder)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("fashion-mnist", "fashion_mnist"), ("CIFAR10", "cifar10"), ("pcan", "pcam")],
)
def test_unknown_name_suggests_the_nearest(wrong, right):
    with pytest.raises(ValueError, match=f"Did you mean '{right}'"):
        datasets.load(wrong)


def test_bad_arguments():
    with pytest.raises(ValueError, match="limit=0"):
        datasets.load("digits", limit=0)
    with pytest.raises(ValueError, match="engine='spark'"):
        datasets.load("digits", engine="spark")
    with pytest.raises(ValueError, match="cannot be divided by group"):
        datasets.load("cifar10", group="patient_id")
    with pytest.raises(ValueError, match=r"'patient_id'\. Received: group='age'"):
        datasets.load("pad_ufes_20", group="age")


@pytest.mark.parametrize("name", [name for name in SPECS if name != "digits"])
def test_missing_data_set_says_how_to_get_it(tmp_path, name):
    with pytest.raises(datasets.DatasetNotFoundError) as caught:
        datasets.load(name, data_dir=tmp_path)
    assert SPECS[name].how_to_get in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [n for n in SPECS if n not in ("digits", "pbc28")])
def test_every_tfds_source_loads_mocked(name):
    spec = SPECS[name]
    with tfds.testing.mock_data(num_examples=20):
        data = datasets.load(name, limit=6)
    for part in PARTS:
        split = getattr(data, part)
        expected = (len(split), spec.image_size, spec.image_size, spec.source_channels)
        assert split.images.shape == expected
        assert 0 <= split.labels.min() <= split.labels.max() < spec.num_classes
    assert len(data.train) == 6


def _tiny_fashion(folder, file_format, counts=(24, 12)):
    """Prepared Fashion-MNIST, prepared by TFDS' own builder, from images made here."""
    random = np.random.default_rng(0)

    def examples(self, count):
        for index in range(count):
            image = random.integers(0, 256, (28, 28, 1), dtype="uint8")
            yield index, {"image": image, "label": index % 10}

    def splits(self, manager):
        return {
            "train": examples(self, counts[0]),
            "test": examples(self, counts[1]),
        }

    builder = tfds.builder("fashion_mnist", data_dir=folder, try_gcs=False)
    builder._split_generators = splits.__get__(builder)
    builder.download_and_prepare(file_format=file_format)


def test_record_formats_hold_the_same_splits(tmp_path):
    _tiny_fashion(tmp_path / "tfrecord", "tfrecord")
    _tiny_fashion(tmp_path / "array_record", "array_record")
    first = datasets.load("fashion_mnist", data_dir=tmp_path / "tfrecord")
    second = datasets.load("fashion_mnist", data_dir=tmp_path / "array_record")
    assert [len(getattr(first, part)) for part in PARTS] == [25, 5, 6]
    for part in PARTS:
        one, two = getattr(first, part), getattr(second, part)
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
        np.testing.assert_array_equal(one.rows, two.rows)
    few = datasets.load("fashion_mnist", data_dir=tmp_path / "tfrecord", limit=4)
    inside = np.isin(first.train.rows, few.train.rows)
    np.testing.assert_array_equal(few.train.images, first.train.images[inside])


_WITHOUT_TENSORFLOW = """
import importlib.machinery, sys

finder = importlib.machinery.PathFinder
original = finder.find_spec
finder.find_spec = classmethod(
    lambda cls, name, path=None, target=None: None
    if name.split(".")[0] == "tensorflow"
    else original(name, path, target)
)
import keras
from keras_gradattn import datasets

try:
    data = datasets.load("fashion_mnist", data_dir=sys.argv[1] + "/array_record")
except ImportError:
    raise SystemExit("TensorFlow was wanted")
model = keras.Sequential(
    [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
batches = datasets.batches(data.train, data.spec, batch_size=8, training=True)
model.fit(batches, shuffle=False)
try:
    datasets.load("fashion_mnist", data_dir=sys.argv[1] + "/tfrecord")
except ImportError as error:
    print(error)
try:
    datasets.load("cifar10", data_dir=sys.argv[1])
except datasets.DatasetNotFoundError as error:
    print(error)
assert "tensorflow" not in sys.modules
"""


# The TensorFlow backend cannot do without it.
@pytest.mark.slow
@pytest.mark.backends("jax", "torch")
def test_without_tensorflow(tmp_path):
    _tiny_fashion(tmp_path / "tfrecord", "tfrecord")
    _tiny_fashion(tmp_path / "array_record", "array_record")
    result = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TENSORFLOW, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "only TensorFlow reads" in result.stdout
    assert "prepare cifar10" in result.stdout


def test_large_parts_are_memory_mapped(monkeypatch, blood_cells):
    monkeypatch.setattr(loading, "_LARGEST_IN_MEMORY", 1000)
    folder, _ = blood_cells
    mapped = datasets.load("pbc28", data_dir=folder)
    assert isinstance(mapped.train.images, np.memmap)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        mapped.train.images, datasets.load("pbc28", data_dir=folder).train.images
    )
