"""A folder of image files, from the disk to a trained network."""

import itertools
import json
import os
import pickle
import unicodedata

import keras
import numpy as np
import pytest
from PIL import Image

from keras_gradattn import datasets
from keras_gradattn.datasets.image_files import ImageFiles
from tests.datasets.image_folders import flat, write_classes, write_image
from tests.datasets.test_image_files import bad_files

PARTS = ("train", "validation", "test")
any_backend = pytest.mark.any_backend


def parts_of(splits):
    return [getattr(splits, part) for part in PARTS]


def paths_of(splits):
    return [
        [os.path.relpath(path) for path in part.images.paths]
        for part in parts_of(splits)
    ]


@any_backend
def test_a_folder_for_each_class(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path / "my photos"))
    spec = splits.spec
    assert (spec.name, spec.title) == ("my_photos", "my photos")
    assert spec.class_names == ("cat", "dog")
    assert spec.input_shape == (12, 12, 3)
    assert spec.split_sizes == {"train": 14, "validation": 3, "test": 3}
    together = [*itertools.chain(*paths_of(splits))]
    assert len(together) == len(set(together)) == 20
    for part in parts_of(splits):
        assert isinstance(part.images, ImageFiles)
        # Each file's level says what it is.
        levels = np.asarray(part.images)
        np.testing.assert_array_equal(levels[:, 0, 0, 0] // 100, part.labels)
    pixels = np.asarray(splits.train.images) / 255
    np.testing.assert_allclose(spec.mean, pixels.mean((0, 1, 2)), atol=6e-5)
    np.testing.assert_allclose(spec.std, pixels.std((0, 1, 2)), atol=6e-5)


@any_backend
def test_the_seed_decides_which_file_is_where(tmp_path):
    write_classes(tmp_path)
    first, same, other = (
        paths_of(datasets.from_folder(tmp_path, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other


@any_backend
@pytest.mark.parametrize(
    ("folders", "sizes"),
    [
        (("train", "val", "test"), [20, 20, 20]),
        (("Training", "VALID", "Testing"), [20, 20, 20]),
        (("train", "validation"), [17, 20, 3]),
        (("train", "test"), [17, 3, 20]),
    ],
)
def test_folders_of_parts(tmp_path, folders, sizes):
    for folder in folders:
        write_classes(tmp_path / folder)
    splits = datasets.from_folder(tmp_path)
    assert [len(part) for part in parts_of(splits)] == sizes
    assert splits.spec.class_names == ("cat", "dog")
    for paths, part in zip(paths_of(splits), PARTS, strict=True):
        owner = [folder for folder in folders if folder.lower()[:2] == part[:2]]
        assert all(f"/{(owner or folders)[0]}/" in f"/{path}" for path in paths)


@any_backend
def test_a_class_may_be_called_train(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path, ("car", "train")))
    assert splits.spec.class_names == ("car", "train")


@any_backend
@pytest.mark.parametrize(
    ("folders", "seen"),
    [
        (("train", "val", "test", "extra"), "'extra' beside 'test', 'train', 'val'"),
        (("Training", "dev", "old", "raw"), "'old', 'raw' beside 'Training', 'dev'"),
    ],
)
def test_folders_beside_those_of_parts(tmp_path, folders, seen):
    """They would be classes, and so would the parts."""
    for folder in folders:
        write_classes(tmp_path / folder, count=3)
    with pytest.raises(ValueError, match=f"parts and others.*Received: {seen}$"):
        datasets.from_folder(tmp_path)


@any_backend
def test_a_class_of_a_given_part_that_training_lacks(tmp_path):
    write_classes(tmp_path / "train")
    write_classes(tmp_path / "test", ("cat", "cow"))
    with pytest.raises(ValueError, match=r"test part should have .*Received: 'cow'"):
        datasets.from_folder(tmp_path)


@any_backend
def test_odd_names_hidden_files_nested_folders_and_circles(tmp_path):
    root = tmp_path / "photos"
    # The same letter in one and in two code points, as macOS stores it.
    name = unicodedata.normalize("NFD", "dög 日本\n")
    write_classes(root, ("a$b", name), count=6)
    write_image(root / "a$b" / "old" / "older" / "ONE MORE.JPG")
    write_image(root / "a$b" / ".hidden.png")
    write_image(root / ".cache" / "1.png")
    write_image(root / "__MACOSX" / "1.png")
    (root / "a$b" / "Thumbs.db").write_bytes(b"x")
    (root / "labels.csv").write_text("x")
    os.symlink(root, root / "a$b" / "old" / "circle")
    os.symlink(root / name, root / "a$b" / "link")
    elsewhere = write_image(tmp_path / "elsewhere" / "no ending", format="PNG")
    os.symlink(elsewhere, root / name / "linked")
    splits = datasets.from_folder(root)
    assert splits.spec.class_names == ("a$b", unicodedata.normalize("NFC", name))
    # Its own 6, one below, and through the links the other class' 7, twice.
    counts = np.bincount(np.concatenate([part.labels for part in parts_of(splits)]))
    assert counts[1] == 7
    names = [os.path.basename(path) for path in [*itertools.chain(*paths_of(splits))]]
    assert names.count("ONE MORE.JPG") == 1
    assert ".hidden.png" not in names
    assert names.count("linked") == 2


@any_backend
@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text(tmp_path):
    write_classes(tmp_path)
    os.rename(os.fsencode(tmp_path / "dog"), os.fsencode(tmp_path) + b"/d\xffg")
    splits = datasets.from_folder(tmp_path)
    assert splits.spec.class_names == ("cat", "d\ufffdg")
    assert np.asarray(splits.train.images).shape == (14, 12, 12, 3)


@any_backend
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_bad_files_are_named_in_one_list(tmp_path):
    write_classes(tmp_path)
    bad = bad_files(tmp_path / "cat")
    (tmp_path / "empty class").mkdir()
    write_image(tmp_path / "stray.png")
    os.symlink(tmp_path / "nothing", tmp_path / "dog" / "broken link.png")
    with pytest.raises(datasets.BadFilesError) as error:
        datasets.from_folder(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{len(bad) + 3} of {len(bad) + 23} files cannot")
    assert "on_bad='skip'" in message
    assert message.endswith(f"and {len(bad) + 3 - 10} more")
    names = {os.path.basename(file.path) for file in error.value.files}
    assert names == {*bad, "empty class", "stray.png", "broken link.png"}
    with pytest.warns(UserWarning, match="are left out. Received: .*stray.png"):
        splits = datasets.from_folder(tmp_path, on_bad="skip")
    assert splits.bad_files == error.value.files
    assert splits.spec.split_sizes == {"train": 14, "validation": 3, "test": 3}


@any_backend
def test_all_files_bad(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(datasets.BadFilesError, match=r"2 of 2 files.*\(empty\)"):
        datasets.from_folder(tmp_path, on_bad="skip")


@any_backend
def test_rare_classes_stop_or_stay_in_training(tmp_path):
    write_classes(tmp_path)
    write_image(tmp_path / "yeti" / "only one.png")
    with pytest.raises(ValueError, match=r"on_rare='train'.*Received: 'yeti' \(1\)"):
        datasets.from_folder(tmp_path)
    splits = datasets.from_folder(tmp_path, on_rare="train")
    assert [int((part.labels == 2).sum()) for part in parts_of(splits)] == [1, 0, 0]


@any_backend
def test_size_and_channels_are_chosen(tmp_path):
    for number, shape in enumerate([(30, 40), (50, 33), (36, 36), (34, 90)] * 2):
        write_image(tmp_path / f"{number % 2}" / f"{number}.png", flat(9, shape))
    spec = datasets.from_folder(tmp_path).spec
    # The median of 30, 33, 36, 34, each twice; all are grey.
    assert spec.input_shape == (34, 34, 1)
    spec = datasets.from_folder(tmp_path, size=16, channels=3, resize="crop").spec
    assert spec.input_shape == (16, 16, 3)
    assert spec.reading.resize == "crop"
    write_image(tmp_path / "0" / "colour.png", flat(9))
    assert datasets.from_folder(tmp_path).spec.channels == 3


@any_backend
def test_scans_of_twelve_bits(tmp_path):
    random = np.random.default_rng(0)
    for number in range(20):
        pixels = random.integers(0, 4096, (10, 10), "uint16")
        write_image(tmp_path / f"{number % 2}" / f"{number}.png", pixels)
    splits = datasets.from_folder(tmp_path)
    spec = splits.spec
    assert spec.levels == (0, 4095)
    assert spec.channels == 1
    images = np.asarray(splits.train.images)
    assert images.dtype == np.float32
    assert images.max() > 250
    np.testing.assert_allclose(spec.mean, images.mean() / 255, atol=1e-4)
    np.testing.assert_allclose(spec.std, images.std() / 255, atol=1e-4)
    # Levels that were asked for.
    given = datasets.from_folder(tmp_path, levels=(0, 65535))
    np.testing.assert_allclose(given.spec.mean[0], spec.mean[0] / 16, atol=1e-3)


@any_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size=0"),
        ({"channels": -1}, "channels=-1"),
        ({"channels": 5}, "no image file has 5 channels"),
        ({"resize": "squash"}, "'stretch', 'crop' or 'pad'. Received: resize='squash'"),
        ({"on_bad": "ignore"}, "on_bad='ignore'"),
        ({"on_rare": "drop"}, "on_rare='drop'"),
        ({"validation": 0.0}, "validation=0.0"),
        ({"validation": 0.5, "test": 0.5}, "something for training"),
        ({"limit": 0}, "limit=0"),
        # As they come from the command line.
        ({"size": "large"}, "size='large'"),
        ({"channels": "RGB"}, "channels='RGB'"),
        ({"test": "x"}, "test='x'"),
        ({"limit": 2.5}, "limit=2.5"),
        ({"seed": "x"}, "seed='x'"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"augmentation": "mixup"}, "augmentation='mixup'"),
        ({"levels": 3}, "levels=3"),
        ({"levels": (5, 1)}, "black below white"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, message):
    write_classes(tmp_path, count=3)
    with pytest.raises(ValueError, match=message):
        datasets.from_folder(tmp_path, **arguments)


@any_backend
def test_no_such_folder(tmp_path):
    with pytest.raises(datasets.DatasetNotFoundError, match="which is nothing"):
        datasets.from_folder(tmp_path / "none")
    file = write_image(tmp_path / "photos.png")
    with pytest.raises(datasets.DatasetNotFoundError, match="a file: unpack it first"):
        datasets.from_folder(file)
    with pytest.raises(ValueError, match=r"two classes at least. Received: no folder"):
        datasets.from_folder(tmp_path)


@any_backend
def test_splits_can_be_pickled_and_described_in_json(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path))
    copy = pickle.loads(pickle.dumps(splits))
    assert copy.spec == splits.spec
    np.testing.assert_array_equal(
        np.asarray(copy.test.images), np.asarray(splits.test.images)
    )
    described = json.loads(json.dumps(splits.spec.to_dict()))
    assert datasets.DatasetSpec.from_dict(described) == splits.spec


@any_backend
def test_limit(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path), limit=2)
    assert splits.spec.split_sizes == {"train": 2, "validation": 2, "test": 2}


def test_a_network_learns_from_a_folder(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path, count=20), size=8)
    data = datasets.batches(splits.train, splits.spec, training=True, seed=3)
    again = datasets.batches(splits.train, splits.spec, training=True, seed=3)
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data, epochs=3, shuffle=False, verbose=0)
    test = datasets.batches(splits.test, splits.spec, training=False)
    assert model.evaluate(test, verbose=0)[1] == 1.0
    # A resumed run meets the batches of that epoch.
    resumed = datasets.batches(
        splits.train, splits.spec, training=True, seed=3, initial_epoch=3
    )
    again.set_epoch(3)
    for (images, labels), (same, their) in zip(again, resumed, strict=True):
        np.testing.assert_array_equal(np.asarray(images), np.asarray(same))
        np.testing.assert_array_equal(np.asarray(labels), np.asarray(their))


