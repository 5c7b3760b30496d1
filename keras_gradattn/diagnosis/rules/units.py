"""What layers give: dead, saturated, normalised by the wrong numbers."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.seen import Seen
from keras_gradattn.diagnosis.thresholds import threshold

# Layers whose share is told, the worst ones.
_MOST_LAYERS = 8


def _lasting(values: np.ndarray, limit: float) -> np.ndarray:
    """(layers,) whether the last two measurements are above, or the only one."""
    if not len(values):
        return np.zeros(values.shape[1], bool)
    return np.all(np.nan_to_num(values[-2:]) > limit, axis=0)


def dead_units(seen: Seen) -> Iterable[Finding]:
    """ReLU layers whose units are mostly silent."""
    layers = seen.layers
    if len(layers.step) < 2:
        return
    limit = threshold("dead_share_poor" if seen.poor else "dead_share_high")
    dead = np.flatnonzero(_lasting(layers.dead_share, limit))
    if not len(dead):
        return
    shares = layers.dead_share[-1, dead]
    worst = int(dead[np.argmax(shares)])
    yield found(
        "dead_units", "warning" if seen.poor else "note",
        f"In {layers.names[worst]!r} {layers.dead_share[-1, worst]:.0%} of the units "
        "are zero for every sample of the batch.",
        *(
            Evidence(
                f"share of dead units in {layers.names[i]}",
                float(layers.dead_share[-1, i]),
                limit,
            )
            for i in dead[np.argsort(-shares)][:_MOST_LAYERS]
        ),
        layers=tuple(layers.names[i] for i in dead),
        first_step=_since(layers.step, layers.dead_share[:, worst], limit),
        last_step=int(layers.step[-1]),
        picture=_picture(seen, "Share of dead units", layers.dead_share, worst, limit),
    )  # fmt: skip


def saturated_units(seen: Seen) -> Iterable[Finding]:
    """Hidden sigmoid or tanh layers that stand at the ends of their range."""
    layers = seen.layers
    if len(layers.step) < 2:
        return
    limit = threshold("saturated_share_high")
    stuck = _lasting(layers.saturated_share, limit) & (layers.hidden > 0)
    where = np.flatnonzero(stuck)
    if not len(where):
        return
    worst = int(where[np.argmax(layers.saturated_share[-1, where])])
    share = float(layers.saturated_share[-1, worst])
    # Gates that are open or shut serve well; what counts is whether training works.
    bad = seen.poor or (
        seen.gain is not None
        and seen.gain < threshold("saturated_gain")
        and share > threshold("saturated_share_of_half_a_fit")
    )
    yield found(
        "saturated_units", "warning" if bad else "note",
        f"In {layers.names[worst]!r} {share:.0%} of the values stand at the ends of "
        "the activation's range, where it has no slope.",
        Evidence("share of saturated values", share, limit),
        layers=tuple(layers.names[i] for i in where),
        first_step=_since(layers.step, layers.saturated_share[:, worst], limit),
        last_step=int(layers.step[-1]),
        picture=_picture(
            seen, "Share of saturated values", layers.saturated_share, worst, limit
        ),
    )  # fmt: skip


def batch_norm_drift(seen: Seen) -> Iterable[Finding]:
    """BatchNorm whose inference statistics are not those of its batches."""
    layers = seen.layers
    if len(layers.step) < 2 or not len(layers.loss) or not np.isfinite(seen.end):
        return
    inference = float(layers.loss[-1])
    harmed = not np.isfinite(inference) or (
        inference > threshold("drift_loss_factor") * max(seen.end, 1e-6)
        and (seen.guess is None or inference > threshold("drift_loss") * seen.guess)
    )
    # Where inference suffers, a smaller drift explains it too.
    kind = "harmful" if harmed else "alone"
    high, factor = threshold(f"drift_shift_{kind}"), threshold(f"drift_spread_{kind}")
    shift, spread = np.nan_to_num(layers.shift[-1]), layers.spread[-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(np.log(spread))
    far = (shift > high) | (np.nan_to_num(off, posinf=0.0) > np.log(factor))
    where = np.flatnonzero(far & np.isfinite(layers.spread[-1]))
    if not len(where):
        return
    worst = int(where[np.argmax(shift[where] + np.nan_to_num(off[where]))])
    yield found(
        "batch_norm_drift", "warning" if harmed else "note",
        f"With the statistics of inference, {layers.names[worst]!r} gives values "
        f"{shift[worst]:.2g} spreads off, {spread[worst]:.2g} times as wide; on a "
        f"training batch the loss is {inference:.3g} in inference and {seen.end:.3g} "
        "in training.",
        *(
            one
            for one in (
                Evidence(
                    "distance from its own mean, in spreads", float(shift[worst]), high
                ),
                Evidence(
                    "times as wide or as narrow", float(np.exp(off[worst])), factor
                ),
            )
            # Either tells; the other need not be above.
            if one.value > (one.threshold or 0)
        ),
        Evidence("loss in inference, to that in training",
                 inference / max(seen.end, 1e-6), threshold("drift_loss_factor")),
        layers=tuple(layers.names[i] for i in where),
        first_step=int(layers.step[-2]), last_step=int(layers.step[-1]),
        picture=_picture(
            seen, "Distance from its own mean, in spreads", layers.shift, worst, high
        ),
    )  # fmt: skip


def _since(steps: np.ndarray, values: np.ndarray, limit: float) -> int:
    below = np.flatnonzero(~(np.nan_to_num(values) > limit))
    first = int(below[-1]) + 1 if len(below) else 0
    return int(steps[min(first, len(steps) - 1)])


def _picture(
    seen: Seen, title: str, values: np.ndarray, layer: int, limit: float
) -> Curve:
    line = (
        seen.layers.step.astype(float).tolist(),
        np.nan_to_num(values[:, layer]).tolist(),
    )
    return Curve(title, {seen.layers.names[layer]: line}, limit)


RULES = (dead_units, saturated_units, batch_norm_drift)
