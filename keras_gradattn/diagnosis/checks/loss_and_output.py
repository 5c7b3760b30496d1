"""Checks of the loss against the output and the labels."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn.diagnosis.baseline import guessing_loss
from keras_gradattn.diagnosis.finding import Evidence, Finding, found
from keras_gradattn.diagnosis.head import (
    OF_NUMBERS,
    ONE_OF_SEVERAL,
    SPARSE,
    TWO_CLASSES,
    Head,
)
from keras_gradattn.diagnosis.subject import Subject
from keras_gradattn.diagnosis.thresholds import threshold

_CLASSES = (*ONE_OF_SEVERAL, *TWO_CLASSES)
_PROBABILITIES = ("softmax", "sigmoid", "hard_sigmoid")
_ACCURACIES = {"accuracy", "acc"}
# Lowest and highest value of an activation.
_REACH = {
    "softmax": (0.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, np.inf),
    "exponential": (0.0, np.inf),
}
_LOSS_CLASS = {
    "categorical_crossentropy": "CategoricalCrossentropy",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
}


def softmax_on_one_unit(subject: Subject) -> Iterable[Finding]:
    """Softmax over a single unit, or a loss for several classes on it."""
    for head in subject.heads:
        if head.units != 1:
            continue
        if head.activation == "softmax":
            yield found(
                "softmax_on_one_unit", "fault",
                f"{head.name!r} takes softmax over one unit, which is 1 for any input.",
                Evidence("units of the output", 1, 1, "equal"),
                layers=(head.name,),
            )  # fmt: skip
        elif head.loss in ONE_OF_SEVERAL:
            yield found(
                "loss_unfit_for_labels", "fault",
                f"{head.loss} compares classes, and {head.name!r} has one unit.",
                Evidence("units of the output", 1, 1, "equal"),
                layers=(head.name,),
                advice=(
                    ("two classes need a loss for two",
                     "model.compile(..., loss='binary_crossentropy')"),
                    ("the output has too few units",
                     "keras.layers.Dense(num_classes, activation='softmax')"),
                ),
            )  # fmt: skip


def probabilities_as_logits(subject: Subject) -> Iterable[Finding]:
    """Softmax or sigmoid before a loss that applies it itself."""
    for head in subject.heads:
        if head.loss not in _CLASSES or not head.from_logits:
            continue
        if head.activation in _PROBABILITIES and head.units > 0:
            yield found(
                "probabilities_as_logits", "fault",
                f"{head.name!r} gives {head.activation} values, and the loss was told "
                "from_logits=True: the activation is applied twice.",
                Evidence("largest output", float(head.output.max()), 1, "below"),
                Evidence("smallest output", float(head.output.min()), 0),
                layers=(head.name,),
                advice=(
                    (f"{head.activation} is applied twice",
                     f"keras.losses.{_LOSS_CLASS[head.loss]}(from_logits=False)"),
                    ("the output layer was meant to give logits",
                     f"keras.layers.Dense({head.units})"),
                ),
            )  # fmt: skip


def logits_as_probabilities(subject: Subject) -> Iterable[Finding]:
    """No softmax or sigmoid before a loss that needs probabilities."""
    for head in subject.heads:
        if head.loss not in _CLASSES or head.from_logits:
            continue
        if head.activation in (*_PROBABILITIES, "unknown"):
            continue
        values = head.output.astype("float64")
        outside = float(np.mean((values < 0) | (values > 1)))
        sums = values.sum(-1)
        if head.loss in ONE_OF_SEVERAL and outside == 0 and np.allclose(sums, 1, 0.01):
            continue
        wanted = "sigmoid" if head.loss in TWO_CLASSES else "softmax"
        yield found(
            "logits_as_probabilities", "fault",
            f"{head.loss} takes probabilities, and {head.name!r} has the activation "
            f"{head.activation!r}.",
            Evidence("share of outputs outside of 0 to 1", outside, 0),
            layers=(head.name,),
            advice=(
                (f"the output layer needs {wanted}",
                 f"keras.layers.Dense({head.units}, activation={wanted!r})"),
                ("the loss was not told of logits",
                 f"keras.losses.{_LOSS_CLASS[head.loss]}(from_logits=True)"),
            ),
        )  # fmt: skip


def bounded_output(subject: Subject) -> Iterable[Finding]:
    """Targets of a regression beyond what the activation can give."""
    for head in subject.heads:
        if head.loss not in OF_NUMBERS or head.labels is None:
            continue
        if head.activation not in _REACH or head.labels.dtype.kind not in "iuf":
            continue
        if head.activation == "softmax" and head.units == 1:
            continue
        values = head.labels.astype("float64")
        values = values[np.isfinite(values)]
        if not values.size:
            continue
        low, high = _REACH[head.activation]
        room = 1e-3 * max(high - low, 1.0) if np.isfinite(high) else 1e-6
        outside = float(np.mean((values < low - room) | (values > high + room)))
        limit = threshold("unreachable_share_high")
        what = f"targets outside of {low:g} to {high:g}"
        if head.activation == "softmax" and outside <= limit:
            if head.labels.shape[-1:] != (head.units,):
                continue
            sums = head.labels.reshape(-1, head.units).sum(-1)
            outside = float(np.mean(np.abs(sums - 1) > threshold("sum_apart_high")))
            what = "rows of targets whose sum is not 1"
        if outside > limit:
            yield found(
                "bounded_output", "fault",
                f"{head.name!r} ends in {head.activation!r}, which cannot give "
                f"{outside:.0%} of the targets.",
                Evidence(f"share of {what}", outside, limit),
                layers=(head.name,),
                advice=(
                    ("a regression ends in an activation",
                     f"keras.layers.Dense({head.units})"),
                    ("targets were not scaled to the output's range",
                     "y = (y - y.min()) / (y.max() - y.min())"),
                ),
            )  # fmt: skip


def loss_unfit_for_labels(subject: Subject) -> Iterable[Finding]:
    """A loss for classes on numbers, for numbers on classes, for two on several."""
    for head in subject.heads:
        yield from _numbers_for_classes(subject, head)
        labels = head.labels
        if labels is None or labels.dtype.kind not in "biuf" or head.units == 1:
            continue
        one_hot = _is_one_hot(labels, head.units)
        several = "sparse_categorical_crossentropy"
        if one_hot or head.loss not in ONE_OF_SEVERAL:
            several = "categorical_crossentropy"
        if head.loss in TWO_CLASSES and head.activation == "softmax":
            # Of two outputs that add up to 1 it is the other loss.
            same = head.loss == "binary_crossentropy" and head.units == 2 and one_hot
            yield _unfit(
                head, "note" if same else "warning",
                f"{head.loss} treats each output alone, and softmax makes "
                f"{head.units} of them share one answer"
                + (", which changes nothing here." if same else "."),
                "one class of several, with a loss for two",
                f"model.compile(..., loss={several!r})",
            )  # fmt: skip
        elif head.loss in ONE_OF_SEVERAL and (
            head.activation == "sigmoid" and not head.from_logits
        ):
            yield _unfit(
                head, "warning",
                f"{head.loss} expects one answer among {head.units}, and sigmoid gives "
                "each output a value of its own.",
                "the output layer needs softmax",
                f"keras.layers.Dense({head.units}, activation='softmax')",
            )  # fmt: skip
        elif head.loss == "categorical_crossentropy" and _is_several_hot(labels):
            yield _unfit(
                head, "warning",
                f"{head.loss} expects one class a sample, and rows of the labels have "
                "several.",
                "samples have several classes at once",
                "keras.layers.Dense(n, activation='sigmoid')  "
                "# with loss='binary_crossentropy'",
            )  # fmt: skip
        elif head.loss in OF_NUMBERS and head.activation == "softmax" and one_hot:
            yield _unfit(
                head, "warning",
                f"{head.loss} is for numbers; labels are classes and the output is "
                "softmax.",
                "a loss for numbers is used for classes",
                "model.compile(..., loss='categorical_crossentropy')",
            )  # fmt: skip


def _numbers_for_classes(subject: Subject, head: Head) -> Iterable[Finding]:
    """One output that is to hit the number of one of several classes."""
    labels = head.labels
    if head.loss not in OF_NUMBERS or head.units != 1 or labels is None:
        return
    if labels.dtype.kind not in "iu" or not _metric_names(subject.model) & _ACCURACIES:
        return
    kinds = len(np.unique(labels))
    # Of two classes, one number says which.
    if 2 < kinds <= threshold("label_kinds_high"):
        yield found(
            "loss_unfit_for_labels", "warning",
            f"{head.loss} puts {kinds} classes in a row, as if the last one were "
            "farthest from the first; accuracy says that they are classes.",
            Evidence("different labels", kinds, 2),
            layers=(head.name,),
            advice=(
                ("a loss for numbers is used for classes",
                 "model.compile(..., loss='sparse_categorical_crossentropy')"),
                ("the output has too few units",
                 f"keras.layers.Dense({kinds}, activation='softmax')"),
            ),
        )  # fmt: skip


def _unfit(head: Head, severity: str, message: str, cause: str, change: str) -> Finding:
    return found(
        "loss_unfit_for_labels", severity, message,
        Evidence("outputs", head.units),
        layers=(head.name,),
        advice=((cause, change),),
    )  # fmt: skip


def label_encoding(subject: Subject) -> Iterable[Finding]:
    """Class numbers for a loss of rows, or rows for a loss of numbers."""
    for head in subject.heads:
        labels = head.labels
        if labels is None or head.units == 1 or labels.dtype.kind not in "biuf":
            continue
        as_rows = labels.shape[-1:] == (head.units,) and labels.ndim == head.output.ndim
        if head.loss in SPARSE and as_rows and not _may_be_numbers(head):
            yield found(
                "label_encoding", "fault",
                f"Labels are rows of {head.units}; {head.loss} takes class numbers.",
                Evidence("size of a label", head.units, 1),
                layers=(head.name,),
                advice=(
                    ("one-hot rows with a loss for class numbers",
                     "model.compile(..., loss='categorical_crossentropy')"),
                    ("labels were made one-hot", "y = y.argmax(-1)"),
                ),
            )  # fmt: skip
        elif head.loss in ONE_OF_SEVERAL and head.loss not in SPARSE and not as_rows:
            yield found(
                "label_encoding", "fault",
                f"Labels are class numbers; {head.loss} takes rows of {head.units}.",
                Evidence("size of a label", float(labels.shape[-1:] == (1,)), 1),
                layers=(head.name,),
                advice=(
                    ("class numbers with a loss for one-hot rows",
                     "model.compile(..., loss='sparse_categorical_crossentropy')"),
                    ("labels are not one-hot",
                     f"y = keras.utils.to_categorical(y, {head.units})"),
                ),
            )  # fmt: skip


def label_shape(subject: Subject) -> Iterable[Finding]:
    """Labels and outputs that broadcast, so that each meets every other."""
    for head in subject.heads:
        labels = head.labels
        if labels is None or head.loss in ONE_OF_SEVERAL:
            continue
        given, wanted = labels.shape[1:], head.output.shape[1:]
        own = bool(head.loss)
        # Losses of Keras take away or add one last axis of 1; others may not.
        alike = given == wanted or (*given, 1) == wanted or given == (*wanted, 1)
        if alike if own else not _broadcasts(subject, labels):
            continue
        yield found(
            "label_shape", "fault" if own else "warning",
            f"Labels have shape {(None, *given)} and outputs {(None, *wanted)}: each "
            "label is compared with outputs that are not its own.",
            Evidence("numbers a label", float(np.prod(given)),
                     float(np.prod(wanted)), "equal"),
            layers=(head.name,),
            advice=(
                ("labels need the output's shape",
                 f"y = y.reshape({', '.join(map(str, (-1, *wanted)))})"),
                ("the output has another size than the labels",
                 f"keras.layers.Dense({int(np.prod(given))})"),
            ),
        )  # fmt: skip


def _broadcasts(subject: Subject, labels: np.ndarray) -> bool:
    """Whether a loss of the user's changes where labels take the output's shape."""
    probe = subject.probe
    if probe is None or len(subject.heads) != 1 or probe.y is None:
        return False
    if getattr(subject.model, "loss", None) is None:
        return False
    shape = subject.heads[0].output.shape
    if int(np.prod(probe.y.shape)) != int(np.prod(shape)):
        return False
    as_given, before = probe.loss(), probe.y
    probe.y = keras.ops.reshape(before, shape)
    try:
        reshaped = probe.loss()
    finally:
        probe.y = before
    return abs(as_given - reshaped) > 1e-3 * max(abs(as_given), abs(reshaped))


def labels_without_place(subject: Subject) -> Iterable[Finding]:
    """A loss of the user's that does not care which label belongs to which sample."""
    probe = subject.probe
    if probe is None or len(subject.heads) != 1 or probe.y is None:
        return
    head = subject.heads[0]
    if head.loss or getattr(subject.model, "loss", None) is None:
        return
    labels = keras.ops.convert_to_numpy(probe.y)
    samples, outputs = len(labels), head.output
    if len(outputs) != samples or not np.all(np.isfinite(outputs)):
        return
    spread = float(np.std(outputs, axis=0).max())
    if samples < 4 or spread < 1e-4 * float(np.abs(outputs).max()):
        return
    order = np.random.default_rng(0).permutation(samples)
    same = np.broadcast_to(labels[:1], labels.shape)
    own = probe.loss_of(labels, outputs)
    moved = probe.loss_of(labels[order], outputs)
    level = max(abs(own), 1e-12)
    if np.array_equal(labels, labels[order]) or not np.isfinite(own):
        return
    indifferent = abs(moved - own) < 1e-5 * level
    used = abs(probe.loss_of(same, outputs) - own) > 1e-3 * level
    if indifferent and used:
        yield found(
            "label_shape", "fault",
            "The loss stays the same when labels change places among the samples: each "
            "output is compared with every label.",
            Evidence("change of the loss, to itself", abs(moved - own) / level, 1e-5,
                     "below"),
            layers=(head.name,),
            advice=(
                ("labels of (n,) are taken from outputs of (n, 1)",
                 "y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))"),
            ),
        )  # fmt: skip


