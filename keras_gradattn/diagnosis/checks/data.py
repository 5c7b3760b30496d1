"""Checks of inputs and labels."""

import hashlib
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.finding import Evidence, Finding, found
from keras_gradattn.diagnosis.head import (
    OF_NUMBERS,
    ONE_OF_SEVERAL,
    SPARSE,
    TWO_CLASSES,
    in_output_order,
)
from keras_gradattn.diagnosis.initial_weights import looks_trained
from keras_gradattn.diagnosis.subject import Subject, chunks
from keras_gradattn.diagnosis.thresholds import threshold

# Elements of a row that are compared with other rows' at first.
_PART_OF_ROW = 64
_SCALES_ITSELF = (
    keras.layers.Normalization,
    keras.layers.Rescaling,
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)


def non_finite_data(subject: Subject) -> Iterable[Finding]:
    """NaN or infinity among inputs or labels."""
    for what, arrays in (
        ("inputs", subject.all_inputs),
        ("labels", subject.all_labels),
    ):
        bad = sum(
            int(np.sum(~np.isfinite(part)))
            for array in arrays
            if array.dtype.kind == "f"
            for part in chunks(array)
        )
        if bad:
            yield found(
                "nan_in_data", "fault",
                f"{bad:,} values of the {what} are NaN or infinite.",
                Evidence(f"values of the {what} that are not finite", bad, 0),
            )  # fmt: skip


def input_scale(subject: Subject) -> Iterable[Finding]:
    """Inputs that are far too large or too small for the layer that takes them."""
    for number, array in enumerate(subject.inputs):
        if not _is_signal(subject, array):
            continue
        values = _finite(array)
        if not values.size:
            continue
        spread, mean = float(values.std()), float(abs(values.mean()))
        high, low = threshold("input_spread_high"), threshold("input_spread_low")
        # A few large columns among many small ones hide in the whole's spread.
        columns = _column_spreads(array)
        uneven = len(columns) > 1 and columns.max() > threshold(
            "column_ratio_high"
        ) * max(float(np.median(columns)), low)
        fits = _normalised_soon(subject) or _first_is_trained(subject)
        severity = "note" if fits else "warning"
        name = f"Input {number}" if len(subject.inputs) > 1 else "The input"
        if spread > high or mean > threshold("input_mean_high"):
            yield found(
                "input_scale", severity,
                f"{name} has a spread of {spread:.3g} about a mean of "
                f"{values.mean():.3g}; layers are initialised for values of about 1.",
                Evidence("spread of the input", spread, high),
                Evidence("absolute mean", mean, threshold("input_mean_high")),
            )  # fmt: skip
        elif 0 < spread < low:
            yield found(
                "input_scale", severity,
                f"{name} has a spread of only {spread:.3g}; layers are initialised for "
                "values of about 1.",
                Evidence("spread of the input", spread, low, "below"),
                advice=(
                    ("values were divided twice", "x = x * 255"),
                    ("columns have units of their own",
                     "layer = keras.layers.Normalization(); layer.adapt(x)"),
                ),
            )  # fmt: skip
        elif uneven and columns.max() > high:
            yield found(
                "input_scale", severity,
                f"{name} has columns of very different scale: the widest has a spread "
                f"of {columns.max():.3g}, the median one {np.median(columns):.3g}.",
                Evidence("largest spread of a column", float(columns.max()), high),
                advice=(
                    ("columns have units of their own",
                     "layer = keras.layers.Normalization(); layer.adapt(x)"),
                ),
            )  # fmt: skip


def tokens_out_of_range(subject: Subject) -> Iterable[Finding]:
    """Tokens that the table of embeddings has no row for."""
    for number, layer in _tables(subject):
        top = layer.input_dim - 1
        low, high, outside = _range(subject.all_inputs[number], top)
        if outside:
            yield found(
                "tokens_out_of_range", "fault",
                f"Tokens go from {low:g} to {high:g}; {layer.name!r} has rows for 0 to "
                f"{top}. Some backends give another row for them, some NaN.",
                Evidence("largest token", high, top),
                Evidence("smallest token", low, 0, "below"),
                Evidence("share of tokens outside", outside, 0),
                layers=(layer.name,),
                advice=(
                    ("the vocabulary is larger than the table",
                     f"keras.layers.Embedding({int(max(high, 0)) + 1}, n)"),
                    ("unknown words have a negative number", "x = np.maximum(x, 0)"),
                ),
            )  # fmt: skip


