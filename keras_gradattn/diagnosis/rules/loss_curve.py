"""What the loss does: diverges, stalls, oscillates, crawls."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.seen import Seen, drawn
from keras_gradattn.diagnosis.thresholds import threshold

_ACCURACIES = (
    "accuracy",
    "acc",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
)


def enough(seen: Seen) -> bool:
    """Whether there are steps enough to judge a curve."""
    return seen.steps >= threshold("fewest_steps")


def picture(seen: Seen, title: str, limit: float | None = None) -> Curve:
    """The loss by step."""
    positive = bool(np.all(np.asarray(seen.curve[1]) > 0))
    return Curve(title, {"loss": seen.curve}, limit, logarithmic=positive)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Mean over the last `width` values at each place."""
    width = max(1, min(width, len(values)))
    sums = np.cumsum(np.insert(np.asarray(values, "float64"), 0, 0.0))
    return (sums[width:] - sums[:-width]) / width


def falls_in_last_half(seen: Seen) -> float:
    """Share of the loss that was lost between the third quarter and the last."""
    half = seen.fit_loss[seen.steps // 2 :]
    before, after = np.array_split(half, 2)
    if not len(before) or not len(after):
        return 0.0
    level = max(abs(float(np.mean(before))), 1e-12)
    return float((np.mean(before) - np.mean(after)) / level)


def not_enough_seen(seen: Seen) -> Iterable[Finding]:
    """A training of a few steps, about which nothing is said."""
    limit = threshold("fewest_steps")
    if 0 < seen.steps < limit and np.all(np.isfinite(seen.loss)):
        yield found(
            "not_enough_seen", "note",
            f"{seen.steps} steps were seen; no curve is judged by so few.",
            Evidence("steps seen", seen.steps, limit, "below"),
            first_step=0, last_step=seen.steps,
        )  # fmt: skip


def diverging_loss(seen: Seen) -> Iterable[Finding]:
    """A loss that ends far above where it began, or falls without a floor."""
    loss = seen.fit_loss
    if not enough(seen) or not np.all(np.isfinite(loss)):
        return
    begin, end = seen.begin, seen.end
    limit = threshold("divergence_high")
    if end < 0 and abs(end) > threshold("fall_high") * max(abs(begin), 1.0):
        yield found(
            "diverging_loss", "warning",
            f"The loss fell from {begin:.3g} to {end:.3g}, and has no floor.",
            Evidence("fall, to where it began", abs(end) / max(abs(begin), 1.0),
                     threshold("fall_high")),
            first_step=0, last_step=seen.steps,
            picture=picture(seen, "Loss"),
            advice=(("the loss has the wrong sign", "loss = -objective"),),
        )  # fmt: skip
        return
    floor = max(begin, seen.guess or 0.0, float(loss[0]))
    if end > 0 and end > limit * floor and seen.reached > floor:
        above = np.flatnonzero(loss > limit * floor)
        yield found(
            "diverging_loss", "warning",
            f"The loss rose from {begin:.3g} to {end:.3g}.",
            Evidence("loss at the end, to the higher of its beginning and guessing",
                     end / floor, limit),
            first_step=int(above[0]) if len(above) else 0, last_step=seen.steps,
            picture=picture(seen, "Loss", floor),
        )  # fmt: skip


def constant_predictor(seen: Seen) -> Iterable[Finding]:
    """A loss that stands where the best constant answer is."""
    gain = seen.gain
    if gain is None or not np.isfinite(gain) or not _long(seen):
        return
    guess = seen.guess or 0.0
    limit = threshold("constant_gain_low")
    near = gain < limit and seen.end < guess * threshold("constant_above")
    if near and abs(falls_in_last_half(seen)) < threshold("still_falls"):
        yield found(
            "constant_predictor", "warning",
            f"After {seen.steps} steps the loss is {seen.reached:.3g}; the best answer "
            f"that ignores the input has {guess:.3g}.",
            Evidence("share of guessing's loss removed", gain, limit, "below"),
            first_step=_since_near(seen, guess), last_step=seen.steps,
            picture=picture(seen, "Loss, and that of guessing", guess),
        )  # fmt: skip


def _since_near(seen: Seen, guess: float) -> int:
    level = smooth(seen.fit_loss, max(seen.steps // 20, 1))
    far = np.flatnonzero(np.abs(level - guess) > threshold("near_guess") * guess)
    return int(far[-1]) + 1 if len(far) else 0


def majority_class(seen: Seen) -> Iterable[Finding]:
    """An accuracy that stands at the share of the most frequent class."""
    share, gain = seen.majority, seen.gain
    if share is None or gain is None or not _long(seen):
        return
    for name in _ACCURACIES:
        values = seen.logs.get(name)
        if values is None or len(values) < 3:
            continue
        last = values[-max(3, len(values) // 3) :]
        room = threshold("majority_room")
        if np.all(np.abs(last - share) <= room) and gain < threshold("majority_gain"):
            yield found(
                "majority_class", "warning",
                f"{name} stands at {float(np.mean(last)):.3f}; answering the most "
                f"frequent class gives {share:.3f}.",
                Evidence("distance from the majority's share",
                         float(np.max(np.abs(last - share))), room, "below"),
                Evidence("share of guessing's loss removed", gain,
                         threshold("majority_gain"), "below"),
                first_step=int(seen.epoch_end[-len(last)]), last_step=seen.steps,
                picture=Curve(name, {name: drawn(seen.epoch_end, values)}, share),
            )  # fmt: skip
            return


def _long(seen: Seen) -> bool:
    return (
        seen.steps >= threshold("fewest_steps_of_a_stall")
        and len(seen.epoch_end) >= 3
        and bool(np.all(np.isfinite(seen.fit_loss)))
    )


def oscillating_loss(seen: Seen) -> Iterable[Finding]:
    """Epochs whose losses jump up and down."""
    losses = epoch_means(seen)
    if len(losses) < 6 or not np.all(np.isfinite(losses)):
        return
    late = losses[len(losses) // 3 :]
    jumps = np.diff(late)
    level = max(float(np.mean(np.abs(late))), 1e-12)
    size = float(np.mean(np.abs(jumps))) / level
    turns = float(np.mean(jumps[1:] * jumps[:-1] < 0)) if len(jumps) > 1 else 0.0
    net = abs(float(late[-1] - late[0])) / level
    limit, often = threshold("oscillation_high"), threshold("oscillation_turns")
    if size > limit and turns > often and net < 2 * size:
        gain = seen.gain
        bad = gain is not None and gain < threshold("oscillation_gain")
        yield found(
            "oscillating_loss", "warning" if bad or seen.poor else "note",
            f"From epoch to epoch the loss jumps by {size:.0%} of itself and gets "
            "nowhere.",
            Evidence("mean jump between epochs, to the loss", size, limit),
            Evidence("share of jumps that turn back", turns, often),
            first_step=int(seen.epoch_end[len(losses) // 3]), last_step=seen.steps,
            picture=picture(seen, "Loss"),
        )  # fmt: skip


def epoch_means(seen: Seen) -> np.ndarray:
    """(epochs,) mean loss of each epoch."""
    ends = [int(e) for e in seen.epoch_end if e <= seen.steps]
    begins = [0, *ends][: len(ends)]
    return np.array(
        [
            np.mean(seen.fit_loss[a:b])
            for a, b in zip(begins, ends, strict=True)
            if b > a
        ]
    )


def plateau(seen: Seen) -> Iterable[Finding]:
    """A loss that fell and has stood still for half of the training."""
    if not _long(seen) or seen.poor:
        return
    still = abs(falls_in_last_half(seen))
    fell = 1 - seen.end / seen.begin if seen.begin > 0 else 0.0
    limit = threshold("plateau_low")
    high = seen.gain is not None and seen.gain < threshold("good_fit")
    if still < limit and fell > threshold("plateau_fall") and high:
        yield found(
            "plateau", "note",
            f"The loss fell to {seen.end:.3g} and has not changed for half of the "
            "training.",
            Evidence("change over the last half", still, limit, "below"),
            first_step=seen.steps // 2, last_step=seen.steps,
            picture=picture(seen, "Loss"),
        )  # fmt: skip


RULES = (
    not_enough_seen,
    diverging_loss,
    constant_predictor,
    majority_class,
    oscillating_loss,
    plateau,
)
