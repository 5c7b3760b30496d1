"""Labels of new images, by the command line and from Python."""

import csv
import shutil
import zipfile

import keras
import numpy as np
import pytest

from keras_gradattn import __main__, datasets, training
from keras_gradattn.datasets import BadFilesError
from tests.datasets.image_folders import write_classes, write_image
from tests.training import networks


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Images that are no squares, and what must not stop a prediction."""
    folder = write_classes(tmp_path_factory.mktemp("new") / "photos", count=4)
    wide = np.random.default_rng(1).integers(0, 256, (10, 30, 3), "uint8")
    write_image(folder / "deep" / "er" / "wide, with comma.png", wide)
    (folder / "broken.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def spec():
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), "uint8")
    labels = np.array(["left", "right, really"])[np.arange(60) % 2]
    return datasets.from_arrays(images, labels, resize="crop").spec


@pytest.fixture(scope="module")
def saved(tmp_path_factory, spec):
    path = tmp_path_factory.mktemp("model") / "photos.keras"
    network = networks.tiny(2, spec.input_shape)
    training.save_model(network, spec, path)
    return path, network


def by_hand(network, spec, paths):
    """Read with Pillow alone, normalised and predicted without our pipeline."""
    from PIL import Image

    rows = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        image = image.resize((12, 12), Image.Resampling.BILINEAR, box=box)
        pixels = np.asarray(image, "float32") / 255
        rows.append((pixels - np.array(spec.mean)) / np.array(spec.std))
    scores = keras.ops.convert_to_numpy(network(np.stack(rows).astype("float32")))
    exponents = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_a_folder_by_the_command_line(tmp_path, saved, spec, photos, capsys):
    path, network = saved
    output = tmp_path / "labels.csv"
    code = __main__.main(
        ["predict", str(path), str(photos), "--output", str(output), "--batch-size=4"]
    )
    assert code == 0
    said = capsys.readouterr()
    assert "9 images" in said.out
    assert "broken.jpg' (empty)" in said.err
    with open(output, newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["file", "label", "probability", "left", "right, really"]
    assert [line[0] for line in lines][-1] == "dog/3.png"
    assert "deep/er/wide, with comma.png" in [line[0] for line in lines]
    expected = by_hand(network, spec, [photos / line[0] for line in lines])
    found = np.array([line[3:] for line in lines], float)
    np.testing.assert_allclose(found, expected, atol=2e-3)
    for line, row in zip(lines, found, strict=True):
        assert line[1] == header[3 + row.argmax()]
        assert float(line[2]) == row.max()


def test_bad_files_stop_where_they_are_to(saved, photos):
    with pytest.raises(BadFilesError, match=r"broken\.jpg"):
        training.predict(saved[0], photos, on_bad="stop")


def test_one_image(saved, photos):
    found = training.predict(saved[0], photos / "cat" / "0.png")
    assert found.probabilities.shape == (1, 2)


@pytest.mark.any_backend
def test_what_is_no_model(tmp_path, photos):
    with pytest.raises(FileNotFoundError, match="no such model"):
        training.predict(tmp_path / "no.keras", photos)
    (tmp_path / "half.keras").write_bytes(b"PK half of an archive")
    with pytest.raises(ValueError, match=r"is a \.keras file, whole"):
        training.predict(tmp_path / "half.keras", photos)
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr(
            "config.json", '{"module": "nowhere", "class_name": "Nothing"}'
        )
        archive.writestr("metadata.json", "{}")
    with pytest.raises(ValueError, match=r"Keras cannot read.*other\.keras"):
        training.predict(tmp_path / "other.keras", photos)


@pytest.mark.any_backend
def test_file_names_that_are_no_text_survive(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    found = training.Predictions((name,), np.array([[0.25, 0.75]]), ("a", "b"))
    found.write_csv(tmp_path / "labels.csv")
    assert b"caf\xe9.png,b,0.75,0.25,0.75\r\n" in (tmp_path / "labels.csv").read_bytes()


def test_a_network_of_ours_keeps_its_kind(tmp_path, spec):
    from keras_gradattn import GradAttnV2

    network = training.build_model(
        "gradattn_v2",
        spec,
        training.RECIPES["modern"],
        **{"stage_filters": (4, 4), "stage_blocks": (1, 1), "width": 8},
    )
    training.save_model(network, spec, tmp_path / "ours.keras")
    found = training.load_model(tmp_path / "ours.keras")
    assert isinstance(found.model, GradAttnV2)
    # Known to the model itself as well, for whoever loads it with Keras.
    assert found.model.class_names == ["left", "right, really"]
    assert found.reading.resize == "crop"
    images = np.random.default_rng(2).integers(0, 256, (3, 12, 12, 3), "uint8")
    normalized = (images / 255 - np.array(spec.mean)) / np.array(spec.std)
    scores = keras.ops.convert_to_numpy(
        keras.ops.softmax(network(normalized.astype("float32"), training=False))
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(
            found.model(images.astype("float32"), training=False)
        ),
        scores,
        atol=1e-5,
    )


def test_the_exported_model_computes_the_same(tmp_path, saved, photos, backend):
    found = training.load_model(saved[0])
    images = np.random.default_rng(3).integers(0, 256, (2, 12, 12, 3), "uint8")
    images = images.astype("float32")
    expected = keras.ops.convert_to_numpy(found.model(images))
    target = tmp_path / "exported"
    if backend == "torch":
        found.model.export(f"{target}.onnx", format="onnx", verbose=False)
        import onnxruntime

        session = onnxruntime.InferenceSession(f"{target}.onnx")
        (given,) = session.get_inputs()
        (outputs,) = session.run(None, {given.name: images})
    else:
        import tensorflow as tf

        found.model.export(target, format="tf_saved_model", verbose=False)
        # Its variables live as long as this name.
        exported = tf.saved_model.load(str(target))
        outputs = exported.serve(images).numpy()
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    shutil.rmtree(target, ignore_errors=True)
