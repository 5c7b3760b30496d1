"""Data and networks of one's own give what published ones give."""

import json

import keras
import numpy as np
import pytest

from keras_gradattn import __main__, datasets, training
from keras_gradattn.training import _networks
from tests.datasets.image_folders import write_classes
from tests.training import networks

PLAIN = training.Recipe("plain", batch_size=8, max_epochs=2)
TINY = "tests.training.networks:tiny"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "photos", count=20)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, photos):
    """A folder with one run on a folder of images, by the command line."""
    results = tmp_path_factory.mktemp("results")
    code = __main__.main(
        [
            *("run", "--dataset", str(photos), "--model", TINY, "--epochs", "2"),
            *("--set", "batch_size=8", "--model-option", "filters=5"),
            *("--data-option", "validation=0.2", "--results", str(results)),
            *("--save-model", "--verbose", "0"),
        ]
    )
    assert code == 0
    return results


def run(data, model=networks.tiny, recipe=PLAIN, **options):
    return training.run(data, model, recipe, pictures=False, verbose=0, **options)


def test_folder_and_function_by_the_command_line(finished):
    (path,) = finished.rglob("*.json")
    content = json.loads(path.read_text())
    dataset, model, recipe, _ = path.relative_to(finished).parts
    assert dataset == f"photos,content={content['configuration']['content']}"
    assert model.startswith("tests-training-networks-tiny,filters=5")
    assert recipe == "modern,batch_size=8,epochs=2"
    assert content["split_sizes"] == {"train": 26, "validation": 8, "test": 6}
    # Eight steps are too few for a momentum of 0.999: tested would be the beginning.
    assert content["remarks"] == [
        "6 test images: this accuracy measures nothing",
        "weights not averaged instead of with a momentum of 0.999, as the steps are "
        "few",
    ]
    depth = ["body", "norm", "top"]
    recorded = content["gradients"]["training"]
    assert list(recorded["kernels"]) == depth
    assert recorded["kernels"] == {"body": 1, "norm": 0, "top": 1}
    # A last, smaller batch: 26 images are four steps.
    assert recorded["step"] == [4, 8]
    assert all(rms > 0 for group in recorded["rms"].values() for rms in group)
    assert list(content["weight_norms"]["norms"]) == ["body", "top"]
    assert "body" in content["gradients"]["test"]["layers"]["layer"]
    assert content["metrics"]["class_names"] == ["cat", "dog"]
    assert sorted(
        p.name for p in path.parent.iterdir() if p.name != "seed42-errors.png"
    ) == [
        "seed42-calibration.png",
        "seed42-confusion.png",
        "seed42-gradients.png",
        "seed42-history.png",
        "seed42.json",
        "seed42.keras",
    ]


def test_comparison_has_it(finished):
    assert "this accuracy measures nothing" in training.compare(finished, "csv")


def test_saved_model_knows_preprocessing_and_classes(finished, photos):
    (path,) = finished.rglob("*.json")
    content = json.loads(path.read_text())
    (saved,) = finished.rglob("*.keras")
    found = training.load_model(saved)
    splits = datasets.from_folder(photos, validation=0.2)
    assert found.class_names == ("cat", "dog")
    assert found.reading == splits.spec.reading
    raw = np.asarray(splits.test.images)
    probabilities = keras.ops.convert_to_numpy(found.model(raw.astype("float32")))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    right = probabilities.argmax(axis=1) == splits.test.labels
    assert right.mean() == pytest.approx(content["metrics"]["top1"])
    truth = probabilities[np.arange(len(raw)), splits.test.labels]
    # The same numbers as the evaluation's, on another path.
    assert -np.log(truth).mean() == pytest.approx(content["metrics"]["loss"], rel=1e-4)