def metric_unfit_for_labels(subject: Subject) -> Iterable[Finding]:
    """Accuracy of a regression."""
    names = _metric_names(subject.model)
    for head in subject.heads:
        labels = head.labels
        if head.loss not in OF_NUMBERS or labels is None or labels.dtype.kind != "f":
            continue
        kinds = len(np.unique(labels))
        if names & _ACCURACIES and kinds > threshold("label_kinds_high"):
            yield found(
                "metric_unfit_for_labels", "warning",
                f"Accuracy counts exact hits, and the targets are {kinds} different "
                "numbers.",
                Evidence("different labels", kinds, threshold("label_kinds_high")),
                layers=(head.name,),
            )  # fmt: skip


def _metric_names(model: Any) -> set[str]:
    try:
        metrics = model.get_compile_config().get("metrics")
    except (TypeError, ValueError, NotImplementedError, AttributeError):
        return set()
    return {one for one in keras.tree.flatten(metrics) if isinstance(one, str)}


def initial_loss(subject: Subject) -> Iterable[Finding]:
    """A loss before training that is far above the one of guessing."""
    if subject.probe is None or len(subject.heads) != 1 or not subject.labels:
        return
    head = subject.heads[0]
    guess = guessing_loss(head)
    if guess is None or not np.isfinite(guess) or guess <= 0:
        return
    if head.loss not in _CLASSES or any(
        len(finding) for finding in (list(logits_as_probabilities(subject)),)
    ):
        return
    first = subject.probe.loss()
    limit = threshold("initial_loss_high")
    if not np.isfinite(first) or first > limit * guess:
        far = not np.isfinite(first) or first > threshold("initial_loss_far") * guess
        yield found(
            "initial_loss", "warning" if far else "note",
            f"Before training the loss is {first:.3g}; guessing by the classes' shares "
            f"has {guess:.3g}.",
            Evidence("initial loss to that of guessing", first / guess, limit),
        )  # fmt: skip


def _is_one_hot(labels: np.ndarray, units: int) -> bool:
    return labels.shape[-1:] == (units,) and bool(
        np.all((labels == 0) | (labels == 1))
        and np.all(labels.reshape(-1, units).sum(-1) == 1)
    )


def _is_several_hot(labels: np.ndarray) -> bool:
    binary = bool(np.all((labels == 0) | (labels == 1)))
    return binary and float(np.mean(labels.sum(-1) > 1)) > threshold(
        "several_hot_share_high"
    )


def _may_be_numbers(head: Head) -> bool:
    """Rows as long as there are classes may still be class numbers, one a step."""
    labels = head.labels
    return labels is not None and labels.ndim == head.output.ndim - 1


CHECKS = (
    softmax_on_one_unit,
    label_encoding,
    label_shape,
    labels_without_place,
    probabilities_as_logits,
    logits_as_probabilities,
    bounded_output,
    loss_unfit_for_labels,
    metric_unfit_for_labels,
    initial_loss,
)
