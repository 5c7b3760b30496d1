"""Findings, their report and their page; the tables behind them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import keras_gradattn as kg
from keras_gradattn.diagnosis import (
    SYMPTOMS,
    THRESHOLDS,
    Curve,
    Evidence,
    Findings,
)
from keras_gradattn.diagnosis.confidence import ABOVE_NOTE, confidence
from keras_gradattn.diagnosis.finding import found

pytestmark = pytest.mark.any_backend


def _findings():
    curve = Curve(
        "Loss", {"loss": ([0.0, 1.0, 2.0], [1.0, 0.5, 2.0])}, 1.5, logarithmic=True
    )
    return Findings(
        [
            found("plateau", "note", "It stands."),
            found(
                "vanishing_gradients", "warning", "They shrink.",
                Evidence("share", 1e-5, 1e-3, "below"),
                layers=("a<b", "c"), first_step=3, last_step=9, picture=curve,
            ),
            found("constant_predictor", "warning", "It guesses."),
            found("symmetric_weights", "fault", "They are equal."),
        ],
        ["Gradients: none."],
    )  # fmt: skip


def test_causes_stand_before_what_they_cause():
    assert _findings().names == (
        "symmetric_weights",
        "vanishing_gradients",
        "constant_predictor",
        "plateau",
    )
    assert _findings().at_least("warning").names[-1] == "constant_predictor"
    with pytest.raises(ValueError, match="severity='bad'"):
        _findings().at_least("bad")


def test_what_is_found_twice_is_one_finding():
    one = found("target_scale", "note", "Once.", Evidence("size", 2.0))
    two = found("target_scale", "fault", "Twice.", Evidence("size", 3.0), layers=("a",))

    (both,) = Findings([one, two])

    assert (both.severity, both.layers) == ("fault", ("a",))
    assert both.confidence == max(one.confidence, two.confidence)
    assert [e.value for e in both.evidence] == [3.0, 2.0]
    assert both.message == "Twice. Once."


def test_the_report_says_what_where_when_and_what_to_write():
    text = _findings().report()
    sure = confidence("vanishing_gradients", "warning")
    for part in (
        f"vanishing_gradients (the cause in {sure:.0%} of cases)",
        "where: a<b, c",
        "steps 3 to 9",
        "share: 1e-05 (below 0.001)",
        "activation='relu'",
        "Not judged",
    ):
        assert part in text
    assert Findings().report() == "Nothing was found."


def test_json_holds_everything_but_pictures(tmp_path):
    path = tmp_path / "found.json"
    text = _findings().to_json(path)

    content = json.loads(path.read_text())

    assert content == json.loads(text)
    assert content["findings"][1]["evidence"][0]["threshold"] == 1e-3
    assert content["not_seen"] == ["Gradients: none."]


def test_the_page_is_whole_and_loads_nothing(tmp_path):
    path = tmp_path / "page.html"
    _findings().to_html(path, title="A & B")

    page = path.read_text()

    assert "A &amp; B" in page
    assert "a&lt;b" in page
    assert page.count("<svg") == 1
    assert not re.search(r"(src|href)=|https?://|<script", page)


def test_every_symptom_has_a_cause_and_a_line_of_code():
    for symptom in SYMPTOMS.values():
        assert symptom.when in ("before", "probe", "during")
        assert symptom.meaning.endswith(".")
        assert symptom.source
        assert symptom.causes
        assert all(change for _, change in symptom.causes)


def test_every_symptom_is_found_by_some_rule():
    rules = Path(kg.diagnosis.__file__).parent
    code = "".join(
        path.read_text()
        for room in ("checks", "rules")
        for path in (rules / room).glob("*.py")
    )
    assert [name for name in SYMPTOMS if f'"{name}"' not in code] == []


def test_every_threshold_has_a_source():
    assert all(one.source for one in THRESHOLDS.values())


def test_confidence_is_the_share_that_was_right_leaning_on_others_of_its_kind():
    for when in ("before", "probe", "during"):
        names = [name for name, one in SYMPTOMS.items() if one.when == when]
        counted = [ABOVE_NOTE[name] for name in names if name in ABOVE_NOTE]
        right, said = (sum(column) for column in zip((0, 0), *counted, strict=True))
        share = (right + 1) / (said + 2)
        for name in names:
            own_right, own_said = ABOVE_NOTE.get(name, (0, 0))
            expected = min((own_right + 4 * share) / (own_said + 4), 0.99)
            assert confidence(name, "warning") == pytest.approx(expected)
            assert confidence(name, "fault") == confidence(name, "warning")


@pytest.mark.parametrize("writer", ["to_json", "to_html"])
def test_a_file_stays_as_it_was_where_writing_fails(tmp_path, monkeypatch, writer):
    path = tmp_path / "findings"
    write = getattr(_findings(), writer)
    write(path)
    before = path.read_text()

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write(path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_line_against_equal_columns_keeps_their_order():
    (change,) = [change for _, change in SYMPTOMS["duplicated_inputs"].causes]
    names = {"np": np, "x": np.array([[3, 1, 3, 2], [0, 5, 0, 9]])}
    exec(change, names)
    assert names["x"].tolist() == [[3, 1, 2], [0, 5, 9]]
