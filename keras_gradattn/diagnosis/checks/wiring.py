"""Checks of what depends on what, by running changed batches."""

import contextlib
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.finding import Evidence, Finding, found
from keras_gradattn.diagnosis.layer_outputs import DROPOUTS
from keras_gradattn.diagnosis.probe import Probe
from keras_gradattn.diagnosis.subject import Subject
from keras_gradattn.diagnosis.thresholds import threshold
from keras_gradattn.gradients._recorded_step import exchanged
from keras_gradattn.gradients.output_taps import STEPPING


def samples_mixed(subject: Subject) -> Iterable[Finding]:
    """Outputs that change with another sample of the batch."""
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    outputs = subject.inference[0]
    inputs = [keras.ops.convert_to_numpy(a) for a in keras.tree.flatten(probe.x)]
    samples = len(inputs[0])
    if samples < 3 or not all(o.ndim and o.shape[0] == samples for o in outputs):
        return
    if not all(np.all(np.isfinite(o)) for o in outputs):
        return
    first, last = 0, samples - 1
    after_first = probe.outputs(_with_sample(probe.x, first, samples // 2))
    after_last = probe.outputs(_with_sample(probe.x, last, samples // 2))
    later = _change(outputs, after_first, [i for i in range(samples) if i != first])
    earlier = _change(outputs, after_last, [i for i in range(samples) if i != last])
    limit = threshold("mixing_high")
    if max(later, earlier) <= limit:
        return
    stepping = [
        layer.name
        for layer in _inside(subject.model)
        if isinstance(layer, keras.layers.RNN)
    ]
    if later > limit >= earlier and stepping:
        yield found(
            "time_and_batch_swapped", "fault",
            "Changing the first sample changes later ones, and changing the last one "
            "changes no earlier one: a recurrent layer runs over the batch.",
            Evidence("change of later samples, to the outputs' spread", later, limit),
            layers=tuple(stepping),
        )  # fmt: skip
        return
    yield found(
        "samples_mixed", "fault",
        "Changing one sample of a batch changes outputs of others, in inference mode.",
        Evidence("change of other samples, to the outputs' spread",
                 max(later, earlier), limit),
    )  # fmt: skip


def _inside(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Every layer that it holds, at any depth."""
    return keras_compat.flatten_layers(layer, include_self=False)


def _with_sample(x: Any, place: int, source: int) -> Any:
    def exchanged(tensor: Any) -> np.ndarray:
        array = np.array(keras.ops.convert_to_numpy(tensor))
        if np.array_equal(array[place], array[source]):
            source_row = array[(source + 1) % len(array)]
        else:
            source_row = array[source]
        array[place] = source_row
        return array

    return keras.tree.map_structure(exchanged, x)


def _change(
    before: list[np.ndarray], after: list[np.ndarray], rows: list[int]
) -> float:
    """Largest change of these rows, to the spread of all."""
    found = 0.0
    for old, new in zip(before, after, strict=True):
        old, new = old.astype("float64"), new.astype("float64")
        size = max(float(old.std()), 1e-3 * float(np.abs(old).max()), 1e-12)
        found = max(found, float(np.abs(new[rows] - old[rows]).max()) / size)
    return found


def unused_input(subject: Subject) -> Iterable[Finding]:
    """Inputs among several, and columns of tables, that change nothing."""
    yield from _unused_among_several(subject)
    yield from _unused_columns(subject)


def _unused_columns(subject: Subject) -> Iterable[Finding]:
    """Columns of a table without effect."""
    probe = subject.probe
    if probe is None or subject.inference is None or not _shows_small_effects(subject):
        return
    for place, x in enumerate(keras.tree.flatten(probe.x)):
        table = np.array(keras.ops.convert_to_numpy(x))
        if table.ndim != 2 or table.dtype.kind != "f":
            continue
        # The last row stays as it is.
        if not 2 <= table.shape[1] < len(table) or not np.all(np.isfinite(table)):
            continue
        effect = _effect_of_columns(probe, place)
        spread = table.std(axis=0)
        # What hardly changes has hardly an effect.
        known = spread > threshold("column_spread_low") * np.median(spread)
        unused = known & (effect <= threshold("no_effect"))
        used = effect[known & ~unused]
        if not unused.any() or not len(used):
            continue
        if np.median(used) > threshold("clear_effect"):
            numbers = ", ".join(map(str, np.flatnonzero(unused)[:8]))
            yield found(
                "unused_input", "warning",
                f"Columns of {_input_name(subject, place)} change no output: "
                f"{numbers}.",
                Evidence("columns without effect", int(unused.sum()), 0),
            )  # fmt: skip


def _shows_small_effects(subject: Subject) -> bool:
    """Whether neither half precision nor sure answers round small effects away."""
    assert subject.probe is not None
    assert subject.inference is not None
    precisions = {str(one.compute_dtype) for one in subject.probe.layers}
    if precisions & {"float16", "bfloat16"}:
        return False
    sure = [
        np.mean(np.abs(output - np.round(output)) < threshold("sure_answer"))
        for output in subject.inference[0]
    ]
    return max(sure, default=0.0) < threshold("sure_share_high")


def _effect_of_columns(probe: Probe, place: int) -> np.ndarray:
    """(columns,) largest change of an output, to the largest output.

    One run tries all columns: each row is the same sample with one of them changed.
    """
    flat = [
        np.array(keras.ops.convert_to_numpy(a)) for a in keras.tree.flatten(probe.x)
    ]
    table = flat[place]
    effect, size = np.zeros(table.shape[1]), 1e-12
    for base in {0, len(table) // 2, len(table) - 1}:
        arrays = [np.repeat(a[base : base + 1], len(a), axis=0) for a in flat]
        for column, values in enumerate(table.T):
            far = np.argmax(np.abs(values - values[base]))
            arrays[place][column, column] = values[far]
        for output in probe.outputs(keras.tree.pack_sequence_as(probe.x, arrays)):
            rows = output.reshape(len(output), -1).astype("float64")
            moved = np.abs(rows[: len(effect)] - rows[-1]).max(axis=1)
            effect, size = np.maximum(effect, moved), max(size, np.abs(rows).max())
    return effect / size


def _unused_among_several(subject: Subject) -> Iterable[Finding]:
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    flat = keras.tree.flatten(probe.x)
    outputs = subject.inference[0]
    if len(flat) < 2 or not all(np.all(np.isfinite(o)) for o in outputs):
        return
    unused, tried = [], 0
    for place in range(len(flat)):
        arrays = [np.array(keras.ops.convert_to_numpy(a)) for a in flat]
        turned = np.roll(arrays[place], 1, axis=0)
        if np.array_equal(turned, arrays[place]):
            # Rows that are all the same, as a mask of ones, tell nothing.
            continue
        tried += 1
        arrays[place] = turned
        changed = probe.outputs(keras.tree.pack_sequence_as(probe.x, arrays))
        if all(
            np.array_equal(old, new) for old, new in zip(outputs, changed, strict=True)
        ):
            unused.append(_input_name(subject, place))
    if unused and len(unused) < tried:
        yield found(
            "unused_input", "warning",
            f"Exchanging the samples of {', '.join(unused)} changes no output.",
            Evidence("inputs without effect", len(unused), 0),
            layers=tuple(unused),
        )  # fmt: skip


def _input_name(subject: Subject, place: int) -> str:
    inputs = getattr(subject.model, "inputs", None) or []
    return inputs[place].name if place < len(inputs) else f"input {place}"


def ignored_mask(subject: Subject) -> Iterable[Finding]:
    """Masked tokens whose embedding matters, masked steps whose values do."""
    yield from _masked_tokens(subject)
    yield from _masked_steps(subject)


def _masked_steps(subject: Subject) -> Iterable[Finding]:
    """`Masking` whose masked steps change the outputs."""
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    masking = [
        layer
        for layer in _inside(subject.model)
        if isinstance(layer, keras.layers.Masking)
    ]
    before = subject.inference[0]
    # One output a step: those of masked steps may well change.
    if not masking or any(len(one.shape) > 2 for one in before):
        return

    def noisy(layer: Any) -> Any:
        def call(inputs: Any) -> Any:
            kept = keras.ops.expand_dims(layer.compute_mask(inputs), -1)
            return keras.ops.where(kept, inputs, 1.0)

        return call

    with contextlib.ExitStack() as stack:
        for layer in masking:
            stack.enter_context(exchanged(layer, "call", noisy(layer)))
        # One of its own, so that nothing compiled is used again.
        after = Probe(subject.model, probe.x).outputs()
    size = _change(before, after, list(range(len(before[0]))))
    if size > threshold("mixing_high"):
        names = [layer.name for layer in masking]
        yield _mask_is_lost(size, names, "values of masked steps")


def _mask_is_lost(size: float, names: list[str], what: str) -> Finding:
    return found(
        "ignored_mask", "warning",
        f"Other {what} change the outputs, although they are masked: a layer after "
        "the mask was made drops it.",
        Evidence("change of the outputs, to their spread", size,
                 threshold("mixing_high")),
        layers=tuple(names),
    )  # fmt: skip


def _masked_tokens(subject: Subject) -> Iterable[Finding]:
    """Embeddings with `mask_zero` whose row for padding matters."""
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    masking = [
        layer
        for layer in _inside(subject.model)
        if isinstance(layer, keras.layers.Embedding) and layer.mask_zero
    ]
    tokens = [keras.ops.convert_to_numpy(a) for a in keras.tree.flatten(probe.x)]
    padded = any(a.ndim == 2 and np.any(a == 0) for a in tokens)
    if not masking or not padded:
        return
    values, places = probe.values(), subject.model.trainable_variables
    changed, names = [], []
    for variable, value in zip(places, values, strict=True):
        owner = [one for one in masking if one.embeddings is variable]
        if owner:
            table = np.array(keras.ops.convert_to_numpy(value))
            table[0] += 3 * max(float(table.std()), 0.05)
            value = keras.ops.convert_to_tensor(table, dtype=variable.dtype)
            names.append(owner[0].name)
        changed.append(value)
    if not names:
        return
    before, after = subject.inference[0], probe.outputs(values=changed)
    rows = list(range(len(before[0])))
    if len(before) == 1 and before[0].ndim == 3:
        # One output a step: those of masked steps may well change.
        kept = tokens[0] != 0
        if before[0].shape[:2] != kept.shape:
            return
        before, after = [before[0][kept]], [after[0][kept]]
        rows = list(range(len(before[0])))
    size = _change(before, after, rows)
    if size > threshold("mixing_high"):
        yield _mask_is_lost(size, names, "embeddings of the padding token")


def unreached_variables(subject: Subject) -> Iterable[Finding]:
    """Layers whose weights get no gradient, called or not."""
    probe, gradients = subject.probe, subject.gradients
    if probe is None or gradients is None or subject.inference is None:
        return
    variables = subject.model.trainable_variables
    # Zeros are no proof: weights that begin at zero, and dead units, give them too.
    silent = {id(v) for v, g in zip(variables, gradients, strict=True) if g is None}
    called = {id(one.layer) for one in subject.inference[1]}
    stepping = [
        inner
        for layer in _inside(subject.model)
        if isinstance(layer, STEPPING)
        for inner in _inside(layer)
    ]
    called |= {id(layer) for layer in stepping}
    never: list[str] = []
    cut: list[str] = []
    for layer in _inside(subject.model):
        own = layer.trainable_variables
        if _inside(layer):
            continue
        if not layer.built and id(layer) not in called and layer in probe.layers:
            # Weights come with the first call, and none came.
            never.append(layer.name)
        elif own and all(id(v) in silent for v in own):
            (cut if id(layer) in called else never).append(layer.name)
    if never:
        yield found(
            "uncalled_layer", "warning",
            f"{', '.join(never[:5])} was made and is never called.",
            Evidence("layers that are never called", len(never), 0),
            layers=tuple(never),
        )  # fmt: skip
    if cut:
        yield found(
            "unreached_variables", "warning",
            f"The loss does not depend on the weights of {', '.join(cut[:5])}.",
            Evidence("layers that no gradient reaches", len(cut), 0),
            layers=tuple(cut),
        )  # fmt: skip


def training_flag_lost(subject: Subject) -> Iterable[Finding]:
    """Dropout and BatchNorm that do in training what they do in inference."""
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    called = {id(one.layer): one.layer for one in subject.inference[1]}
    lost = [
        layer.name
        for layer in called.values()
        if _acts_in_training(layer) and not probe.in_training_mode(layer)
    ]
    if lost:
        # A backbone that is fine-tuned is run in inference mode on purpose.
        nested = _inside_nested_models(subject.model)
        outside = [name for name in lost if name not in nested]
        yield found(
            "training_flag_lost", "warning" if outside else "note",
            f"{', '.join(lost[:5])} stays in inference mode while the model trains.",
            Evidence("layers that stay in inference mode", len(lost), 0),
            layers=tuple(lost),
        )  # fmt: skip


def training_always(subject: Subject) -> Iterable[Finding]:
    """Dropout and BatchNorm that do in inference what they do in training."""
    probe = subject.probe
    if probe is None or subject.inference is None:
        return
    called = {id(one.layer): one.layer for one in subject.inference[1]}
    stuck = [
        layer
        for layer in called.values()
        if _acts_in_training(layer) and probe.in_training_mode(layer, training=False)
    ]
    if stuck:
        # Dropout may be meant: its spread tells how sure a network is.
        norms = any(isinstance(x, keras.layers.BatchNormalization) for x in stuck)
        names = [layer.name for layer in stuck]
        yield found(
            "training_always", "warning" if norms else "note",
            f"{', '.join(names[:5])} stays in training mode in inference.",
            Evidence("layers that stay in training mode", len(names), 0),
            layers=tuple(names),
        )  # fmt: skip


def _acts_in_training(layer: Any) -> bool:
    if isinstance(layer, keras.layers.BatchNormalization):
        return bool(layer.trainable)
    return isinstance(layer, DROPOUTS) and float(layer.rate) > 0


def _inside_nested_models(model: keras.Model) -> set[str]:
    return {
        layer.name
        for inner in keras_compat.flatten_layers(model, include_self=False)
        if isinstance(inner, keras.Model)
        for layer in keras_compat.flatten_layers(inner, include_self=False)
    }


CHECKS = (
    samples_mixed,
    unused_input,
    ignored_mask,
    unreached_variables,
    training_flag_lost,
    training_always,
)
