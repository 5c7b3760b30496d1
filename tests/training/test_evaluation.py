"""Measures against values worked out by hand."""

import json
import math

import keras
import numpy as np
import pytest

from keras_gradattn.training.evaluation import (
    Evaluation,
    evaluate,
    expected_calibration_error,
    fit_temperature,
    measure,
    reliability,
    worst_errors,
)

# Four images, three classes; the last image is wrong (class 2 predicted as 0).
PROBABILITIES = np.array(
    [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.6, 0.1, 0.3]]
)
LABELS = np.array([0, 1, 2, 2])


class Lookup(keras.layers.Layer):
    """A model that 'predicts' its own input."""

    def call(self, x):
        return x


def identity_model(classes=3):
    return keras.Sequential([keras.Input((classes,)), Lookup()])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(3 * index, 3 * index + 3)
        return PROBABILITIES[part].astype("float32"), LABELS[part]


def test_measures_by_hand():
    result = measure(np.log(PROBABILITIES), LABELS)
    assert result.samples == 4
    assert result.top1 == 0.75
    assert result.top3 == 1.0
    assert result.top5 is None
    assert result.loss == pytest.approx(
        -(math.log(0.7) + math.log(0.8) + math.log(0.5) + math.log(0.3)) / 4
    )
    assert result.confusion_matrix == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert result.per_class_accuracy == [1.0, 1.0, 0.5]
    assert result.balanced_accuracy == pytest.approx(2.5 / 3)
    assert result.precision_macro == pytest.approx((0.5 + 1 + 1) / 3)
    assert result.recall_macro == pytest.approx(2.5 / 3)
    assert result.f1_macro == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    assert result.f1_weighted == pytest.approx((2 / 3 + 1 + 2 * 2 / 3) / 4)
    assert result.precision_weighted == pytest.approx((0.5 + 1 + 2) / 4)
    assert result.recall_weighted == pytest.approx(0.75)
    assert result.confidence_mean == pytest.approx(0.65)
    assert result.confidence_std == pytest.approx(np.std([0.7, 0.8, 0.5, 0.6]))
    assert result.entropy_mean == pytest.approx(
        -(PROBABILITIES * np.log(PROBABILITIES)).sum() / 4
    )
    # Class 0 against the rest: scores .7 | .1 .25 .6 -> 1; class 1: 1;
    # class 2: .5 .3 | .1 .1 -> 1.
    assert result.auc_one_vs_rest == pytest.approx(1.0)
    # .7 .8 right, .5 right, .6 wrong: one image in each of four bins.
    assert result.expected_calibration_error == pytest.approx(
        (0.3 + 0.2 + 0.5 + 0.6) / 4
    )


def test_calibration_error_of_shared_bins():
    # (.6, .7]: .65 and .7, one right: |.5 - .675|; (.9, 1]: .95 1 1, all right.
    confidence = np.array([0.65, 0.7, 0.95, 1.0, 1.0])
    correct = np.array([True, False, True, True, True])
    expected = 2 / 5 * 0.175 + 3 / 5 * (1 - 2.95 / 3)
    assert expected_calibration_error(confidence, correct) == pytest.approx(expected)


@pytest.mark.parametrize("edge", [0.1, 0.3, 0.5, 0.6, 0.7, 0.9])
def test_a_bin_contains_its_upper_edge(edge):
    """At the edge with one right, just below with one wrong: one bin, they cancel."""
    confidence = np.array([edge, edge - 0.05])
    error = expected_calibration_error(confidence, np.array([True, False]))
    assert error == pytest.approx(abs(1 - confidence.sum()) / 2)


def test_topk_where_classes_allow():
    scores = np.log(np.array([[0.4, 0.3, 0.1, 0.08, 0.07, 0.05]] * 6))
    result = measure(scores, np.arange(6))
    assert (result.top1, result.top3, result.top5) == (1 / 6, 3 / 6, 5 / 6)
    binary = measure(np.log([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1]))
    assert (binary.top3, binary.top5) == (None, None)
    assert binary.auc_one_vs_rest == 1.0


