"""What a constant answer would reach: its loss, its accuracy."""

from typing import TYPE_CHECKING

import keras
import numpy as np

from keras_gradattn.diagnosis.head import (
    OF_NUMBERS,
    ONE_OF_SEVERAL,
    TWO_CLASSES,
    Head,
)

if TYPE_CHECKING:
    from keras_gradattn.diagnosis.probe import Probe

# Where the best constant lies: at the mean, the median, or between them.
_QUANTILES = (0.3, 0.4, 0.5, 0.6, 0.7)


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


def constant_loss(probe: "Probe", head: Head) -> float | None:
    """The same for losses of numbers without a formula, on the probed batch.

    The compiled loss is asked for the mean of the labels and for values about their
    median; the lowest answer counts.

    Args:
        probe: The model with a batch.
        head: Its only output.
    """
    if head.loss not in OF_NUMBERS or probe.y is None:
        return None
    labels = keras.ops.convert_to_numpy(probe.y).astype("float64")
    rows, shape = len(labels), head.output.shape
    flat = labels.reshape(rows, -1)
    if not flat.size or flat.size != np.prod(shape) or not np.all(np.isfinite(flat)):
        return None
    constants = [flat.mean(0), *np.quantile(flat, _QUANTILES, axis=0)]
    losses = [
        probe.loss_of(probe.y, np.tile(constant, (rows, 1)).reshape(shape))
        for constant in constants
    ]
    return float(np.min(losses))


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