@any_backend
def test_workers_and_engines_give_the_same_batches(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path), batch_size=5)
    options = {"training": True, "seed": 1}
    batches = [
        [
            (np.asarray(images), np.asarray(labels))
            for images, labels in datasets.batches(
                splits.train, splits.spec, engine=engine, workers=workers, **options
            )
        ]
        for engine, workers in (("pydataset", 0), ("pydataset", 3), ("tf.data", 2))
    ]
    for other in batches[1:]:
        for (images, labels), (same, their) in zip(batches[0], other, strict=True):
            np.testing.assert_array_equal(images, same)
            np.testing.assert_array_equal(labels, their)


@any_backend
def test_a_file_that_breaks_later_stops_the_training(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path))
    broken = splits.train.images.paths[3]
    Image.new("RGB", (2, 2)).save(broken)
    with open(broken, "r+b") as stream:
        stream.truncate(40)
    data = datasets.batches(
        splits.train, splits.spec, training=True, engine="pydataset", workers=2
    )
    with pytest.raises(ValueError, match="cannot be read now"):
        data[0]


def test_images_of_a_folder_on_the_device(tmp_path):
    splits = datasets.from_folder(write_classes(tmp_path), augmentation=())
    feed = datasets.DeviceFeed((splits.train,), splits.spec)
    inputs, labels = feed.batches(splits.train, training=True, seed=2)[0]
    host = datasets.batches(
        splits.train, splits.spec, training=True, seed=2, engine="pydataset"
    )
    images, their = host[0]
    found = keras.ops.convert_to_numpy(feed._layer(inputs))
    np.testing.assert_allclose(found, images, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(labels, their)
