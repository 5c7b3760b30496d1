"""What of a run goes into its JSON: nothing that a table shows is lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_gradattn.training._reduction import reduced, rounded, to_json

pytestmark = pytest.mark.any_backend


def content():
    windows = [
        {
            "step": 500 * (index + 1),
            "epoch": 1,
            "norm": {"stem": 1 / 3, "head": 2 / 3},
            "rms": {"stem": 1 / 3, "head": None},
            "dead": {"stem": index, "head": 0},
            "dead_kernels": ["stem/kernel"] * index,
        }
        for index in range(2)
    ]
    return {
        "format": 3,
        "metrics": {"top1": 2 / 3, "confusion_matrix": [[1, 2], [3, 4]]},
        "history": [
            {"epoch": 1, "val_accuracy": 0.8348000049591064, "loss": 2.0,
             "learning_rate": 1 / 3, "gradient_norm_largest_group": 1.0},
            {"epoch": 2, "val_accuracy": 0.9, "loss": 1.0, "learning_rate": 0.0},
        ],
        "weight_norms": {"steps": [0, 1234567], "norms": {"stem": [100 / 3, 1e-9]}},
        "gradients": {
            "training": {"kernels": {"stem": 1, "head": 2}, "windows": windows},
            "test": {
                "batches": 20,
                "layers": [{"depth": 0, "layer": "stem", "norm": 1 / 3, "rms": None}],
                "health_percent": 100 / 3,
            },
        },
        "attention": None,
        "pathways": {"mean": {"head": {"stem": [1 / 3]}}, "frozen_top1": 2 / 3},
    }  # fmt: skip


def test_traces_become_columns():
    found = reduced(content())
    assert found["history"] == {
        "epoch": [1, 2],
        "loss": [2.0, 1.0],
        "val_accuracy": [0.8348, 0.9],
        "learning_rate": [0.33333, 0.0],
    }
    assert found["gradients"] == {
        "training": {
            "kernels": {"stem": 1, "head": 2},
            "step": [500, 1000],
            "rms": {"stem": [0.33333, 0.33333], "head": [None, None]},
            "dead": {"stem": [0, 1], "head": [0, 0]},
            "dead_kernels": ["stem/kernel"],
        },
        "test": {
            "batches": 20,
            "layers": {"layer": ["stem"], "norm": [0.33333], "rms": [None]},
            "health_percent": 33.33333,
        },
    }
    assert found["weight_norms"] == {
        "steps": [0, 1234567],
        "norms": {"stem": [33.333, 1e-9]},
    }


def test_metrics_stay_exact_and_what_is_not_there_is_left_out():
    found = reduced(content())
    assert found["metrics"] == content()["metrics"]
    assert found["pathways"] == {"mean": {"head": {"stem": [0.3333333]}},
                                 "frozen_top1": 0.6666667}  # fmt: skip
    assert "attention" not in found


def test_a_run_without_a_step_has_no_window():
    empty = content()
    empty["gradients"]["training"] = {"kernels": {}, "windows": []}
    empty["history"] = []
    found = reduced(empty)
    assert found["gradients"]["training"]["dead_kernels"] == []
    assert found["history"] == {}


def test_rounding_keeps_whole_numbers_and_words():
    assert rounded([1234567, 1234567.0, "1.23456789", True, None], 5) == [
        1234567, 1234600.0, "1.23456789", True, None,
    ]  # fmt: skip
    assert rounded(float("inf"), 5) == float("inf")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
                                                                      allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)  # fmt: skip


@given(_json)
def test_json_says_the_same_on_few_lines(value):
    assert json.loads(to_json(value)) == value


def test_a_list_of_numbers_is_one_line_and_a_dictionary_a_line_an_entry():
    text = to_json({"short": {"a": 1}, "long": {"x": [0.5] * 40, "y": [[1] * 30] * 2}})
    assert text.splitlines() == [
        "{",
        ' "short": {"a": 1},',
        ' "long": {',
        f'  "x": {[0.5] * 40},',
        '  "y": [',
        f"   {[1] * 30},",
        f"   {[1] * 30}",
        "  ]",
        " }",
        "}",
    ]


def test_json_has_no_nan():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": float("nan")})
