"""Results of format 1, written when pathways started as residual networks."""

import pytest

from keras_gradattn.training._earlier_defaults import FORMAT, in_todays_terms

RESIDUAL_START = {"normalized": False, "older_weight": 0.05}


def result(options, model="gradattn_pathways", format=1):
    configuration = {"model": model, "seed": 3, "model_options": options}
    return {"format": format, "configuration": configuration, "short": True}


def options_of(experiment):
    return experiment["configuration"]["model_options"]


@pytest.mark.parametrize(
    ("given", "today"),
    [
        ({}, RESIDUAL_START),
        ({"query": "learned"}, {"query": "learned"} | RESIDUAL_START),
        ({"older_weight": 1}, {"normalized": False}),
        ({"normalized": True}, {"older_weight": 0.05}),
        ({"normalized": True, "older_weight": 1, "heads": 2}, {"heads": 2}),
        ({"older_weight": 0.3}, {"normalized": False, "older_weight": 0.3}),
    ],
    ids=str,
)
def test_options_are_those_that_give_the_network_today(given, today):
    experiment = result(given)
    told = in_todays_terms(experiment)
    assert options_of(told) == today
    assert told["configuration"]["seed"] == 3
    assert told["short"] is True
    # The file's own content is left as it was.
    assert options_of(experiment) == given


def test_a_default_that_is_named_is_no_other_network():
    named = result({"normalized": True, "older_weight": 1, "heads": 2}, format=FORMAT)
    assert options_of(in_todays_terms(named)) == {"heads": 2}


@pytest.mark.parametrize(
    "experiment",
    [
        result({}, format=FORMAT),
        result(RESIDUAL_START, format=FORMAT),
        result({}, model="resnet18"),
        result({"stage_blocks": [2, 2]}, model="gradattn_v2"),
    ],
    ids=str,
)
def test_what_has_not_changed_is_left_alone(experiment):
    assert in_todays_terms(experiment) == experiment