def test_arrays_and_a_model_that_gives_probabilities(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 12, 12, 3), "uint8")
    splits = datasets.from_arrays(images, np.arange(60) % 2, name="noise")
    model = networks.with_softmax()
    before = model.get_weights()
    content = run(splits, model, results=tmp_path, max_epochs=1, save_model=True)
    assert content["configuration"]["dataset"] == "noise"
    assert content["configuration"]["model"] == "with_softmax"
    # The caller's stays as it was.
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    (saved,) = tmp_path.rglob("*.keras")
    found = training.load_model(saved).model.predict(
        np.asarray(splits.test.images, "float32"), verbose=0
    )
    truth = found[np.arange(len(found)), splits.test.labels]
    assert -np.log(truth).mean() == pytest.approx(content["metrics"]["loss"], rel=1e-4)


def test_table_and_a_subclassed_model(tmp_path, photos):
    table = tmp_path / "labels.csv"
    lines = [
        f"{photos / name / str(number)}.png,{name},{number // 2}"
        for name in ("cat", "dog")
        for number in range(20)
    ]
    table.write_text("\n".join(["file,animal,owner", *lines]))
    content = run(
        table,
        networks.Subclassed,
        results=tmp_path / "results",
        data_options={"images": "file", "label": "animal", "group": "owner"},
        max_epochs=1,
    )
    assert content["configuration"]["dataset"] == "labels"
    assert list(content["gradients"]["training"]["kernels"]) == ["first", "top"]


def test_phases_freeze_and_unfreeze(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 12, 12, 3), "uint8")
    splits = datasets.from_arrays(images, np.arange(60) % 2)
    recipe = training.Recipe(
        "frozen",
        batch_size=16,
        max_epochs=3,
        restore_best_weights=False,
        schedule="constant",
        phases=(
            {"train": ["top"], "epochs": 2, "learning_rate": 0.01},
            {"learning_rate": 0.001},
        ),
    )
    content = run(splits, recipe=recipe, results=tmp_path)
    recorded = content["gradients"]["training"]
    assert list(recorded["kernels"]) == ["body", "norm", "top"]
    assert recorded["step"] == [3, 6, 9]
    assert recorded["rms"]["body"][:2] == [None, None]
    assert recorded["rms"]["body"][2] > 0
    assert all(rms > 0 for rms in recorded["rms"]["top"])
    assert content["history"]["learning_rate"] == pytest.approx([0.01, 0.01, 0.001])
    norms = content["weight_norms"]["norms"]
    assert norms["body"][0] == norms["body"][1] == norms["body"][2] != norms["body"][3]
    assert len(set(norms["top"])) == 4
    assert content["configuration"]["recipe"]["phases"][0]["train"] == ["top"]


@pytest.mark.slow
@pytest.mark.backends("torch")
def test_a_further_process_trains_on_the_same_data_and_network(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), "uint8")
    # 44 images to train and 8 each to validate and test: every batch divides by two.
    splits = datasets.from_arrays(
        images, np.arange(60) % 2, validation=8 / 60, test=8 / 60
    )
    two, one = (
        run(splits, networks.plain, devices=devices, results=tmp_path, max_epochs=1)
        for devices in (2, 1)
    )
    assert two["split_sizes"] == {"train": 44, "validation": 8, "test": 8}
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(
            two["history"][name], one["history"][name], rtol=2e-4
        )


@pytest.mark.any_backend
def test_a_function_that_no_other_process_finds():
    from keras_gradattn.training import devices

    with pytest.raises(ValueError, match="put it into a module"):
        devices._pickled({"network": _networks.Network(lambda: None, {})})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("tests.training.networks:tyni", r"has no 'tyni'\. Did you mean 'tiny'"),
        ("tests.trainin.networks:tiny", r"no module 'tests\.trainin' here"),
        ("tests.training.networks:", r"'package\.module:function'"),
        (".networks:tiny", r"'package\.module:function'.*Received: '\.networks:tiny'"),
        ("tests.training.networks:NOT_A_FUNCTION", "Received: int"),
        ("keras.applications:ResNet5", "Did you mean 'ResNet50'"),
        (networks.three_classes, r"each of the 2 classes.*\(None, 3\)"),
        (lambda: 3, "should make a Keras model. Received: int"),
        (lambda width: width, "needs width: give .* Received: no option"),
        ("keras.applications:VGG16", r"cannot be made for .*12, 12, 3\) \((?!Exc)"),
        (3, "Received: model=3"),
    ],
)
@pytest.mark.any_backend
def test_what_is_no_network_of_this_data(tmp_path, photos, model, message):
    with pytest.raises(ValueError, match=message):
        run(photos, model, results=tmp_path / "results")
    assert not (tmp_path / "results").exists() or not any(tmp_path.rglob("*.*"))


