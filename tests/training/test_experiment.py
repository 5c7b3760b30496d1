"""One experiment from one call: its JSON, its rules, its complaints."""

import dataclasses
import json
import math
import os

import keras
import numpy as np
import pytest

import keras_gradattn
from keras_gradattn import __main__, datasets, paper, training
from keras_gradattn.training import _files, _validation_rules, experiment

NARROW = {"stage_filters": (4, 4), "stage_blocks": (1, 1)}
HEAD = {"width": 8, "num_heads": 2, "feed_forward": 8, "num_layers": 1}
DESCRIBED = paper.RECIPES["as_described"]


def result(folder, seed=42):
    """The file of a folder's one run of this seed."""
    (path,) = folder.rglob(f"seed{seed}.json")
    return path


@pytest.fixture
def no_analysis(monkeypatch):
    """Leave out the analysis after training, whose compilation takes longest."""
    monkeypatch.setattr(experiment, "analyze_gradients", lambda *a: {"layers": []})


def run_command(*arguments):
    return __main__.main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with one finished run: 2 epochs of 3 steps, by the command line."""
    folder = tmp_path_factory.mktemp("results")
    code = run_command(
        *("run", "--dataset", "digits", "--model", "gradattn_v3", "--seed", 1),
        *("--recipe", "as_described"),
        *("--epochs", 2, "--limit", 150, "--results", folder, "--verbose", 0),
        *(f"--model-option={k}={json.dumps(v)}" for k, v in (NARROW | HEAD).items()),
    )
    assert code == 0
    return folder


def test_json_says_what_was_run_and_what_came_out(finished, backend):
    content = json.loads(result(finished, 1).read_text())
    assert content["backend"] == backend
    assert content["short"] is True
    assert content["configuration"]["dataset"] == "digits"
    assert content["configuration"]["recipe"]["learning_rate"] == 1e-3
    assert content["configuration"]["limit"] == 150
    assert {"keras", "numpy", "python"} <= set(content["versions"])
    assert content["hardware"]["cpu_cores"] >= 1
    assert content["split_sizes"] == {"train": 150, "validation": 150, "test": 150}
    assert (content["epochs_run"], content["steps"]) == (2, 6)
    history = content["history"]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= set(history)
    assert history["learning_rate"] == pytest.approx([1e-3, 1e-3])
    assert min(history["seconds"]) > 0
    metrics = content["metrics"]
    assert metrics["samples"] == 150
    assert sum(map(sum, metrics["confusion_matrix"])) == 150
    assert math.isfinite(metrics["loss"])
    assert metrics["temperature"] > 0
    assert content["parameters"] == sum(
        int(np.prod(v.shape))
        for v in training.build_model(
            "gradattn_v3",
            datasets.spec("digits"),
            DESCRIBED,
            **NARROW,
            **HEAD,
        ).trainable_variables
    )


def test_json_holds_gradients_by_depth_and_weight_norms(finished):
    content = json.loads(result(finished, 1).read_text())
    depth = ["stem", "stage1", "stage2", "head"]
    recorded = content["gradients"]["training"]
    assert list(recorded["kernels"]) == depth
    assert recorded["step"] == [3, 6]
    assert list(recorded["rms"]) == list(recorded["dead"]) == depth
    assert all(rms > 0 for of_group in recorded["rms"].values() for rms in of_group)
    dead = sum(of_group[-1] for of_group in recorded["dead"].values())
    assert dead == len(recorded["dead_kernels"])
    assert content["weight_norms"]["steps"] == [0, 3, 6]
    assert list(content["weight_norms"]["norms"]) == depth
    measured = content["gradients"]["test"]
    # One convolution for the stem, two a block; V3's head: three projections, then
    # query, key, value, output, two feed-forward layers, classifier.
    published = content["published_analysis"]
    assert published["registered"] == 1 + 4 + 3 + 6 + 1
    assert published["measured"] == 1 + 4 + 3 + 5 + 1
    # 14 of 15, as the JSON rounds it.
    assert published["health_percent"] <= 93.33333
    assert 0 < measured["health_percent"] <= 100
    assert {"stem_convolution", "classifier"} <= set(measured["layers"]["layer"])


def test_pictures_stand_beside_the_json(finished):
    assert sorted(path.name for path in finished.rglob("*.*")) == [
        "seed1-calibration.png",
        "seed1-confusion.png",
        "seed1-errors.png",
        "seed1-gradients.png",
        "seed1-history.png",
        "seed1.json",
    ]
    (path,) = finished.rglob("*.json")
    dataset, model, recipe, _ = path.relative_to(finished).parts
    assert dataset == "digits"
    assert model.startswith("gradattn_v3,")
    assert recipe == "as_described,epochs=2,limit=150"


def test_finished_run_is_skipped(finished, monkeypatch):
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: pytest.fail("trained"))
    content = training.run(
        "digits",
        "gradattn_v3",
        DESCRIBED,
        seed=1,
        max_epochs=2,
        limit=150,
        results=finished,
        model_options=NARROW | HEAD,
    )
    assert content["configuration"]["seed"] == 1


def test_another_configuration_does_not_pass_for_the_finished_one(finished):
    """A recipe that was changed under its old name."""
    changed = dataclasses.replace(DESCRIBED, learning_rate=0.01)
    with pytest.raises(ValueError, match=r"differs in recipe\.learning_rate\..*0\.01"):
        training.run(
            "digits",
            "gradattn_v3",
            changed,
            seed=1,
            max_epochs=2,
            limit=150,
            results=finished,
            model_options=NARROW | HEAD,
        )


@pytest.mark.slow
@pytest.mark.usefixtures("without_traces")
def test_weights_that_the_recipe_leaves_are_tested_as_well(
    tmp_path, no_analysis, monkeypatch
):
    """Two recipes that differ in what they test tell the same of either."""

    def only_the_first(self, epoch, accuracy):
        self.epoch = 1
        return epoch == 1

    monkeypatch.setattr(_validation_rules.BestEpoch, "is_best", only_the_first)
    of_best, of_last = (
        training.run(
            "digits",
            "resnet18",
            dataclasses.replace(DESCRIBED, name=name, restore_best_weights=best),
            max_epochs=2,
            limit=150,
            results=tmp_path,
            model_options=NARROW,
            pictures=False,
            verbose=0,
        )
        for name, best in (("of_best", True), ("of_last", False))
    )
    assert of_best["metrics"] != of_last["metrics"]
    assert of_best["other_weights"] == {
        "weights": "last",
        "epoch": 2,
        "metrics": of_last["metrics"],
    }
    assert of_last["other_weights"] == {
        "weights": "best",
        "epoch": 1,
        "metrics": of_best["metrics"],
    }


@pytest.mark.slow
@pytest.mark.usefixtures("without_traces")
def test_pathways_are_read_and_frozen(tmp_path, no_analysis):
    content = training.run(
        "digits",
        "gradattn_pathways",
        # So fast that weights follow the image by more than rounding.
        training.RECIPES["modern"].with_changes(learning_rate=0.1),
        max_epochs=2,
        limit=150,
        results=tmp_path,
        model_options={
            "stage_filters": (4, 4, 8, 8),
            "stage_blocks": (1, 1, 1, 1),
            "channel_groups": 2,
        },
        save_model=True,
        pictures=False,
        verbose=0,
    )
    (saved,) = tmp_path.rglob("*.keras")
    model = keras.saving.load_model(saved)
    digits = datasets.load("digits", limit=150)
    # A saved model takes images as they are: 0 to 255.
    train, test = (
        np.asarray(split.images, "float32") for split in (digits.train, digits.test)
    )
    seen = keras_gradattn.depth_weights(model, test)
    frozen = keras_gradattn.freeze_depth_weights(
        model, keras_gradattn.depth_weights(model, train)
    )
    frozen.compile(metrics=["accuracy"], loss="sparse_categorical_crossentropy")

    pathways = content["pathways"]
    assert pathways["frozen_top1"] == pytest.approx(
        frozen.evaluate(test, digits.test.labels, verbose=0, return_dict=True)[
            "accuracy"
        ],
        abs=1e-6,
    )
    # What feeds a block: all that stands before it.
    assert list(pathways["mean"]["stage3_block1"]) == [
        "stem",
        "stage1",
        "stage2_block1",
    ]
    np.testing.assert_allclose(
        pathways["mean"]["head"]["stage4_block1"],
        seen.mean[-1, :, seen.sources.index("stage4_block1")],
        rtol=1e-5,
    )
    assert seen.movement.max() > 1e-4
    np.testing.assert_allclose(
        list(pathways["movement"].values()), seen.movement, rtol=1e-4, atol=1e-6
    )


def test_results_of_other_formats_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: {"metrics": {"top1": 1}})
    training.run("digits", "resnet18", results=tmp_path, pictures=False)
    with pytest.raises(ValueError, match="Received: format None, expected 3"):
        training.run("digits", "resnet18", results=tmp_path)


def test_new_runs_are_described_as_before(tmp_path, monkeypatch):
    """Tables put runs together whose configuration is the same text."""
    asked = []

    def stop(spec, recipe, configuration, *a, **k):
        asked.append(configuration)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_run", stop)
    recipes = [*training.RECIPES.values(), *paper.RECIPES.values()]
    for recipe in recipes:
        with pytest.raises(KeyboardInterrupt):
            training.run("digits", "resnet18", recipe, results=tmp_path)
    for recipe, configuration in zip(recipes, asked, strict=True):
        # Phases are named where there are any.
        fields = [f.name for f in dataclasses.fields(recipe) if f.name != "phases"]
        assert list(configuration) == [
            *("dataset", "model", "recipe", "seed", "max_epochs", "max_steps"),
            *("limit", "model_options"),
        ]
        assert list(configuration["recipe"]) == fields


def test_compare_reads_the_folder(finished, capsys):
    assert run_command("compare", "--results", finished, "--style", "markdown") == 0
    table = capsys.readouterr().out
    assert "| digits" in table
    assert "150 images a split" in table


@pytest.mark.usefixtures("without_traces")
def test_fixed_steps_end_in_the_middle_of_an_epoch(tmp_path, no_analysis):
    recipe = dataclasses.replace(
        paper.RECIPES["fixed_steps_decoupled"], max_steps=5, batch_size=32
    )
    content = training.run(
        "digits",
        "resnet18",
        recipe,
        results=tmp_path,
        limit=96,
        model_options=NARROW,
        pictures=False,
        verbose=0,
    )
    assert (content["steps"], content["epochs_run"]) == (5, 2)
    assert content["configuration"]["recipe"]["optimizer"] == "adamw"
    assert content["weight_norms"]["steps"] == [0, 3, 5]
    assert content["history"]["learning_rate"][-1] == pytest.approx(1e-3)


def test_recipe_reaches_the_pipeline(tmp_path, monkeypatch):
    """Damaged levels for training only; the split keeps its own seed."""
    asked = []

    class EnoughError(Exception):
        pass

    def load(name, **settings):
        asked.append(settings)
        return original_load("digits", limit=8)

    def batches(split, spec, **settings):
        asked.append((split.name, settings))
        if len(asked) == 3:
            raise EnoughError
        return original_batches(split, spec, **settings)

    original_load, original_batches = datasets.load, datasets.batches
    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.setattr(datasets, "batches", batches)
    with pytest.raises(EnoughError):
        training.run(
            "fashion_mnist",
            "resnet18",
            paper.RECIPES["as_released"],
            seed=7,
            results=tmp_path,
            model_options=NARROW,
        )
    settings, (train, train_settings), (validation, validation_settings) = asked
    assert settings["seed"] == 42
    assert (train, validation) == ("train", "validation")
    assert train_settings["level_table"][:2].tolist() == [[50], [53]]
    assert train_settings["seed"] == 7
    assert validation_settings["training"] is False
    assert "level_table" not in validation_settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "fashion_mnst"}, "Did you mean 'fashion_mnist'"),
        ({"model": "resnet_18"}, "Did you mean 'resnet18'"),
        ({"recipe": "modren"}, "Did you mean 'modern'"),
    ],
)
def test_unknown_names_suggest_the_nearest(tmp_path, changes, message):
    arguments = {"data": "digits", "model": "resnet18"} | changes
    with pytest.raises(ValueError, match=message):
        training.run(**arguments, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_unwritable_results_folder_is_found_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: pytest.fail("trained"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be written to.*Nothing was trained"):
        training.run("digits", "resnet18", results=tmp_path / "file")


def test_damaged_json_is_named(tmp_path):
    folder = tmp_path / "digits" / "resnet18" / "modern"
    folder.mkdir(parents=True)
    (folder / "seed42.json").write_text('{"half":')
    with pytest.raises(ValueError, match=r"seed42\.json is not a result file"):
        training.run("digits", "resnet18", results=tmp_path)


def test_two_processes_do_not_train_the_same(tmp_path):
    with (
        experiment._working_folder(tmp_path / "run.partial"),
        pytest.raises(RuntimeError, match="running in another process"),
        experiment._working_folder(tmp_path / "run.partial"),
    ):
        pass


def test_what_another_process_has_finished_is_not_run_again(tmp_path, monkeypatch):
    """It may come between looking for a result and taking the folder."""
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: pytest.fail("trained"))
    path = tmp_path / "digits" / "resnet18" / "modern" / "seed42.json"

    def choose(devices, told, together):
        content = {"format": 3, "configuration": told["configuration"]}
        path.parent.mkdir(parents=True)
        _files.write_json(path, content)
        return devices_of(1, told, together)

    devices_of = experiment.choose
    monkeypatch.setattr(experiment, "choose", choose)
    found = training.run("digits", "resnet18", results=tmp_path)
    assert found["configuration"]["dataset"] == "digits"
    assert list(path.parent.iterdir()) == [path]


def test_run_without_a_finished_epoch_leaves_nothing_behind(tmp_path, monkeypatch):
    """So that the next one, which may be another, starts from an empty folder."""
    with pytest.raises(datasets.DatasetNotFoundError, match="prepare cifar10"):
        training.run("cifar10", "resnet18", results=tmp_path, data_dir=tmp_path / "no")
    assert list(tmp_path.iterdir()) == []
    # Nor the folders that were made for it.
    with pytest.raises(datasets.DatasetNotFoundError, match="prepare cifar10"):
        training.run(
            "cifar10",
            "resnet18",
            results=tmp_path / "new" / "results",
            data_dir=tmp_path,
        )
    assert list(tmp_path.iterdir()) == []
    # One that was killed has not tidied up.
    working = tmp_path / "digits" / "resnet18" / "modern,limit=8" / "seed42.partial"
    working.mkdir(parents=True)
    (working / "configuration.json").write_text('{"half":')
    reached = []

    def stop(spec, recipe, configuration, *a, **k):
        reached.append(configuration)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        training.run("digits", "resnet18", results=tmp_path, limit=8)
    assert reached[0]["limit"] == 8


def test_interrupted_run_does_not_go_on_with_another_recipe(tmp_path, monkeypatch):
    mine = dataclasses.replace(DESCRIBED, name="mine", label_smoothing=0.1)

    def one_epoch(spec, recipe, configuration, working, **settings):
        (working / "checkpoint.npz").write_bytes(b"state")
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "_run", one_epoch)
    with pytest.raises(KeyboardInterrupt):
        training.run("digits", "resnet18", mine, results=tmp_path)
    changed = dataclasses.replace(mine, learning_rate=0.01)
    with pytest.raises(ValueError, match=r"differs in recipe\.learning_rate\..*0\.01"):
        training.run("digits", "resnet18", changed, results=tmp_path)
    (checkpoint,) = tmp_path.rglob("checkpoint.npz")
    assert checkpoint.read_bytes() == b"state"


def test_checkpoint_of_another_backend_is_refused(tmp_path):
    model = training.build_model(
        "resnet18", datasets.spec("digits"), DESCRIBED, **NARROW
    )
    model.compile("adam", "mse")
    from keras_gradattn.training import _checkpoint
    from keras_gradattn.training._training_loop import TrainingLoop

    path = tmp_path / "checkpoint.npz"
    _checkpoint.save(path, {"training": []}, {"backend": "mxnet"})
    loop = TrainingLoop(model, DESCRIBED, 0, path)
    with pytest.raises(ValueError, match="KERAS_BACKEND=mxnet"):
        loop.resume()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--dataset", "digit"], "Did you mean 'digits'"),
        (
            ["run", "--dataset", "digits", "--set", "learnin_rate=1"],
            "Did you mean 'learning_rate'",
        ),
        (["run", "--dataset", "digits", "--set", "mixup"], "NAME=VALUE"),
        (["run", "--dataset", "digits", "--recipe", "as_describd"], "'as_described'"),
        (["compare", "--results", "nowhere"], "no finished experiment"),
    ],
)
def test_command_line_errors_are_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "_run", lambda *a, **k: pytest.fail("trained"))
    assert run_command(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_command_line_shows_where_a_fault_of_ours_is(monkeypatch, tmp_path):
    def fault(*arguments, **settings):
        raise ValueError("of our own making")

    monkeypatch.setattr(experiment, "_run", fault)
    with pytest.raises(ValueError, match="of our own making"):
        run_command("run", "--dataset", "digits", "--limit", 8, "--results", tmp_path)


def test_command_line_lists_the_data_sets(capsys):
    assert run_command("datasets") == 0
    listed = capsys.readouterr().out
    for name in (*datasets.SPECS, *training.MODELS, "modern", *paper.RECIPES):
        assert name in listed


@pytest.mark.parametrize("limited", [False, True])
def test_short_means_that_a_full_run_would_have_differed(limited):
    described = dataclasses.asdict(DESCRIBED)
    configuration = {"recipe": described, "limit": 9 if limited else None}

    @dataclasses.dataclass
    class Loop:
        stopped_early: bool
        steps: int = 0

    def short(recipe, stopped_early):
        return experiment._was_shortened(recipe, configuration, Loop(stopped_early))

    cut = dataclasses.replace(DESCRIBED, max_epochs=15)
    assert short(cut, stopped_early=False)
    assert short(cut, stopped_early=True) is limited
    assert short(DESCRIBED, stopped_early=True) is limited


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        _files.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []
