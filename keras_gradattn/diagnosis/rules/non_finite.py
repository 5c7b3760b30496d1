"""NaN, infinity, and the loss scale that gives way to them."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.seen import Seen, drawn
from keras_gradattn.diagnosis.thresholds import threshold


def non_finite(seen: Seen) -> Iterable[Finding]:
    """A loss or gradient that is NaN or infinite."""
    bad_loss = np.flatnonzero(~np.isfinite(seen.loss))
    bad_rows = np.flatnonzero(seen.nonfinite.any(axis=1))
    if len(seen.loss_scale):
        # Steps that overflow are left out, and the scale gives way.
        bad_rows = bad_rows[:0]
    if not len(bad_loss) and not len(bad_rows):
        return
    first_loss = int(bad_loss[0]) if len(bad_loss) else None
    first_row = int(seen.step[bad_rows[0]]) if len(bad_rows) else None
    first = min(one for one in (first_loss, first_row) if one is not None)
    layers, certain = _where(seen, bad_rows, first_loss)
    what = "loss" if first_loss == first else "gradient"
    last = [*bad_loss[-1:], *seen.step[bad_rows[-1:]]]
    evidence = [Evidence(f"first step with a {what} that is not finite", first)]
    before = seen.total_norm[seen.step < first] if len(seen.step) else np.zeros(0)
    before = before[np.isfinite(before)]
    growth = 1.0
    if len(before) > 3:
        growth = float(before[-3:].max() / max(np.median(before[:3]), 1e-30))
        evidence.append(Evidence("growth of the gradient before it", growth))
    advice: tuple[tuple[str, str], ...]
    if first == 0:
        advice = (
            ("inputs or labels hold NaN", "x = np.nan_to_num(x)"),
            ("a logarithm or quotient meets zero",
             "keras.ops.log(keras.ops.maximum(x, keras.config.epsilon()))"),
            ("weights begin far too large", "kernel_initializer='glorot_uniform'"),
        )  # fmt: skip
    elif growth > threshold("growth_before_nan"):
        advice = (
            ("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
            ("gradients explode", "keras.optimizers.Adam(clipnorm=1.0)"),
        )
    else:
        advice = (
            ("a logarithm, root or quotient meets zero",
             "keras.ops.log(keras.ops.maximum(x, keras.config.epsilon()))"),
            ("the learning rate is too high", "keras.optimizers.Adam(1e-3)"),
            ("a batch holds NaN", "x = np.nan_to_num(x)"),
        )  # fmt: skip
    where = f", first in {layers[0]!r}" if certain else ""
    yield found(
        "non_finite", "fault",
        f"The {what} is not finite from step {first} on{where}.",
        *evidence,
        layers=layers, first_step=first, last_step=max(int(one) for one in last),
        picture=_picture(seen), advice=advice,
    )  # fmt: skip


def _where(
    seen: Seen, bad_rows: np.ndarray, first_loss: int | None
) -> tuple[tuple[str, ...], bool]:
    """Layers that are not finite, and whether it began in the first of them."""
    looks = seen.layers
    # Where weights are NaN already, every layer is.
    told = looks.nonfinite_share[looks.sound > 0]
    # A mask may hold infinity; what counts is that the outputs are not finite.
    if len(told):
        told = told[np.any(told[:, looks.hidden == 0] > 0, axis=1)]
    if len(told):
        return tuple(looks.names[i] for i in np.flatnonzero(told[0] > 0)), True
    if not len(bad_rows):
        return (), False
    bad = seen.nonfinite[bad_rows[0]] > 0
    if bad.all():
        # NaN in the outputs is in every gradient, wherever it is from.
        return (), False
    # The backward pass meets the layers from the loss downwards.
    layers = tuple(seen.groups[i] for i in np.flatnonzero(bad)[::-1])
    return layers, first_loss is None or first_loss > int(seen.step[bad_rows[0]])


def _picture(seen: Seen) -> Curve:
    """The gradient before, or the loss where none was recorded."""
    known = np.isfinite(seen.total_norm) & (seen.total_norm > 0)
    if known.any():
        line = drawn(seen.step[known], seen.total_norm[known])
        return Curve("Gradient norm", {"gradient": line}, logarithmic=True)
    finite = np.flatnonzero(np.isfinite(seen.loss))
    return Curve("Loss", {"loss": drawn(finite, seen.loss[finite])})


def loss_scale_collapse(seen: Seen) -> Iterable[Finding]:
    """A dynamic loss scale that fell to where float16 loses gradients."""
    scale = seen.loss_scale
    if not len(scale) or not np.isfinite(scale[-1]):
        return
    limit = threshold("loss_scale_low")
    if scale[-1] < limit:
        last = int(np.flatnonzero(scale < limit)[0])
        since = int(seen.epoch_end[last]) if last < len(seen.epoch_end) else 0
        yield found(
            "loss_scale_collapse", "warning",
            f"The loss scale fell to {scale[-1]:.3g}: gradients kept overflowing "
            "float16.",
            Evidence("loss scale", float(scale[-1]), limit, "below"),
            first_step=since, last_step=seen.steps,
            picture=Curve("Loss scale", {"loss scale": drawn(
                seen.epoch_end[: len(scale)], scale[: len(seen.epoch_end)]
            )}, limit, logarithmic=True),
        )  # fmt: skip


RULES = (non_finite, loss_scale_collapse)