def _range(array: np.ndarray, top: float) -> tuple[float, float, float]:
    """Lowest and highest value, and the share that is not from 0 to `top`."""
    low, high, outside, count = np.inf, -np.inf, 0, 0
    for part in chunks(array):
        values = _finite(part)
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
            outside += int(np.sum((values < 0) | (values > top)))
            count += values.size
    return float(low), float(high), outside / max(count, 1)


def _tables(subject: Subject) -> Iterator[tuple[int, keras.layers.Embedding]]:
    """Embeddings that look up an input as it is, with the input's number."""
    model = subject.model
    inputs = [id(one) for one in getattr(model, "inputs", None) or ()]
    found_here = [
        layer
        for layer in keras_compat.flatten_layers(model, include_self=False)
        if isinstance(layer, keras.layers.Embedding)
    ]
    for layer in found_here:
        try:
            taken = id(layer.input)
        except (AttributeError, ValueError):
            # Of a subclassed model, or called several times.
            alone = len(found_here) == len(subject.inputs) == 1 and not inputs
            if alone and subject.inputs[0].dtype.kind in "iu":
                yield 0, layer
            continue
        if taken in inputs and len(inputs) == len(subject.inputs):
            yield inputs.index(taken), layer


def target_scale(subject: Subject) -> Iterable[Finding]:
    """Targets of a regression that the output has a long way to."""
    for head in subject.heads:
        if head.loss not in OF_NUMBERS or not _numbers(head.labels):
            continue
        values = _finite(head.labels)
        size = float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
        limit = threshold("target_size_high")
        if size > limit:
            yield found(
                "target_scale", "warning",
                f"Targets have a root mean square of {size:.3g}; the output begins "
                "near 0 and moves by about the learning rate a step.",
                Evidence("root mean square of the targets", size, limit),
                layers=(head.name,),
            )  # fmt: skip


def constant_inputs(subject: Subject) -> Iterable[Finding]:
    """Inputs that are the same in every row."""
    part = subject.data is not None and subject.data.total != subject.data.rows
    for array in subject.inputs:
        if array.dtype.kind not in "biuf" or len(array) < threshold("fewest_rows"):
            continue
        if not _is_signal(subject, array):
            continue
        flat = array.reshape(len(array), -1)
        share = float(np.mean(np.all(flat == flat[:1], axis=0)))
        limit = threshold("constant_share_high")
        severity = "note"
        # Rows that were not looked at may differ.
        if share > limit and not part:
            severity = "fault" if share == 1 else "warning"
        if share > limit or (share > 0 and flat.shape[1] <= 64 and array.ndim == 2):
            yield found(
                "constant_inputs",
                severity,
                f"{share:.0%} of the input's columns never change.",
                Evidence("share of columns that never change", share, limit),
            )


def duplicated_inputs(subject: Subject) -> Iterable[Finding]:
    """Columns of a table that are equal to others."""
    for array in subject.inputs:
        if (
            array.ndim != 2
            or array.dtype.kind != "f"
            or not 2 <= array.shape[1] <= 512
            or len(array) < threshold("fewest_rows")
        ):
            continue
        columns = array.T[~np.all(array == array[:1], axis=0)]
        seen = {
            hashlib.sha1(np.ascontiguousarray(c).tobytes()).digest() for c in columns
        }
        doubles = len(columns) - len(seen)
        if doubles:
            yield found(
                "duplicated_inputs", "note",
                f"{doubles} of {array.shape[1]} columns are equal to another one.",
                Evidence("columns equal to another", doubles, 0),
            )  # fmt: skip


