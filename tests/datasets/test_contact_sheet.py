"""The contact sheet shows what the network sees."""

import warnings

import keras
import numpy as np
import pytest

from keras_gradattn import datasets

any_backend = pytest.mark.any_backend


def toy(names=("even", "odd"), channels=3, **options):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (40, 6, 6, channels), "uint8")
    labels = np.arange(40) % len(names)
    return datasets.from_arrays(images, labels, class_names=names, **options)


def drawn(figure):
    """Pixels and title of each picture."""
    return [
        (np.asarray(place.images[0].get_array()), place.get_title())
        for place in figure.axes
        if place.images
    ]


@any_backend
def test_training_images_with_their_names(tmp_path):
    splits = toy(augmentation=())
    figure = datasets.show(splits, tmp_path / "sheet.png", count=10)
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    pictures = drawn(figure)
    assert len(pictures) == 10
    stored = np.asarray(splits.train.images) / 255
    for pixels, title in pictures:
        distance = np.abs(stored - pixels).max((1, 2, 3))
        assert distance.min() < 1e-5
        label = splits.train.labels[distance.argmin()]
        assert title == ("even", "odd")[label]


@any_backend
def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    splits = toy()
    # matplotlib gives a name the ending that it lacks.
    for name in ("sheet", "sheet.pdf"):
        datasets.show(splits, tmp_path / name, count=2)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert {name: content[:4] for name, content in files.items()} == {
        "sheet.png": b"\x89PNG",
        "sheet.pdf": b"%PDF",
    }

    def half(figure, path, **options):
        with open(path, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", half)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        datasets.show(splits, "sheet.png", count=2)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


@any_backend
def test_augmented_as_in_training():
    splits = toy()
    figure = datasets.show(splits, count=8, seed=3)
    data = datasets.batches(
        splits.train,
        splits.spec,
        batch_size=8,
        training=True,
        seed=3,
        engine="pydataset",
        workers=0,
    )
    images = data[0][0] * splits.spec.std + splits.spec.mean
    found = np.stack([pixels for pixels, _ in drawn(figure)])
    np.testing.assert_allclose(found, np.clip(images, 0, 1), atol=1e-5)


def test_batches_of_this_backend():
    splits = toy()
    data = datasets.batches(splits.train, splits.spec, training=True, seed=1)
    pictures = drawn(datasets.show(data, count=40))
    # All of the training part, from more than one batch or not.
    assert len(pictures) == 28
    assert {title for _, title in pictures} == {"even", "odd"}
    tensors = [
        (keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels))
        for images, labels in data
    ]
    theirs = drawn(datasets.show(tensors, spec=splits.spec, count=28))
    assert len(theirs) == 28


@any_backend
def test_mixed_and_many_labels():
    mixed = toy(augmentation=[datasets.Augmentation("mixup")], batch_size=8)
    titles = [title for _, title in drawn(datasets.show(mixed, count=8))]
    assert any("%" in title and " + " in title for title in titles)
    images = np.zeros((40, 4, 4, 1), "uint8")
    labels = np.array([[1, 1], [0, 1], [1, 0], [0, 0]] * 10)
    many = datasets.from_arrays(images, labels, class_names=("edema", "cough"))
    titles = {title for _, title in drawn(datasets.show(many))}
    assert titles == {"edema + cough", "cough", "edema", ""}


@any_backend
def test_odd_names(tmp_path):
    names = ("$x_", "two\nlines", "a very long name of a class indeed", r"\frac")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = datasets.show(toy(names), tmp_path / "sheet.svg")
    titles = {title for _, title in drawn(figure)}
    assert titles == {"$x_", r"two\nlines", "a very long name of a…", r"\frac"}


@any_backend
@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_any_number_of_channels(tmp_path, channels):
    figure = datasets.show(toy(channels=channels), tmp_path / "sheet.png", count=3)
    assert len(drawn(figure)) == 3


@any_backend
def test_other_batches_are_stretched():
    images = np.linspace(-5, 5, 2 * 4 * 4).reshape(2, 4, 4, 1)
    pictures = drawn(datasets.show([(images, np.array([7, 8]))]))
    assert [title for _, title in pictures] == ["7", "8"]
    assert pictures[0][0].min() == pytest.approx(0)
    assert pictures[0][0].max() == pytest.approx(1)


@any_backend
@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "Received: none"),
        ([np.zeros((2, 4, 4, 1))], "Received: ndarray"),
        ([(np.zeros((2, 4)), np.zeros(2))], "with shape"),
    ],
)
def test_nothing_to_show(data, message):
    with pytest.raises(ValueError, match=message):
        datasets.show(data)
    with pytest.raises(ValueError, match="count=0"):
        datasets.show(data, count=0)
