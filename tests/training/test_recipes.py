"""Recipes: what they say for each data set, and what they refuse."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.training import (
    RECIPES,
    CoupledAdam,
    Recipe,
    balanced_class_weights,
    build_model,
    build_optimizer,
    recipe,
)
from keras_gradattn.training.experiment import build_augmentation

NARROW = {"stage_filters": (4, 4, 8, 8), "stage_blocks": (1, 1, 1, 1)}
RELEASED_SWITCHES = (
    "released_pixels",
    "released_v1_head",
    "released_initialization",
)


def small_model():
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="convolution")(inputs)
    x = keras.layers.BatchNormalization(name="normalization")(x)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="classifier")(x))


def test_described_protocol_is_the_authors_text():
    described = recipe("as_described")
    assert (described.optimizer, described.learning_rate) == ("coupled_adam", 1e-3)
    assert described.weight_decay == 1e-4
    assert described.decay_norms_and_biases
    assert described.max_epochs == 100
    assert (described.schedule, described.plateau_factor) == ("plateau", 0.2)
    assert (described.plateau_patience, described.minimum_learning_rate) == (3, 1e-7)
    assert described.early_stopping_patience == 7
    assert described.restore_best_weights
    assert described.stem == "imagenet"
    assert described.split_seed == 42
    assert not any(getattr(described, switch) for switch in RELEASED_SWITCHES)


def test_released_differs_from_described_in_its_four_switches_only():
    released = dataclasses.asdict(recipe("as_released"))
    described = dataclasses.asdict(recipe("as_described"))
    differing = {k for k in released if released[k] != described[k]}
    assert differing == {"name", "restore_best_weights", *RELEASED_SWITCHES}


@pytest.mark.parametrize(
    ("name", "repaired"),
    [
        ("as_released_pixels_repaired", {"released_pixels"}),
        ("as_released_best_weights_repaired", {"restore_best_weights"}),
        (
            "as_released_pixels_and_best_weights_repaired",
            {"released_pixels", "restore_best_weights"},
        ),
        ("as_released_v1_head_repaired", {"released_v1_head"}),
        ("as_released_initialization_repaired", {"released_initialization"}),
    ],
)
def test_each_defect_is_repaired_alone(name, repaired):
    released = dataclasses.asdict(recipe("as_released"))
    other = dataclasses.asdict(recipe(name))
    assert {k for k in other if other[k] != released[k]} == repaired | {"name"}


def test_arms_of_the_cause_test_differ_in_the_decay_only():
    arms = [
        dataclasses.asdict(recipe(f"fixed_steps_{arm}"))
        for arm in ("coupled", "decoupled", "no_decay")
    ]
    differing = {k for k in arms[0] if len({str(arm[k]) for arm in arms}) > 1}
    assert differing == {"name", "optimizer", "weight_decay"}
    for arm in arms:
        assert (arm["max_steps"], arm["batch_size"]) == (25_000, 32)
        assert arm["early_stopping_patience"] is None


def test_released_switches_apply_where_the_released_code_has_them():
    released = recipe("as_released")
    applies = {name: released.for_dataset(name) for name in datasets.SPECS}
    assert {n for n, r in applies.items() if r.released_pixels} == {
        "cifar10",
        "fashion_mnist",
    }
    assert {n for n, r in applies.items() if r.released_v1_head} == {
        "tiny_imagenet",
        "cifar10",
        "tissuemnist",
        "pcam",
        "pad_ufes_20",
    }


def test_released_v1_head_and_initialization_reach_the_network():
    released = recipe("as_released").for_dataset("cifar10")
    spec = datasets.spec("cifar10")
    head = build_model("gradattn_v1", spec, released, **NARROW).get_config()
    assert (head["width"], head["num_heads"], head["feed_forward"]) == (32, 16, 2)
    other = build_model("gradattn_v2", spec, released, **NARROW).get_config()
    assert other["width"] == 256
    se = build_model("se_resnet18", spec, released, **NARROW).get_config()
    plain = build_model("resnet18", spec, released, **NARROW).get_config()
    assert se["initialization"] == "kaiming_fan_out"
    assert plain["initialization"] == "pytorch"
    described = recipe("as_described").for_dataset("cifar10")
    se = build_model("se_resnet18", spec, described, **NARROW).get_config()
    assert se["initialization"] == "pytorch"


@pytest.mark.parametrize(
    ("dataset", "stem"), [("cifar10", "cifar"), ("pcam", "imagenet")]
)
def test_modern_takes_the_small_stem_up_to_64_pixels(dataset, stem):
    modern = recipe("modern").for_dataset(dataset)
    model = build_model("resnet18", datasets.spec(dataset), modern, **NARROW)
    assert model.get_config()["stem"] == stem


def test_every_recipe_applies_to_every_data_set():
    for entry in RECIPES.values():
        for name, spec in datasets.SPECS.items():
            applied = entry.for_dataset(name)
            assert applied.overrides == {}
            datasets.batches(
                datasets.load("digits", limit=8).train,
                dataclasses.replace(
                    spec, channels=1, mean=(0.5,), std=(0.5,), num_classes=10
                ),
                batch_size=8,
                training=True,
                engine="pydataset",
                augmentation=build_augmentation(applied, spec),
                one_hot=applied.mixes_labels,
            )


def test_patients_stay_together_in_modern():
    assert recipe("modern").for_dataset("pad_ufes_20").group == "patient_id"
    assert recipe("modern").for_dataset("cifar10").group is None
    assert recipe("as_described").for_dataset("pad_ufes_20").group is None


def test_a_recipe_of_ones_own():
    mine = dataclasses.replace(recipe("modern"), name="mine", max_epochs=7)
    assert mine.for_dataset("fashion_mnist").max_epochs == 7
    assert recipe("modern").max_epochs != 7


def test_modern_spares_norms_and_biases_from_decay():
    model = small_model()
    optimizer = build_optimizer(recipe("modern"), model, total_steps=10)
    optimizer.build(model.trainable_variables)
    decaying = [v for v in model.trainable_variables if optimizer._use_weight_decay(v)]
    assert [v.path for v in decaying] == [
        "convolution/kernel",
        "attention/query/kernel",
        "attention/key/kernel",
        "attention/value/kernel",
        "attention/attention_output/kernel",
        "classifier/kernel",
    ]


def test_described_decays_everything():
    model = small_model()
    optimizer = build_optimizer(recipe("as_described"), model, total_steps=10)
    assert isinstance(optimizer, CoupledAdam)
    optimizer.build(model.trainable_variables)
    assert all(optimizer._use_weight_decay(v) for v in model.trainable_variables)


def test_warm_up_and_cosine():
    schedule = build_optimizer(
        recipe("modern"), small_model(), total_steps=100, warmup_steps=20
    )._learning_rate
    rates = [float(schedule(step)) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(rates, [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)


def test_mixing_comes_last_and_is_shared():
    applied = recipe("modern").for_dataset("fashion_mnist")
    entries = [
        e.to_dict() for e in build_augmentation(applied, datasets.spec("fashion_mnist"))
    ]
    assert [e["name"] for e in entries] == [
        "flip",
        "rotation",
        "translation",
        "mixup",
        "cutmix",
    ]
    assert entries[-1] == {"name": "cutmix", "alpha": 1.0, "probability": 0.5}


def test_augmentation_survives_json():
    """What a JSON of results says can be trained again."""
    entries = recipe("modern").for_dataset("tiny_imagenet").augmentation
    plain = json.loads(json.dumps([e.to_dict() for e in entries]))
    rebuilt = dataclasses.replace(recipe("as_described"), augmentation=tuple(plain))
    spec = datasets.spec("tiny_imagenet")
    assert build_augmentation(rebuilt, spec) == tuple(entries)


def test_balanced_class_weights_by_hand():
    weights = balanced_class_weights(np.array([0, 0, 0, 2]), 3)
    assert weights == {0: 4 / (2 * 3), 1: 0.0, 2: 4 / (2 * 1)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer", "sgd"),
        ("schedule", "linear"),
        ("stem", "big"),
        ("class_weights", "equal"),
        ("learning_rate", 0.0),
        ("max_epochs", 0),
        ("batch_size", -1),
        ("weight_decay", -1e-4),
        ("mixup", -0.1),
        ("label_smoothing", 1.0),
        ("ema_momentum", 1.0),
        ("mixed_precision", "bfloat16"),
        ("overrides", {"cifar10": {"lr": 1.0}}),
    ],
)
def test_fields_out_of_range(field, value):
    with pytest.raises(ValueError, match=r"Received|must name fields"):
        Recipe(name="bad", **{field: value})


@pytest.mark.parametrize(
    ("name", "nearest"), [("as_describd", "as_described"), ("modren", "modern")]
)
def test_unknown_recipe_suggests_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'"):
        recipe(name)