def test_missing_class_is_left_out_not_guessed():
    result = measure(np.log(PROBABILITIES[:2]), LABELS[:2])
    assert result.per_class_accuracy == [1.0, 1.0, None]
    assert result.balanced_accuracy == 1.0
    assert result.auc_one_vs_rest is None


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
def test_temperature_recovers_the_one_that_generated_the_labels(true_temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)) * 2
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((20_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    found = fit_temperature(logits * true_temperature, labels)
    assert found == pytest.approx(true_temperature, rel=0.03)


def test_temperature_repairs_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 4))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((4000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    batches = [((5 * logits[i::2]).astype("float32"), labels[i::2]) for i in range(2)]
    result = evaluate(
        identity_model(4), batches[:1], validation=batches[1:], from_logits=True
    )
    assert result.temperature == pytest.approx(5, rel=0.2)
    assert result.calibrated_calibration_error < result.expected_calibration_error / 5


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS[:, None], np.eye(3)[LABELS]], ids=["flat", "column", "1h"]
)
def test_label_forms_and_batch_sources_agree(labels):
    expected = measure(np.log(PROBABILITIES), LABELS).to_dict()
    x = PROBABILITIES.astype("float32")
    for batches in ([(x, labels)], [(x[:3], labels[:3]), (x[3:], labels[3:])]):
        result = evaluate(identity_model(), batches).to_dict()
        for name in ("top1", "f1_macro", "loss", "confusion_matrix"):
            np.testing.assert_allclose(result[name], expected[name], rtol=1e-6)


def test_pydataset_is_read_once_through():
    assert evaluate(identity_model(), Batches()).samples == 4


def test_logits_and_probabilities_agree():
    logits = (np.log(PROBABILITIES) + 3.0).astype("float32")
    result = evaluate(identity_model(), [(logits, LABELS)], from_logits=True)
    assert result.loss == pytest.approx(measure(np.log(PROBABILITIES), LABELS).loss)


def test_certain_and_wrong_stays_finite():
    result = evaluate(identity_model(2), [(np.eye(2, dtype="float32"), [1, 1])])
    assert math.isfinite(result.loss)
    assert math.isfinite(result.entropy_mean)


def test_result_is_json_and_text():
    result = measure(np.log(PROBABILITIES), LABELS, class_names=["a", "b", "c"])
    assert Evaluation(**json.loads(json.dumps(result.to_dict()))) == result
    assert "75.00%" in result.summary()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "at least one batch"),
        ([(np.eye(3, dtype="float32"), [0, 1, 3])], "labels from 0 to 3"),
        ([(np.full((1, 3), np.nan, "float32"), [0])], "should be finite"),
    ],
)
def test_bad_input_is_named(batches, message):
    with pytest.raises(ValueError, match=message):
        evaluate(identity_model(), batches)


def test_wrong_number_of_names():
    with pytest.raises(ValueError, match="2 names"):
        measure(np.log(PROBABILITIES), LABELS, class_names=["a", "b"])


def test_reliability_is_that_of_scikit_learn():
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1, 500)
    correct = random.random(500) < confidence**2
    found = reliability(confidence, correct)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=10)
    present = [index for index, count in enumerate(found["count"]) if count]
    assert found["accuracy"][:2] == [None, None]
    np.testing.assert_allclose([found["accuracy"][i] for i in present], accuracy)
    np.testing.assert_allclose([found["confidence"][i] for i in present], mean)
    # Guo et al. (2017), equation 3, from the same bins.
    gaps = [
        count / 500 * abs(a - c)
        for count, c, a in zip(*found.values(), strict=True)
        if count
    ]
    assert expected_calibration_error(confidence, correct) == pytest.approx(sum(gaps))


def test_worst_errors_are_the_surest_first():
    found = worst_errors(np.log(PROBABILITIES), np.array([1, 1, 0, 2]))
    assert [entry["position"] for entry in found] == [0, 3, 2]
    assert found[0] == {
        "position": 0,
        "label": 1,
        "predicted": 0,
        "probability": pytest.approx(0.7),
    }
    assert len(worst_errors(np.log(PROBABILITIES), np.array([1, 1, 0, 2]), 1)) == 1
    assert worst_errors(np.log(PROBABILITIES), PROBABILITIES.argmax(1)) == []
