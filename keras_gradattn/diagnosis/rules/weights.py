"""What updates do to weights."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.rules.loss_curve import enough, falls_in_last_half
from keras_gradattn.diagnosis.seen import Seen
from keras_gradattn.diagnosis.thresholds import threshold


def medians(values: np.ndarray) -> np.ndarray:
    """(columns,) medians of what is finite, NaN where nothing is."""
    found_any = np.isfinite(values).any(axis=0)
    result = np.full(values.shape[1], np.nan)
    if found_any.any():
        finite = np.where(np.isfinite(values), values, np.nan)[:, found_any]
        result[found_any] = np.nanmedian(finite, axis=0)
    return result


def unchanged_weights(seen: Seen) -> Iterable[Finding]:
    """Weights whose updates are exactly zero."""
    updates = seen.update_norm
    if len(updates) < 2 or not enough(seen):
        return
    measured = np.isfinite(updates).sum(axis=0) >= 2
    still = measured & ~np.any(np.nan_to_num(updates) > 0, axis=0)
    if not measured.any() or not still.any():
        return
    everything = bool(still[measured].all())
    # Without a gradient the optimizer has nothing to do: something else is the cause.
    pushed = bool(np.any(np.nan_to_num(seen.gradient_norm) > 0))
    severity = "warning" if seen.poor else "note"
    if everything and pushed:
        severity = "fault"
    names = tuple(seen.groups[i] for i in np.flatnonzero(still))
    yield found(
        "unchanged_weights", severity,
        ("No weight changed" if everything else
         f"Weights of {', '.join(names[:4])} did not change")
        + f" in {len(updates)} measured steps.",
        Evidence("share of groups that never change", float(still[measured].mean()), 0),
        layers=names,
        first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
        picture=_picture(seen, int(np.flatnonzero(still)[0])),
    )  # fmt: skip


def size_of_updates(seen: Seen) -> Iterable[Finding]:
    """Updates out of proportion to the weights, in all layers or in some."""
    ratio = seen.update_ratio
    if len(ratio) < 2 or not enough(seen):
        return
    yield from _too_small(seen, ratio)
    yield from _too_large(seen, ratio)


def _too_small(seen: Seen, ratio: np.ndarray) -> Iterable[Finding]:
    limit, vanished = threshold("update_low"), threshold("update_vanished")
    level = medians(ratio)
    known = np.isfinite(level)
    if not known.any() or not np.any(np.nan_to_num(ratio) > 0):
        return
    middle = float(np.median(level[known]))
    late = medians(ratio[len(ratio) // 2 :])
    early = medians(ratio[: max(len(ratio) // 5, 1)])
    both = np.isfinite(late) & np.isfinite(early)
    last, first = (
        float(np.median(one[both])) if both.any() else 1.0 for one in (late, early)
    )
    # A network that found its answer may rest.
    far = seen.gain is None or seen.gain < threshold("far_from_fit")
    rests = abs(falls_in_last_half(seen)) < threshold("still_falls")
    if far and rests and last < vanished and last < threshold("update_left") * first:
        yield found(
            "updates_too_small", "warning",
            f"Updates shrank from {first:.1g} to {last:.1g} of the weights while the "
            "fit is still far.",
            Evidence("update to weight, last half", last, vanished, "below"),
            first_step=int(seen.detail_step[len(ratio) // 2]),
            last_step=int(seen.detail_step[-1]),
            picture=_picture(seen, int(np.nanargmin(late))),
            advice=(("the schedule ends too early",
                     "keras.optimizers.schedules.CosineDecay(1e-3, steps)"),),
        )  # fmt: skip
        return
    if seen.poor and middle < limit and not _gradient_lost(seen):
        yield found(
            "learning_rate_too_low", "warning",
            f"An update changes weights by {middle:.1g} of their size, and "
            f"{seen.steps} steps brought the loss nowhere.",
            Evidence("update to weight, median", middle, limit, "below"),
            first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
            picture=_picture(seen, int(np.nanargmin(level))),
            advice=_raise_rate(seen, limit / max(middle, 1e-12)),
        )  # fmt: skip
        return
    some = np.flatnonzero(known & (level < threshold("update_of_some")))
    if seen.poor and len(some) and not _gradient_lost(seen):
        yield found(
            "updates_too_small", "warning",
            f"Updates of {seen.groups[some[0]]!r} are {level[some[0]]:.1g} of its "
            "weights.",
            Evidence("update to weight", float(level[some[0]]),
                     threshold("update_of_some"), "below"),
            layers=tuple(seen.groups[i] for i in some),
            first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
            picture=_picture(seen, int(some[0])),
        )  # fmt: skip


def _raise_rate(seen: Seen, factor: float) -> tuple[tuple[str, str], ...]:
    rate = 1e-3
    if seen.rate:
        # As far as the ratio is from a thousandth, and no further than usual rates.
        rate = min(seen.rate * max(30 * factor, 10), 0.01 if seen.adaptive else 0.1)
    kind = seen.optimizer or "Adam"
    return (("the learning rate is too low", f"keras.optimizers.{kind}({rate:.1g})"),)


def _gradient_lost(seen: Seen) -> bool:
    """Whether the first layers get a vanishing part of the gradient."""
    from keras_gradattn.diagnosis.rules.gradient_norms import vanishing_gradients

    return any(True for _ in vanishing_gradients(seen))


def _too_large(seen: Seen, ratio: np.ndarray) -> Iterable[Finding]:
    limit = threshold("update_high")
    # Weights that begin at zero have no proportion in the first step.
    early = medians(ratio[1:4] if len(ratio) > 3 else ratio)
    first = medians(ratio[:2])
    known = np.isfinite(early)
    if not known.any():
        return
    middle = float(np.median(early[known]))
    jump = (
        float(np.median(first[np.isfinite(first)])) if np.any(np.isfinite(first)) else 0
    )
    grown = _growth(seen)
    bad = seen.poor or not np.isfinite(seen.end)
    if not bad:
        return
    if max(middle, jump) > limit or (
        grown > threshold("weights_grow")
        and middle > threshold("update_of_growing_weights")
    ):
        yield found(
            "learning_rate_too_high", "warning",
            f"Early updates change weights by {max(middle, jump):.2g} of their size, "
            "and the loss got nowhere.",
            Evidence("update to weight, early median", max(middle, jump), limit),
            Evidence("growth of the weights", grown, threshold("weights_grow")),
            first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
            picture=_picture(seen, int(np.nanargmax(np.nan_to_num(early)))),
            advice=(("the learning rate is too high", _lower_rate(seen)),),
        )  # fmt: skip
        return
    limit = threshold("update_of_some_high")
    some = np.flatnonzero(known & (early > limit))
    if len(some):
        yield found(
            "updates_too_large", "warning",
            f"Updates of {seen.groups[some[0]]!r} are {early[some[0]]:.2g} of its "
            "weights.",
            Evidence("update to weight", float(early[some[0]]), limit),
            layers=tuple(seen.groups[i] for i in some),
            first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
            picture=_picture(seen, int(some[0])),
        )  # fmt: skip


def _lower_rate(seen: Seen) -> str:
    rate = 1e-3 if seen.rate is None else min(seen.rate / 10, 1e-3)
    return f"keras.optimizers.{seen.optimizer or 'Adam'}({rate:.1g})"


def _growth(seen: Seen) -> float:
    """Median factor by which weights grew."""
    weights = seen.weight_norm
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = weights[-1] / weights[0]
    factors = factors[np.isfinite(factors) & (weights[0] > 0)]
    return float(np.median(factors)) if len(factors) else 1.0


def decay_kills_kernels(seen: Seen) -> Iterable[Finding]:
    """Weights that decay takes to nothing."""
    weights = seen.weight_norm
    if not seen.decays or len(weights) < 3 or not enough(seen):
        return
    with np.errstate(divide="ignore", invalid="ignore"):
        left = weights[-1] / weights[0]
    limit = threshold("weights_left_low")
    gone = np.flatnonzero(np.isfinite(left) & (weights[0] > 0) & (left < limit))
    if not len(gone):
        return
    share = len(gone) / weights.shape[1]
    bad = seen.poor and share >= threshold("decayed_groups")
    names = tuple(seen.groups[i] for i in gone)
    lowest = int(gone[np.argmin(left[gone])])
    yield found(
        "decay_kills_kernels", "warning" if bad else "note",
        f"Weights of {seen.groups[lowest]!r} shrank to {left[lowest]:.1%} of what they "
        f"were, those of {len(gone)} of {weights.shape[1]} groups below {limit:.0%}.",
        Evidence("weights left", float(left[lowest]), limit, "below"),
        layers=names,
        first_step=int(seen.detail_step[0]), last_step=int(seen.detail_step[-1]),
        picture=Curve("Norm of the weights", {
            seen.groups[lowest]: (seen.detail_step.astype(float).tolist(),
                                  weights[:, lowest].tolist())}, logarithmic=True),
    )  # fmt: skip


def slow_convergence(seen: Seen) -> Iterable[Finding]:
    """A loss that still falls steadily when training ends, far from a fit."""
    if not enough(seen) or seen.gain is None or len(seen.epoch_end) < 3:
        return
    level = medians(seen.update_ratio) if len(seen.update_ratio) else np.zeros(0)
    known = level[np.isfinite(level)]
    falls = falls_in_last_half(seen)
    if not len(known) or not 0 < seen.gain < threshold("slow_gain"):
        return
    middle = float(np.median(known))
    if middle < threshold("slow_update") and falls > threshold("slow_fall"):
        yield found(
            "slow_convergence", "warning",
            f"The loss still falls, by {falls:.1%} over the last quarter, with updates "
            f"of {middle:.1g} of the weights.",
            Evidence("update to weight, median", middle, threshold("slow_update"),
                     "below"),
            Evidence("share of guessing's loss removed", seen.gain,
                     threshold("slow_gain"), "below"),
            first_step=0, last_step=seen.steps,
            advice=_raise_rate(seen, 1.0),
        )  # fmt: skip


def _picture(seen: Seen, group: int) -> Curve:
    return Curve(
        "Update to weight",
        {
            seen.groups[group]: (
                seen.detail_step.astype(float).tolist(),
                np.nan_to_num(seen.update_ratio[:, group]).tolist(),
            )
        },
        1e-3,
        logarithmic=True,
    )


RULES = (unchanged_weights, size_of_updates, decay_kills_kernels, slow_convergence)
