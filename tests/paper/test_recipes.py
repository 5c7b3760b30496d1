"""The published protocols, with each departure of the released code a switch."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_gradattn import datasets
from keras_gradattn.paper import RECIPES
from keras_gradattn.paper.damaged_pixels import damaged_levels
from keras_gradattn.training import CoupledAdam, build_model, build_optimizer

NARROW = {"stage_filters": (4, 4, 8, 8), "stage_blocks": (1, 1, 1, 1)}
RELEASED_SWITCHES = (
    "released_pixels",
    "released_v1_head",
    "released_initialization",
    "released_blocks",
)


def test_described_protocol_is_the_authors_text():
    described = RECIPES["as_described"]
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


def test_released_differs_from_described_in_its_own_switches_only():
    released = dataclasses.asdict(RECIPES["as_released"])
    described = dataclasses.asdict(RECIPES["as_described"])
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
    released = dataclasses.asdict(RECIPES["as_released"])
    other = dataclasses.asdict(RECIPES[name])
    assert {k for k in other if other[k] != released[k]} == repaired | {"name"}


def test_arms_of_the_cause_test_differ_in_the_decay_only():
    arms = [
        dataclasses.asdict(RECIPES[f"fixed_steps_{arm}"])
        for arm in ("coupled", "decoupled", "no_decay")
    ]
    differing = {k for k in arms[0] if len({str(arm[k]) for arm in arms}) > 1}
    assert differing == {"name", "optimizer", "weight_decay"}
    for arm in arms:
        assert (arm["max_steps"], arm["batch_size"]) == (25_000, 32)
        assert arm["early_stopping_patience"] is None


def test_released_switches_apply_where_the_released_code_has_them():
    released = RECIPES["as_released"]
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
    released = RECIPES["as_released"].for_dataset("cifar10")
    spec = datasets.spec("cifar10")
    head = build_model("gradattn_v1", spec, released, **NARROW).get_config()
    assert (head["width"], head["num_heads"], head["feed_forward"]) == (32, 16, 2)
    other = build_model("gradattn_v2", spec, released, **NARROW).get_config()
    assert other["width"] == 256
    se = build_model("se_resnet18", spec, released, **NARROW).get_config()
    plain = build_model("resnet18", spec, released, **NARROW).get_config()
    assert se["initialization"] == "kaiming_fan_out"
    assert plain["initialization"] == "pytorch"
    described = RECIPES["as_described"].for_dataset("cifar10")
    se = build_model("se_resnet18", spec, described, **NARROW).get_config()
    assert se["initialization"] == "pytorch"


def test_described_decays_everything():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    optimizer = build_optimizer(RECIPES["as_described"], model, total_steps=10)
    assert isinstance(optimizer, CoupledAdam)
    optimizer.build(model.trainable_variables)
    assert all(optimizer._use_weight_decay(v) for v in model.trainable_variables)


def test_released_blocks_start_as_copies_of_one():
    """`nn.TransformerEncoder` copies its layer; V3 of the released code does not."""
    spec = datasets.spec("fashion_mnist")
    released = RECIPES["as_released"].for_dataset("fashion_mnist")
    for name, alike in (("gradattn_v1", 1), ("gradattn_v2", 1), ("gradattn_v3", 0)):
        head = build_model(name, spec, released, **NARROW).get_layer("head")
        kernels = [
            keras.ops.convert_to_numpy(block.expansion.kernel) for block in head.blocks
        ]
        assert [np.array_equal(kernels[0], k) for k in kernels[1:]] == [alike] * 2


def test_released_recipes_train_on_damaged_levels_where_the_code_does():
    released = RECIPES["as_released"]
    for name in ("cifar10", "fashion_mnist"):
        spec = datasets.spec(name)
        found = released.for_dataset(name).level_table(spec)
        np.testing.assert_array_equal(found, damaged_levels(spec))
    svhn = datasets.spec("svhn")
    assert released.for_dataset("svhn").level_table(svhn) is None
    repaired = RECIPES["as_released_pixels_repaired"].for_dataset("cifar10")
    assert repaired.level_table(datasets.spec("cifar10")) is None
