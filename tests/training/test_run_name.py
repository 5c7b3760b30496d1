"""Names of runs: readable, safe everywhere, and no two alike."""

import dataclasses
import json
import math
import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_gradattn.training.recipe import Recipe
from keras_gradattn.training.run_name import _PLACED, _SHORTER, run_name

pytestmark = pytest.mark.any_backend


def configuration(recipe=None, **settings):
    """What a run without any wishes is asked for, and the wishes."""
    return {
        "dataset": "fashion_mnist",
        "model": "gradattn_pathways",
        "recipe": {"name": "modern", "learning_rate": 1e-3, "changes": recipe or {}},
        "seed": 42,
        "max_epochs": None,
        "max_steps": None,
        "limit": None,
        "model_options": {},
    } | settings


def protocol(**settings):
    return run_name(configuration(**settings)).split("/")[2]


def network(**options):
    return run_name(configuration(model_options=options)).split("/")[1]


def test_a_run_without_wishes_is_named_by_four_words():
    name = run_name(configuration())
    assert name == "fashion_mnist/gradattn_pathways/modern/seed42"


def test_every_wish_stands_in_the_name():
    name = run_name(
        configuration(
            {"stem": "imagenet", "ema_momentum": 0.99},
            seed=7,
            max_epochs=30,
            limit=5000,
            model_options={"stage_blocks": (2, 2, 2, 2), "mixing": "equal"},
        )
    )
    assert name == (
        "fashion_mnist/gradattn_pathways,mixing=equal,stage_blocks=2-2-2-2/"
        "modern,ema_momentum=0.99,stem=imagenet,epochs=30,limit=5000/seed7"
    )


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ({"max_steps": 12}, "modern,steps=12"),
        ({"devices": 2, "engine": "device"}, "modern,devices=2,engine=device"),
        ({"recipe": {"max_epochs": 300}, "max_epochs": 2},
         "modern,max_epochs=300,epochs=2"),
        # A setting that does not exist yet.
        ({"image_size": 32}, "modern,image_size=32"),
        ({"recipe": {"learning_rate": 3e-4}}, "modern,learning_rate=0.0003"),
        ({"recipe": {"learning_rate": 1e-5}}, "modern,learning_rate=1e-05"),
        ({"recipe": {"mixup": 0.0}}, "modern,mixup=0"),
        ({"recipe": {"ema_momentum": None}}, "modern,ema_momentum=none"),
        ({"recipe": {"released_blocks": False}}, "modern,released_blocks=false"),
        ({"recipe": {"augmentation": ()}}, "modern,augmentation=empty"),
    ],
    ids=str,
)  # fmt: skip
def test_wishes_for_the_protocol(wishes, told):
    assert protocol(**wishes) == told


def test_one_configuration_has_one_name():
    asked = configuration({"stem": "cifar", "augmentation": [{"name": "flip"}]},
                          model_options={"width": 8, "dropout": 1.0})  # fmt: skip
    again = json.loads(json.dumps(asked))
    again["model_options"] = {"dropout": 1, "width": 8}
    assert run_name(again) == run_name(asked)


def test_an_option_and_a_recipe_field_of_one_name_are_two_wishes():
    of_recipe = run_name(configuration({"stem": "cifar"}))
    of_network = run_name(configuration(model_options={"stem": "cifar"}))
    assert of_recipe != of_network


def test_names_of_recipe_fields_and_of_arguments_do_not_meet():
    arguments = {"limit", "devices", "engine", *_SHORTER.values()}
    assert not arguments & {field.name for field in dataclasses.fields(Recipe)}
    assert not set(_SHORTER) & set(_PLACED)


def test_what_cannot_be_written_is_told_by_a_hash():
    flip, crop = ([{"name": name}] for name in ("flip", "crop"))
    names = [protocol(recipe={"augmentation": entries}) for entries in (flip, crop)]
    assert names[0] != names[1]
    for name in names:
        assert re.fullmatch(r"modern,augmentation=custom~[0-9a-f]{8}", name)


def test_a_long_part_ends_in_whole_settings_and_a_hash():
    options = {f"option{index}": "x" * 20 for index in range(9)}
    name = network(**options)
    assert len(name) <= 100
    start, digits = name.split("~")
    assert start == "gradattn_pathways," + ",".join(
        f"option{index}={'x' * 20}" for index in range(2)
    )
    assert len(digits) == 8
    assert network(**options | {"option8": "y"}) != name
    # One long word alone is cut.
    assert len(network(**{"x" * 300: 1}).split("~")[0]) < 100


def test_hashes_stay_what_they_are():
    # A name that changed would hide every finished run from its repetition.
    assert (
        network(stage_filters=[8]) == "gradattn_pathways,stage_filters=custom~0e352c00"
    )


# === No two alike ===

_words = st.one_of(
    st.sampled_from(["none", "true", "empty", "custom", "con", "1-2", "1", "a", "A"]),
    st.text(max_size=6),
    st.text(string.printable, max_size=120),
)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.integers(), _words,
              st.floats(allow_nan=False)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
_settings = st.dictionaries(
    st.one_of(st.sampled_from(["mixing", "Mixing", "stem", "a,b", "a=b"]), _words),
    _values,
    max_size=3,
)
_configurations = st.builds(
    lambda words, changes, options, epochs, limit, seed: configuration(
        changes,
        dataset=words[0],
        model=words[1],
        seed=seed,
        max_epochs=epochs,
        limit=limit,
        model_options=options,
    ),
    st.tuples(_words, _words),
    _settings,
    _settings,
    st.none() | st.integers(1, 3),
    st.none() | st.integers(1, 3),
    st.integers(0, 3),
)


def told(value):
    """What makes two values one: JSON's view, whole numbers without a point."""
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value


@settings(max_examples=50)
@given(_configurations, _configurations)
@example(configuration(model_options={"a": [5]}), configuration(model_options={"a": 5}))
@example(
    configuration(model_options={"a": "1-2"}),
    configuration(model_options={"a": [1, 2]}),
)
@example(
    configuration(model_options={"a": "b,c=d"}),
    configuration(model_options={"a": "b", "c": "d"}),
)
@example(
    configuration(model_options={"a": True}), configuration(model_options={"a": "true"})
)
@example(configuration({"a": "Flip"}), configuration({"a": "flip"}))
@example(configuration({"a": []}), configuration({"a": {}}))
@example(configuration({"epochs": 2}), configuration(max_epochs=3))
def test_two_configurations_have_two_names(one, other):
    same = json.dumps(told(one), sort_keys=True) == json.dumps(
        told(other), sort_keys=True
    )
    # Some file systems do not tell upper from lower case.
    assert (run_name(one).lower() == run_name(other).lower()) == same


@settings(max_examples=50)
@given(_configurations)
@example(configuration(dataset="con", model="nul"))
@example(configuration(dataset=".", model=".."))
@example(configuration(dataset="a/b\\c", model=""))
def test_names_are_safe_on_every_file_system(asked):
    parts = run_name(asked).split("/")
    assert len(parts) == 4
    for part in parts:
        assert re.fullmatch(r"[a-z0-9_]([a-z0-9_.,=~-]*[a-z0-9_])?", part)
        assert len(part) <= 100
        # Windows keeps these for devices, with any ending.
        assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", part)
