"""Kept trainings are judged again with other thresholds."""

import pytest

from keras_gradattn.diagnosis.thresholds import THRESHOLDS
from studies.diagnosis import thresholds
from studies.diagnosis.mutations import MUTATIONS
from tests.diagnosis.test_rules import healthy, stalled

pytestmark = pytest.mark.any_backend


@pytest.fixture
def kept():
    kind = next(m.kind for m in MUTATIONS if "constant_predictor" in m.expected)
    known = {"before": [], "base": "a", "least": 0.8}
    return [
        {**known, "name": "a", "kind": None, "metric": 0.9, "seen": healthy()},
        {**known, "name": "b", "kind": kind, "metric": 0.3, "seen": stalled()},
    ]


@pytest.mark.parametrize(
    ("value", "factor", "expected"),
    [(3.0, 2.0, 6.0), (0.2, 0.5, 0.1), (0.9, 2.0, 0.95), (0.9, 0.5, 0.8)],
)
def test_shares_above_a_half_stay_shares(value, factor, expected):
    assert thresholds.moved(value, factor) == pytest.approx(expected)


def test_each_threshold_is_moved_alone_and_put_back(kept):
    before = dict(THRESHOLDS)

    found = thresholds.measured(kept)

    assert found["as set"] == (1, 0)
    # What counts as no gain at all does not matter for a loss that stands still.
    assert found["constant_gain_low"] == {"0.5": (1, 0), "2.0": (1, 0)}
    assert dict(THRESHOLDS) == before
