"""What a constant answer would reach: its loss, its accuracy."""

import numpy as np

from keras_gradattn.diagnosis.head import ONE_OF_SEVERAL, TWO_CLASSES, Head


def guessing_loss(head: Head) -> float | None:
    """Loss of the best answer that ignores the input, `None` where unknown.

    Of classes it is the entropy of their shares, of numbers the variance or the mean
    distance from the median.

    Args:
        head: An output with its labels and loss.
    """
    labels = head.labels
    if labels is None or not labels.size or labels.dtype.kind not in "biuf":
        return None
    values = labels.astype("float64")
    if not np.all(np.isfinite(values)):
        return None
    if head.loss in ONE_OF_SEVERAL and "focal" not in head.loss:
        classes = head.classes
        return None if classes is None else _entropy(classes)
    if head.loss in TWO_CLASSES and "focal" not in head.loss:
        if values.min() < 0 or values.max() > 1:
            return None
        share = np.clip(values.reshape(len(values), -1).mean(0), 1e-7, 1 - 1e-7)
        return float(np.mean(-share * np.log(share) - (1 - share) * np.log(1 - share)))
    if head.loss == "mean_squared_error":
        return float(np.mean(values.reshape(len(values), -1).var(0)))
    if head.loss == "mean_absolute_error":
        flat = values.reshape(len(values), -1)
        return float(np.mean(np.abs(flat - np.median(flat, axis=0))))
    return None


def majority_share(head: Head) -> float | None:
    """Share of the most frequent class, `None` where labels are no classes."""
    classes = head.classes
    if classes is None or not len(classes):
        return None
    if head.loss in TWO_CLASSES and len(np.unique(classes)) > 2:
        return None
    return float(np.unique(classes, return_counts=True)[1].max() / len(classes))


def _entropy(classes: np.ndarray) -> float:
    shares = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(-np.sum(shares * np.log(shares)))