@pytest.mark.any_backend
@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("digits", {"size": 3}, "digits is divided and resized as published"),
        ("photos", {"sise": 3}, "Did you mean 'size'"),
        ("photo/", {}, r"no such folder or table\. Did you mean 'photos'"),
        ("photos/cart", {}, r"no such folder or table\. Did you mean 'cat'"),
        ("labels.csv", {}, "no such folder or table"),
        ("photos/cat/0.png", {}, "Images come from a folder or from a table"),
        ((np.zeros((8, 4, 4, 1)), np.zeros(8)), {}, r"from_arrays`.*of type tuple"),
        (keras.utils.PyDataset(), {}, r"from_source`.*of type PyDataset"),
    ],
)
def test_what_is_no_data(tmp_path, photos, monkeypatch, data, options, message):
    monkeypatch.chdir(photos.parent)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        run(data, results=tmp_path / "results", data_options=options)


@pytest.mark.any_backend
def test_an_average_forgets_its_beginning_on_few_steps():
    from keras_gradattn.training._train import for_few_steps

    modern = training.RECIPES["modern"]
    assert for_few_steps(modern, 10_000).ema_momentum == 0.999
    few = for_few_steps(modern, 1_000).ema_momentum
    assert few == pytest.approx(0.99)
    # The beginning's share in the average at the end.
    assert few**1_000 < 1e-4
    asked = modern.with_changes(ema_momentum=0.999)
    assert for_few_steps(asked, 100).ema_momentum == 0.999
    assert for_few_steps(modern, 10).ema_momentum is None
    assert for_few_steps(PLAIN, 100).ema_momentum is None


@pytest.mark.any_backend
def test_other_images_are_another_run(photos):
    from keras_gradattn.training import _data

    def content(**options):
        splits = datasets.from_folder(photos, **options)
        return _data._fingerprint(splits)

    assert content() == content()
    assert len({content(), content(size=6), content(seed=1), content(limit=3)}) == 4


@pytest.mark.any_backend
def test_names_of_layers_are_no_difference_between_networks():
    first, second = networks.tiny(2, (8, 8, 1)), networks.tiny(2, (8, 8, 1))
    wider = networks.tiny(2, (8, 8, 1), filters=5)
    assert _networks.architecture(first) == _networks.architecture(second)
    assert _networks.architecture(first) != _networks.architecture(wider)


def test_what_a_finished_run_lacks_is_said(tmp_path, photos, capsys):
    """It is not run again for a model or pictures."""
    first = run(photos, results=tmp_path)
    (path,) = tmp_path.rglob("*.json")
    capsys.readouterr()
    assert run(photos, results=tmp_path) == first
    assert capsys.readouterr().err == f"{path}: finished before, not run again\n"
    assert run(photos, results=tmp_path, save_model=True) == first
    said = capsys.readouterr().err.splitlines()[1:]
    assert said == [
        f"{path}: there is no model of this run. Choose another results "
        "folder or move the JSON away, and the same command makes it"
    ]
    path.rename(tmp_path / "away.json")
    run(photos, results=tmp_path, save_model=True)
    assert path.with_suffix(".keras").exists()
    run(photos, results=tmp_path, save_model=True)
    assert capsys.readouterr().err.splitlines()[1:] == []
