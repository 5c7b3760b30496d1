"""Every measure of a trained classifier, from one pass over the test set."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_gradattn._extras import optional


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What one pass over a test set says about a classifier.

    Shares are in 0-1 units, entropies and losses in nats. `None` stands where a
    measure does not exist: top-k beyond the number of classes, the area under the
    curve of a class that the test set lacks, the calibrated error without
    validation data.

    Attributes:
        samples: Number of test images.
        loss: Mean cross-entropy.
        top1: Share of images whose class is the most probable one: the accuracy.
        top3: Share whose class is among the three most probable.
        top5: Share whose class is among the five most probable.
        precision_macro: Precision, mean over classes.
        recall_macro: Recall, mean over classes.
        f1_macro: F1, mean over classes.
        precision_weighted: Precision, mean weighted by the images of a class.
        recall_weighted: Recall, likewise.
        f1_weighted: F1, likewise.
        balanced_accuracy: Recall, mean over the classes that the test set has.
        auc_one_vs_rest: Area under the ROC curve, each class against the rest, mean.
        confidence_mean: Mean probability of the predicted class.
        confidence_std: Its deviation over images.
        entropy_mean: Mean entropy of the predicted distribution.
        expected_calibration_error: See the function of that name, 10 bins.
        temperature: What validation data say logits should be divided by.
        calibrated_calibration_error: The calibration error after that.
        per_class_accuracy: Recall by class.
        confusion_matrix: Images by true class (row) and predicted class (column).
        class_names: In the order of rows and columns.
        reliability: For each tenth of confidence the `count` of predictions, their mean
            `confidence` and their `accuracy` (`None` where there are none).

    Example:

    ```python
    evaluation = keras_gradattn.training.evaluate(model, [(x_test, y_test)])
    evaluation.top1, evaluation.confusion_matrix
    ```
    """

    samples: int
    loss: float
    top1: float
    top3: float | None
    top5: float | None
    precision_macro: float
    recall_macro: float
    f1_macro: float
    precision_weighted: float
    recall_weighted: float
    f1_weighted: float
    balanced_accuracy: float
    auc_one_vs_rest: float | None
    confidence_mean: float
    confidence_std: float
    entropy_mean: float
    expected_calibration_error: float
    temperature: float | None
    calibrated_calibration_error: float | None
    per_class_accuracy: list[float | None]
    confusion_matrix: list[list[int]]
    class_names: list[str]
    reliability: dict[str, list[Any]]

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain numbers, lists and strings, ready for JSON."""
        return dataclasses.asdict(self)

    def summary(self) -> str:
        """The main figures in a few lines of text."""
        shares = {
            "accuracy": self.top1,
            "top-3": self.top3,
            "top-5": self.top5,
            "balanced accuracy": self.balanced_accuracy,
            "F1 (macro)": self.f1_macro,
            "AUC (one vs rest)": self.auc_one_vs_rest,
            "mean confidence": self.confidence_mean,
            "calibration error": self.expected_calibration_error,
            "after temperature": self.calibrated_calibration_error,
        }
        lines = [f"{'test images':<20}{self.samples:>9,}"]
        lines += [f"{'loss':<20}{self.loss:>9.4f}"]
        lines += [
            f"{name:<20}{100 * value:>8.2f}%"
            for name, value in shares.items()
            if value is not None
        ]
        return "\n".join(lines)


def evaluate(
    model: keras.Model,
    batches: Iterable[tuple[Any, Any]],
    *,
    validation: Iterable[tuple[Any, Any]] | None = None,
    class_names: Sequence[str] | None = None,
    from_logits: bool = False,
) -> Evaluation:
    """Measure a classifier in one pass over `batches`.

    Args:
        model: A classifier with an output of shape `(batch, classes)`.
        batches: `(images, labels)` pairs: a `tf.data.Dataset`, a
            `keras.utils.PyDataset` or a list. Labels are class indices of shape
            `(batch,)` or `(batch, 1)`, or one-hot rows of shape `(batch, classes)`.
        validation: Batches to fit the temperature on (Guo et al. 2017, section
            4.2); without them the calibrated error is `None`. Never the test set.
        class_names: One name a class. Defaults to the indices.
        from_logits: Whether the model's output is logits rather than
            probabilities. Defaults to `False`.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: If there is no batch, a label is no class of the model's, or
            the model's output is not finite.

    Example:

    ```python
    evaluation = keras_gradattn.training.evaluate(model, [(x_test, y_test)])
    print(evaluation.summary())
    ```
    """
    return evaluate_with_errors(
        model,
        batches,
        validation=validation,
        class_names=class_names,
        from_logits=from_logits,
    )[0]


def evaluate_with_errors(
    model: keras.Model,
    batches: Iterable[tuple[Any, Any]],
    *,
    validation: Iterable[tuple[Any, Any]] | None,
    class_names: Sequence[str] | None,
    from_logits: bool,
) -> tuple[Evaluation, list[dict[str, Any]]]:
    """As `evaluate`, with the `worst_errors` of the same pass."""
    log_probabilities, labels = log_probabilities_of(model, batches, from_logits)
    temperature = None
    if validation is not None:
        temperature = fit_temperature(
            *log_probabilities_of(model, validation, from_logits)
        )
    evaluation = measure(
        log_probabilities, labels, temperature=temperature, class_names=class_names
    )
    return evaluation, worst_errors(log_probabilities, labels)


def measure(
    log_probabilities: np.ndarray,
    labels: np.ndarray,
    *,
    temperature: float | None = None,
    class_names: Sequence[str] | None = None,
) -> Evaluation:
    """Turn predictions into an `Evaluation`.

    Args:
        log_probabilities: Normalised log probabilities, shape `(samples, classes)`.
        labels: Class indices, shape `(samples,)`.
        temperature: Divides the logits for the calibrated error only.
        class_names: One name a class. Defaults to the indices.

    Returns:
        An `Evaluation`.
    """
    metrics = optional("sklearn.metrics", "An evaluation")
    probabilities = np.exp(log_probabilities)
    samples, classes = probabilities.shape
    names = [str(name) for name in (class_names or range(classes))]
    if len(names) != classes:
        raise ValueError(
            f"`class_names` must name the {classes} classes of the model. "
            f"Received: {len(names)} names"
        )
    every_class = np.arange(classes)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    confusion = metrics.confusion_matrix(labels, predicted, labels=every_class)
    present = confusion.sum(axis=1)
    # scikit-learn's own balanced accuracy warns about predictions of classes that
    # the test set lacks; it is this mean over the classes that it has.
    recalls = confusion.diagonal()[present > 0] / present[present > 0]

    averages: dict[str, float] = {}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            labels, predicted, labels=every_class, average=average, zero_division=0
        )
        averages |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    calibrated = None
    if temperature is not None:
        scaled = np.exp(_log_softmax(log_probabilities / temperature))
        calibrated = expected_calibration_error(
            scaled.max(axis=1), scaled.argmax(axis=1) == labels
        )
    return Evaluation(
        samples=samples,
        loss=float(-log_probabilities[np.arange(samples), labels].mean()),
        top1=float((predicted == labels).mean()),
        top3=_top_k(probabilities, labels, 3),
        top5=_top_k(probabilities, labels, 5),
        balanced_accuracy=float(recalls.mean()),
        auc_one_vs_rest=_area_under_curve(probabilities, labels),
        confidence_mean=float(confidence.mean()),
        confidence_std=float(confidence.std()),
        entropy_mean=float(-(probabilities * log_probabilities).sum(axis=1).mean()),
        expected_calibration_error=expected_calibration_error(
            confidence, predicted == labels
        ),
        temperature=temperature,
        calibrated_calibration_error=calibrated,
        per_class_accuracy=[
            float(right / count) if count else None
            for right, count in zip(confusion.diagonal(), present, strict=True)
        ],
        confusion_matrix=confusion.tolist(),
        class_names=names,
        reliability=reliability(confidence, predicted == labels),
        **averages,
    )


def expected_calibration_error(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 10
) -> float:
    """Gap between confidence and accuracy, averaged over bins of equal width.

    `sum over bins of (share of samples) * |mean accuracy - mean confidence|`, bins
    `(0, 0.1], (0.1, 0.2], ...` (Naeini et al. 2015; Guo et al. 2017, equation 3).

    Args:
        confidence: Probability of the predicted class, shape `(samples,)`.
        correct: Whether the prediction is right, shape `(samples,)`.
        bins: Number of bins. Defaults to 10.

    Returns:
        The error, in 0-1 units.

    Example:

    ```python
    expected_calibration_error(np.array([0.95, 0.95]), np.array([True, False]))
    # 0.45
    ```
    """
    confidence = np.asarray(confidence, "float64")
    correct = np.asarray(correct, "float64")
    which = _bins(confidence, bins)
    gaps = np.bincount(which, weights=correct - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 10
) -> dict[str, list[Any]]:
    """How often predictions of each confidence are right (Guo et al. 2017, figure 1).

    Args:
        confidence: Probability of the predicted class, shape `(samples,)`.
        correct: Whether the prediction is right, shape `(samples,)`.
        bins: Number of bins of equal width. Defaults to 10.

    Returns:
        `count`, `confidence` and `accuracy` of each bin; `None` of an empty one.
    """
    which = _bins(np.asarray(confidence, "float64"), bins)
    counts = np.bincount(which, minlength=bins)

    def means(values: np.ndarray) -> list[float | None]:
        sums = np.bincount(which, np.asarray(values, "float64"), minlength=bins)
        return [
            float(total / count) if count else None
            for total, count in zip(sums, counts, strict=True)
        ]

    return {
        "count": counts.tolist(),
        "confidence": means(confidence),
        "accuracy": means(correct),
    }


def worst_errors(
    log_probabilities: np.ndarray, labels: np.ndarray, count: int = 24
) -> list[dict[str, Any]]:
    """The wrong predictions that a classifier is surest of, the worst first.

    Args:
        log_probabilities: Normalised log probabilities, shape `(samples, classes)`.
        labels: Class indices, shape `(samples,)`.
        count: How many at most. Defaults to 24.

    Returns:
        For each the `position` in the data, `label`, `predicted`, and the
        `probability` of what was predicted.
    """
    predicted = log_probabilities.argmax(axis=1)
    confidence = np.exp(log_probabilities.max(axis=1))
    wrong = np.flatnonzero(predicted != labels)
    # Stable, so that ties keep the order of the data.
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    return [
        {
            "position": int(row),
            "label": int(labels[row]),
            "predicted": int(predicted[row]),
            "probability": float(confidence[row]),
        }
        for row in order
    ]


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    # Compared with the edges themselves: ceil(10 * 0.7) would be 8.
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, confidence, side="left")


def fit_temperature(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Find the temperature with the lowest loss (Guo et al. 2017, section 4.2).

    Args:
        log_probabilities: Log probabilities or logits of validation data, shape
            `(samples, classes)`.
        labels: Class indices, shape `(samples,)`.

    Returns:
        The temperature, between 0.05 and 20: above 1 for an overconfident model.

    Example:

    ```python
    confident = np.log([[0.99, 0.01], [0.99, 0.01]])
    fit_temperature(confident, np.array([0, 1]))  # 20: half of that is wrong
    ```
    """
    rows = np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        scaled = _log_softmax(log_probabilities / math.exp(log_temperature))
        return float(-scaled[rows, labels].mean())

    # The loss is convex in 1/temperature, so it has one valley; golden-section
    # search needs no derivative and no library.
    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > 1e-4:
        if loss_left < loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - ratio * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + ratio * (high - low)
            loss_right = loss(right)
    return math.exp((low + high) / 2)


