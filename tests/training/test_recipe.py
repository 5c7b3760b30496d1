"""Recipes: what they say for each data set, and what they refuse."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.training import (
    RECIPES,
    Recipe,
    balanced_class_weights,
    build_model,
    build_optimizer,
    look_up,
)
from keras_gradattn.training._building import build_augmentation

NARROW = {"stage_filters": (4, 4, 8, 8), "stage_blocks": (1, 1, 1, 1)}


def small_model():
    inputs = keras.Input((4, 4, 1))
    x = keras.layers.Conv2D(2, 3, name="convolution")(inputs)
    x = keras.layers.BatchNormalization(name="normalization")(x)
    x = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(2, name="classifier")(x))


@pytest.mark.parametrize(
    ("dataset", "stem"), [("cifar10", "cifar"), ("pcam", "imagenet")]
)
def test_modern_takes_the_small_stem_up_to_64_pixels(dataset, stem):
    modern = RECIPES["modern"].for_dataset(dataset)
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
    assert RECIPES["modern"].for_dataset("pad_ufes_20").group == "patient_id"
    assert RECIPES["modern"].for_dataset("cifar10").group is None


def test_a_recipe_of_ones_own():
    mine = dataclasses.replace(RECIPES["modern"], name="mine", max_epochs=7)
    assert mine.for_dataset("fashion_mnist").max_epochs == 7
    assert RECIPES["modern"].max_epochs != 7


def test_modern_spares_norms_and_biases_from_decay():
    model = small_model()
    optimizer = build_optimizer(RECIPES["modern"], model, total_steps=10)
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


def test_warm_up_and_cosine():
    schedule = build_optimizer(
        RECIPES["modern"], small_model(), total_steps=100, warmup_steps=20
    )._learning_rate
    rates = [float(schedule(step)) for step in (0, 10, 20, 60, 100)]
    np.testing.assert_allclose(rates, [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)


def test_mixing_comes_last_and_is_shared():
    applied = RECIPES["modern"].for_dataset("fashion_mnist")
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
    entries = RECIPES["modern"].for_dataset("tiny_imagenet").augmentation
    plain = json.loads(json.dumps([e.to_dict() for e in entries]))
    rebuilt = Recipe(name="plain", augmentation=tuple(plain))
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


def test_unknown_recipe_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'modern'"):
        look_up("modren", RECIPES, "recipe")


def test_changes_win_over_the_data_sets_own_fields_and_are_named():
    changed = RECIPES["modern"].with_changes(max_epochs=7).with_changes(mixup=0.0)
    applied = changed.for_dataset("svhn")
    assert (applied.max_epochs, applied.mixup, applied.cutmix) == (7, 0.0, 0.0)
    assert applied.changes == {"max_epochs": 7, "mixup": 0.0}
    assert applied.name == "modern"


def test_changes_of_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'learning_rate'"):
        RECIPES["modern"].with_changes(learning_rat=1.0)