def sorted_labels(subject: Subject) -> Iterable[Finding]:
    """Classes that come one after the other, in data that are not shuffled."""
    for head in subject.heads:
        classes = head.classes
        if classes is None or head.labels is None:
            continue
        if len(classes) != len(head.labels) or len(classes) < 4 * subject.batch_size:
            continue
        kinds = len(np.unique(classes))
        if kinds < 2:
            continue
        runs = 1 + int(np.sum(classes[1:] != classes[:-1]))
        # Drawn at random, neighbours differ with this probability.
        shares = np.unique(classes, return_counts=True)[1] / len(classes)
        expected = 1 + (len(classes) - 1) * float(1 - np.sum(np.square(shares)))
        share, limit = runs / expected, threshold("label_runs_low")
        if share < limit:
            told = subject.data is not None and subject.data.in_order
            yield found(
                "sorted_labels", "warning" if told else "note",
                f"Labels come in {runs} runs of one class, where mixed ones would come "
                f"in about {expected:.0f}"
                + (
                    ", and training takes them in this order." if told
                    else ": harmless only if they are shuffled."
                ),
                Evidence("runs of equal labels, to mixed ones", share, limit, "below"),
            )  # fmt: skip


def class_missing(subject: Subject) -> Iterable[Finding]:
    """Classes of the output, or of the validation data, without a training sample."""
    for number, head in enumerate(subject.heads):
        classes = head.classes
        if classes is None or head.loss not in ONE_OF_SEVERAL:
            continue
        if classes.dtype.kind == "f" and not np.all(classes == np.round(classes)):
            continue
        seen = set(np.unique(classes).astype(int).tolist())
        if len(classes) < threshold("rows_a_class") * head.units:
            continue
        missing = [c for c in range(head.units) if c not in seen]
        if not missing:
            continue
        held = _validation_classes(subject, number).tolist()
        in_validation = sorted(set(missing) & set(held))
        inner = [c for c in missing if 0 < c < max(seen)]
        share = len(missing) / head.units
        # Heads with room to spare are common; holes among the classes are not.
        sure = bool(in_validation or inner) and share <= threshold("missing_share_high")
        yield found(
            "class_missing", "warning" if sure else "note",
            f"{len(missing)} of {head.units} classes have no sample: "
            f"{', '.join(map(str, missing[:8]))}"
            + (f"; validation has {in_validation[:8]}." if in_validation else "."),
            Evidence("classes without a sample", len(missing), 0),
            layers=(head.name,),
        )  # fmt: skip


def class_imbalance(subject: Subject) -> Iterable[Finding]:
    """A class far more frequent than another, in training and not in validation."""
    for number, head in enumerate(subject.heads):
        classes = head.classes
        if classes is None or len(classes) < threshold("rows_a_class"):
            continue
        kinds, counts = np.unique(_finite(classes).astype(int), return_counts=True)
        if len(kinds) < 2:
            continue
        ratio = float(counts.max() / counts.min())
        if ratio < threshold("imbalance_high"):
            continue
        held = _validation_classes(subject, number)
        apart = 0.0
        if len(held) >= threshold("rows_a_class"):
            every = np.union1d(kinds, held)
            own, other = (
                np.array([np.mean(labels == kind) for kind in every])
                for labels in (classes, held)
            )
            apart = float(np.abs(own - other).sum() / 2)
        limit = threshold("shares_apart_high")
        yield found(
            "class_imbalance", "warning" if apart > limit else "note",
            f"Class {kinds[counts.argmax()]} has {counts.max()} rows, class "
            f"{kinds[counts.argmin()]} has {counts.min()}"
            + ("; validation data have other shares." if apart > limit else "."),
            Evidence("most frequent class to the rarest", ratio,
                     threshold("imbalance_high")),
            Evidence("distance of shares from validation's", apart, limit),
            layers=(head.name,),
        )  # fmt: skip


