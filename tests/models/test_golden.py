"""Models that earlier versions saved still load, and give the outputs of then."""

from pathlib import Path

import keras
import numpy as np
import pytest

import keras_gradattn
from tests.backend_gradients import inference

FOLDERS = Path(__file__).parents[1] / "golden"
FILES = sorted(FOLDERS.glob("*/*.keras"))


def test_every_file_has_outputs_to_equal():
    assert len(FILES) >= 12
    for folder in {file.parent for file in FILES}:
        with np.load(folder / "expected.npz") as expected:
            saved = {file.stem for file in FILES if file.parent == folder}
            assert saved | {"images"} == set(expected)


@pytest.mark.parametrize(
    "file", FILES, ids=lambda file: f"{file.parent.name}-{file.stem}"
)
def test_loads_with_equal_outputs(file):
    with np.load(file.parent / "expected.npz") as expected:
        images, outputs = expected["images"], expected[file.stem]
    if file.stem.endswith("_raw"):
        images = images * 40 + 128

    model = keras.saving.load_model(file)

    np.testing.assert_allclose(inference(model, images), outputs, atol=1e-5)


def saved_pathways(**arguments):
    """What `GradAttnPathways.get_config` returned in 0.1.0."""
    of_0_1 = {
        "heads": 2,
        "weights": "attention",
        "query": "map",
        "gate": "softmax",
        "top_k": None,
        "logit_cap": None,
        "source_dropout": 0.0,
        "normalized": True,
        "older_weight": 1.0,
        "head": "pool",
        "width": 256,
        "num_heads": 8,
        "feed_forward": 512,
        "num_layers": 3,
        "dropout": 0.1,
    }
    trunk = {"num_classes": 3, "stage_filters": (4, 8), "stage_blocks": (1, 1)}
    return trunk | of_0_1 | arguments


def saved_mixing(**arguments):
    """What `DepthMixing.get_config` returned in 0.1.0."""
    of_0_1 = {
        "heads": 2,
        "weights": "attention",
        "query": "map",
        "gate": "softmax",
        "top_k": None,
        "logit_cap": None,
        "normalized": False,
        "source_dropout": 0.0,
        "seed": None,
        "prior": None,
        "pool_sizes": None,
        "data_format": "channels_last",
    }
    return of_0_1 | arguments


@pytest.mark.parametrize(
    ("saved", "today"),
    [
        ({}, {"mixing": "attention", "start": "average"}),
        ({"weights": "static"}, {"mixing": "static", "start": "average"}),
        ({"weights": "prior"}, {"mixing": "equal", "start": "average"}),
        (
            {"normalized": False, "older_weight": 0.05},
            {"mixing": "attention", "start": "residual"},
        ),
    ],
)
def test_networks_of_0_1_are_read_in_todays_words(saved, today):
    model = keras_gradattn.GradAttnPathways.from_config(saved_pathways(**saved))

    config = model.get_config()

    assert config["channel_groups"] == 2
    assert {name: config[name] for name in today} == today
    assert not {"heads", "weights", "older_weight", "head", "width"} & set(config)


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        # What 0.1.0 computed at the start, of maps that are 1, 10 and 100.
        ({}, 111),
        ({"normalized": True}, 37),
        ({"weights": "equal"}, 111),
        ({"weights": "prior"}, 111),
        ({"prior": [0.5, 1.0, 2.0]}, 210.5),
        ({"prior": [0.5, 1.0, 2.0], "normalized": True}, 210.5 / 3.5),
        ({"prior": [0.5, 1.0, 2.0], "weights": "static"}, 210.5),
        # All alike, but their sum is still the prior's.
        ({"prior": [0.5, 1.0, 2.0], "weights": "equal"}, 111 * 3.5 / 3),
    ],
)
def test_layers_of_0_1_compute_what_they_did(saved, expected):
    layer = keras_gradattn.layers.DepthMixing.from_config(saved_mixing(**saved))
    maps = [np.full((2, 3, 3, 4), 10.0**i, "float32") for i in range(3)]

    mixed = keras.ops.convert_to_numpy(layer(maps))
    copy = type(layer).from_config(layer.get_config())

    np.testing.assert_allclose(mixed, expected, rtol=1e-6)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(copy(maps)), mixed)
    assert copy.get_config() == layer.get_config()


REMOVED = [
    {"query": "pixels"},
    {"query": "learned"},
    {"gate": "sigmoid"},
    {"top_k": 2},
    {"logit_cap": 0.5},
    {"source_dropout": 0.1},
]


@pytest.mark.parametrize(
    "removed",
    [
        *REMOVED,
        {"head": "gradattn"},
        {"normalized": False, "older_weight": 1.0},
        {"normalized": True, "older_weight": 0.05},
        {"normalized": False, "older_weight": 0.05, "weights": "prior"},
    ],
    ids=str,
)
def test_networks_with_what_was_removed_are_refused(removed):
    name, value = list(removed.items())[-1]

    with pytest.raises(ValueError, match=r"load it with keras-gradattn 0.1.0") as error:
        keras_gradattn.GradAttnPathways.from_config(saved_pathways(**removed))

    assert f"{name}={value!r}" in str(error.value)


@pytest.mark.parametrize(
    "removed", [*REMOVED, {"prior": [0.1, 1.0], "weights": "prior"}], ids=str
)
def test_layers_with_what_was_removed_are_refused(removed):
    name, value = list(removed.items())[-1]

    with pytest.raises(ValueError, match=r"load it with keras-gradattn 0.1.0") as error:
        keras_gradattn.layers.DepthMixing.from_config(saved_mixing(**removed))

    assert f"{name}={value!r}" in str(error.value)
