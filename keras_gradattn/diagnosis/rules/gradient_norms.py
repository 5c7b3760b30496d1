"""What gradients do over depth and time."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.rules.loss_curve import enough
from keras_gradattn.diagnosis.seen import Seen, drawn
from keras_gradattn.diagnosis.thresholds import threshold


def by_depth(seen: Seen) -> np.ndarray:
    """(groups,) median root mean square of a gradient's elements, NaN where unknown."""
    if not len(seen.norm):
        return np.zeros(0)
    values = np.where(np.isfinite(seen.norm), seen.norm, np.nan)
    known = np.isfinite(values).any(axis=0)
    level = np.full(values.shape[1], np.nan)
    level[known] = np.nanmedian(values[:, known], axis=0)
    return level / np.sqrt(np.maximum(seen.sizes, 1))


def vanishing_gradients(seen: Seen) -> Iterable[Finding]:
    """Gradients that get lost between the output and the first layers."""
    level = by_depth(seen)
    if not enough(seen) or len(level) < 3 or not np.isfinite(level[-1]):
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        share = level / np.nanmax(level[-2:])
    limit = threshold("vanishing_share")
    weak = np.flatnonzero(share < limit)
    # One weak group, as an embedding of many rows, is no matter of depth.
    first = [i for i in weak.tolist() if i < len(level) - 1]
    if len(first) < min(2, len(level) - 2) or first[0] > 1:
        return
    starts = max(first)
    yield found(
        "vanishing_gradients", "warning" if seen.poor else "note",
        f"From {seen.groups[starts]!r} down to the input, gradients are at most "
        f"{float(np.nanmax(share[first])):.1g} of those at the output.",
        Evidence("gradient of the first layers, to the output's",
                 float(np.nanmin(share[first])), limit, "below"),
        layers=tuple(seen.groups[i] for i in first),
        first_step=int(seen.step[0]), last_step=int(seen.step[-1]),
        picture=picture(seen, [first[0], len(level) - 1]),
    )  # fmt: skip


def exploding_gradients(seen: Seen) -> Iterable[Finding]:
    """Gradients that grow by powers of ten, in time or towards the input."""
    total = seen.total_norm
    if not enough(seen) or len(total) < 5:
        return
    usual = float(np.median(total[: max(len(total) // 20, 3)]))
    late = total[np.isfinite(total)]
    if not len(late) or usual <= 0:
        return
    # A single jump is not yet an explosion.
    size = max(len(late) // 20, 2)
    top = float(np.sort(late)[-size])
    growth, limit = top / usual, threshold("explosion_high")
    level = by_depth(seen)
    known = level[np.isfinite(level) & (level > 0)]
    steep = float(known[0] / known[-1]) if len(known) > 2 else 1.0
    by_layers = steep > threshold("steep_high")
    if growth <= limit and not by_layers:
        return
    where = np.flatnonzero(total >= top)
    yield found(
        "exploding_gradients", "warning" if seen.poor else "note",
        f"Gradients grew to {top:.3g}, from {usual:.3g} at the beginning."
        if growth > limit else
        f"Towards the input gradients grow by a factor of {steep:.3g}.",
        Evidence("growth of the gradient", growth, limit),
        Evidence("first layer's gradient to the last one's", steep,
                 threshold("steep_high")),
        layers=_largest(seen),
        first_step=int(seen.step[where[0]]) if len(where) else 0,
        last_step=int(seen.step[-1]),
        picture=Curve("Gradient norm", {"all layers": drawn(seen.step, total)},
                      limit * usual, logarithmic=True),
    )  # fmt: skip


def _largest(seen: Seen) -> tuple[str, ...]:
    values = np.where(np.isfinite(seen.norm), seen.norm, 0)
    return (seen.groups[int(np.argmax(values.max(axis=0)))],) if seen.groups else ()


def clipped_every_step(seen: Seen) -> Iterable[Finding]:
    """Clipping that shortens nearly every gradient by far."""
    if seen.clip is None or not enough(seen) or not len(seen.norm):
        return
    kind, limit = seen.clip
    if kind == "global":
        size = seen.total_norm
    else:
        # Each variable is clipped alone; that of a group is at most the group's.
        size = np.nanmax(np.where(np.isfinite(seen.norm), seen.norm, 0), axis=1)
    share = float(np.mean(size > limit))
    over = float(np.median(size) / limit)
    if share < threshold("clipped_share") or over < threshold("clipped_over"):
        return
    bad = seen.poor and not seen.adaptive
    yield found(
        "clipped_every_step", "warning" if bad else "note",
        f"{share:.0%} of the gradients are clipped, in the median to 1/{over:.3g} of "
        "themselves.",
        Evidence("share of clipped steps", share, threshold("clipped_share")),
        Evidence("median norm, to the limit", over, threshold("clipped_over")),
        first_step=int(seen.step[0]), last_step=int(seen.step[-1]),
        picture=Curve("Norm and limit", {"norm": drawn(seen.step, size)}, limit,
                      logarithmic=True),
    )  # fmt: skip


def picture(seen: Seen, groups: list[int]) -> Curve:
    """Gradient norms of some groups by step."""
    lines = {
        seen.groups[i]: drawn(seen.step, np.nan_to_num(seen.norm[:, i])) for i in groups
    }
    return Curve("Gradient norm by depth", lines, logarithmic=True)


RULES = (vanishing_gradients, exploding_gradients, clipped_every_step)