def labels_out_of_range(subject: Subject) -> Iterable[Finding]:
    """Labels that the loss cannot take at this size of output."""
    for head in subject.heads:
        labels = head.labels
        if labels is None or labels.dtype.kind not in "biuf" or not labels.size:
            continue
        values = _finite(labels)
        if not values.size:
            continue
        low, high = float(values.min()), float(values.max())
        if head.loss in SPARSE:
            top = head.units - 1
        elif head.loss in TWO_CLASSES or (
            head.loss in ONE_OF_SEVERAL and labels.shape[-1:] == (head.units,)
        ):
            top = 1
        else:
            continue
        if low >= 0 and high <= top:
            continue
        outside = float(np.mean((values < 0) | (values > top)))
        yield found(
            "labels_out_of_range", "fault",
            f"Labels go from {low:g} to {high:g}; {head.loss} with {head.units} "
            f"outputs takes 0 to {top}.",
            Evidence("largest label", high, top),
            Evidence("smallest label", low, 0, "below"),
            Evidence("share of labels outside", outside, 0),
            layers=(head.name,),
            advice=_range_advice(head.loss, low, high),
        )  # fmt: skip


def _range_advice(loss: str, low: float, high: float) -> tuple[tuple[str, str], ...]:
    if loss in TWO_CLASSES and low == -1 and high == 1:
        return (("classes are -1 and 1", "y = (y + 1) / 2"),)
    if loss in TWO_CLASSES and high > 1 and low >= 0:
        several = (
            "there are several classes",
            "model.compile(..., loss='sparse_categorical_crossentropy')",
        )
        return (several, ("labels are not scaled", "y = y / y.max()"))
    unit = ("the output has too few units", f"keras.layers.Dense({int(high) + 1})")
    return (unit, ("classes are counted from 1", "y = y - 1"))


def label_type(subject: Subject) -> Iterable[Finding]:
    """Words or objects as labels, or fractions as class numbers."""
    for array in subject.labels:
        if array.dtype.kind not in "biuf":
            yield found(
                "label_type", "fault",
                f"Labels are of type {array.dtype}, for example {array.flat[0]!r}.",
                Evidence("labels that are no numbers", float(array.size), 0),
            )  # fmt: skip
    for head in subject.heads:
        if head.loss in SPARSE and head.labels is not None:
            values = _finite(head.labels)
            parts = float(np.mean(values != np.round(values))) if values.size else 0.0
            if parts:
                yield found(
                    "label_type", "fault",
                    f"{parts:.0%} of the class numbers are fractions.",
                    Evidence("share of labels that are fractions", parts, 0),
                    layers=(head.name,),
                    advice=(
                        ("targets are numbers, not classes",
                         "model.compile(..., loss='mean_squared_error')"),
                        ("labels were scaled with the inputs", "y = y.astype('int32')"),
                    ),
                )  # fmt: skip


def validation_leakage(subject: Subject) -> Iterable[Finding]:
    """Rows of the validation data that are training rows."""
    if subject.validation is None:
        return
    own_rows, other = subject.all_inputs, keras.tree.flatten(subject.validation.all_x)
    if len(own_rows) != len(other) or not _alike(own_rows, other):
        return
    train, held = _row_keys(own_rows, other)
    known = set(train)
    share = sum(h in known for h in held) / max(len(held), 1)
    # Data of few distinct rows repeat themselves anyway.
    own = 1 - len(known) / len(train)
    limit = threshold("leak_share_high")
    if share > limit and share > 2 * own:
        yield found(
            "validation_leakage", "warning",
            f"{share:.0%} of the validation rows are training rows, while {own:.0%} of "
            "the training rows repeat another.",
            Evidence("share of validation rows seen in training", share, limit),
            Evidence("share of training rows that repeat", own),
        )  # fmt: skip