def log_probabilities_of(
    model: keras.Model, batches: Iterable[Any], from_logits: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Normalised log probabilities (samples, classes) and class indices (samples,).

    Args:
        model: A classifier.
        batches: As for `evaluate`, like what follows.
        from_logits: Whether the model's output is logits.
    """
    outputs, labels = [], []
    for images, batch_labels in batches:
        outputs.append(np.asarray(model.predict_on_batch(images), "float64"))
        labels.append(np.asarray(keras.ops.convert_to_numpy(batch_labels)))
    if not outputs:
        raise ValueError("`batches` must hold at least one batch. Received: none")
    scores, truth = np.concatenate(outputs), np.concatenate(labels)
    if not np.isfinite(scores).all():
        raise ValueError(
            "The model's output should be finite: a lower learning rate may help. "
            "Received: other values for "
            f"{int((~np.isfinite(scores)).any(axis=1).sum())} of {len(scores)} images"
        )
    classes = scores.shape[-1]
    if truth.ndim == 2:
        truth = truth.argmax(axis=1) if truth.shape[1] == classes > 1 else truth[:, 0]
    truth = truth.astype("int64")
    if truth.min() < 0 or truth.max() >= classes:
        raise ValueError(
            f"Labels must lie in 0..{classes - 1}, the classes of the model. "
            f"Received: labels from {truth.min()} to {truth.max()}"
        )
    if from_logits:
        return _log_softmax(scores), truth
    # A probability that rounded to zero would make the loss infinite.
    scores = np.clip(scores, np.finfo("float32").tiny, None)
    return np.log(scores / scores.sum(axis=1, keepdims=True)), truth


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    scores = scores - scores.max(axis=1, keepdims=True)
    return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def _top_k(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float | None:
    metrics = optional("sklearn.metrics", "An evaluation")
    classes = probabilities.shape[1]
    if k > classes:
        return None
    if k == classes:
        return 1.0
    return float(
        metrics.top_k_accuracy_score(
            labels, probabilities, k=k, labels=np.arange(classes)
        )
    )


def _area_under_curve(probabilities: np.ndarray, labels: np.ndarray) -> float | None:
    metrics = optional("sklearn.metrics", "An evaluation")
    classes = probabilities.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return float(metrics.roc_auc_score(labels, probabilities[:, 1]))
    return float(
        metrics.roc_auc_score(
            labels, probabilities, multi_class="ovr", labels=np.arange(classes)
        )
    )