def _alike(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    """Whether rows are numbers of the same shapes, so that they can be equal."""
    return bool(one) and all(
        a.dtype.kind in "biuf" and b.dtype.kind in "biuf" and a.shape[1:] == b.shape[1:]
        for a, b in zip(one, other, strict=True)
    )


def _row_keys(*data: list[np.ndarray]) -> list[list[int | bytes]]:
    """A key for each row of each data set; rows with the same key are equal.

    Most rows differ in a few of their elements already. Only those that do not are read
    whole.
    """
    parts = [_hashes_of_parts(arrays) for arrays in data]
    hashes, counts = np.unique(np.concatenate(parts), return_counts=True)
    found = []
    for arrays, part in zip(data, parts, strict=True):
        keys: list[int | bytes] = part.tolist()
        for i in np.flatnonzero(np.isin(part, hashes[counts > 1])):
            row = b"".join(_comparable(a[i]).tobytes() for a in arrays)
            keys[i] = hashlib.sha1(row).digest()
        found.append(keys)
    return found


def _hashes_of_parts(arrays: list[np.ndarray]) -> np.ndarray:
    """(rows,) sums of some of a row's elements, as bits, with random factors."""
    random = np.random.default_rng(0)
    sums = np.zeros(len(arrays[0]), "uint64")
    for array in arrays:
        step = max(int(np.prod(array.shape[1:])) // _PART_OF_ROW, 1)
        few = [part.reshape(len(part), -1)[:, ::step].copy() for part in chunks(array)]
        words = _comparable(np.concatenate(few)).view("uint32").astype("uint64")
        sums += words @ random.integers(1, 2**63, words.shape[1], "uint64")
    return sums


def _comparable(array: np.ndarray) -> np.ndarray:
    kind = "float32" if array.dtype.kind == "f" else "int64"
    return np.ascontiguousarray(array, kind)


def _validation_classes(subject: Subject, number: int) -> np.ndarray:
    """Class numbers of the validation labels, empty where there are none."""
    if subject.validation is None or subject.validation.y is None:
        return np.zeros(0, int)
    labels = in_output_order(subject.model, subject.validation.all_y)
    if number >= len(labels) or labels[number].dtype.kind not in "biuf":
        return np.zeros(0, int)
    head, values = subject.heads[number], labels[number]
    if head.loss in ONE_OF_SEVERAL and head.loss not in SPARSE:
        values = values.reshape(len(values), -1).argmax(-1)
    return _finite(values).astype(int)


def _is_signal(subject: Subject, array: np.ndarray) -> bool:
    """Whether values are amounts, not tokens or category numbers."""
    if array.dtype.kind == "f":
        whole = bool(np.all(array == np.round(array)))
    elif array.dtype.kind in "iu":
        whole = True
    else:
        return False
    looked_up = any(
        isinstance(one.layer, keras.layers.Embedding)
        or "embedding" in type(one.layer).__name__.lower()
        for one in (subject.inference[1] if subject.inference else ())
    )
    return not (whole and looked_up)


def _normalised_soon(subject: Subject) -> bool:
    """Whether the network brings its inputs to scale within its first two layers."""
    if subject.inference is None:
        return False
    first = [
        one.layer
        for one in subject.inference[1]
        if one.layer.weights or isinstance(one.layer, _SCALES_ITSELF)
    ][:2]
    return any(isinstance(layer, _SCALES_ITSELF) for layer in first) or any(
        "normaliz" in type(layer).__name__.lower() for layer in first
    )


def _first_is_trained(subject: Subject) -> bool:
    """Whether the first weights were trained, and then on inputs of their own scale."""
    layers = (one.layer for one in (subject.inference[1] if subject.inference else ()))
    first = next((layer for layer in layers if layer.weights), None)
    return first is not None and looks_trained(first)


def _finite(array: np.ndarray | None) -> np.ndarray:
    if array is None or array.dtype.kind not in "biuf":
        return np.zeros(0)
    values = array.astype("float64").ravel()
    return values[np.isfinite(values)]


def _numbers(array: np.ndarray | None) -> bool:
    return array is not None and array.dtype.kind in "iuf"


def _column_spreads(array: np.ndarray) -> np.ndarray:
    """Spread of each column that changes, of a table."""
    if array.ndim != 2:
        return np.zeros(0)
    spreads = np.nanstd(np.where(np.isfinite(array), array, np.nan), axis=0)
    return spreads[spreads > 0]


CHECKS = (
    non_finite_data,
    input_scale,
    tokens_out_of_range,
    target_scale,
    constant_inputs,
    duplicated_inputs,
    sorted_labels,
    class_missing,
    class_imbalance,
    labels_out_of_range,
    label_type,
    validation_leakage,
)
