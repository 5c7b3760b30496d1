"""Training against validation."""

from collections.abc import Iterable

import numpy as np

from keras_gradattn.diagnosis.finding import Curve, Evidence, Finding, found
from keras_gradattn.diagnosis.rules.loss_curve import (
    enough,
    epoch_means,
    falls_in_last_half,
)
from keras_gradattn.diagnosis.seen import Seen
from keras_gradattn.diagnosis.thresholds import threshold


def overfitting(seen: Seen) -> Iterable[Finding]:
    """A validation loss that rises, or never was of use, while training goes on."""
    validation = seen.logs.get("val_loss")
    if validation is None or not enough(seen):
        return
    penalty = seen.layers.penalty
    validation = validation - (float(penalty[-1]) if len(penalty) else 0.0)
    known = np.flatnonzero(np.isfinite(validation))
    if len(known) < 4 or not np.isfinite(seen.end):
        return
    best = int(known[np.argmin(validation[known])])
    last = float(np.mean(validation[known[-2:]]))
    lowest = float(validation[best])
    rose = last / lowest if lowest > 0 else 1.0
    train = seen.end
    limit = threshold("validation_rise")
    useless = (
        seen.guess is not None
        and lowest > threshold("validation_useless") * seen.guess
        and train < threshold("trains_well") * seen.guess
        and last > seen.guess
    )
    lost = seen.guess is None or last > seen.guess
    apart = train < threshold("train_apart") * last
    rises = (
        rose > limit and apart and known[-1] - best >= threshold("epochs_after_best")
    )
    if not useless and not rises:
        return
    # Of numbers a loss above guessing is worse than their mean. Of classes a few sure
    # answers may do it, most others being right.
    far = seen.numbers or rose > threshold("validation_rise_far")
    bad = useless or (lost and far)
    epochs = np.arange(1, len(validation) + 1, dtype=float).tolist()
    lines = {
        "validation": (epochs, np.nan_to_num(validation).tolist()),
        "training": (epochs, epoch_means(seen).tolist()),
    }
    advice: tuple[tuple[str, str], ...] | None = None
    if useless:
        advice = (
            ("inputs and labels do not belong together",
             "order = np.random.permutation(len(x)); x, y = x[order], y[order]"),
            ("data are few for this network", "keras.layers.Dropout(0.3)"),
        )  # fmt: skip
    yield found(
        "overfitting", "warning" if bad else "note",
        f"The validation loss is {last:.3g}, at best {lowest:.3g} after epoch "
        f"{best + 1}; the training loss went on to {train:.3g}.",
        Evidence("validation loss, to its best", rose, limit),
        *([] if seen.guess is None else
          [Evidence("validation loss, to guessing", last / seen.guess, 1.0)]),
        first_step=int(seen.epoch_end[best]) if best < len(seen.epoch_end) else 0,
        last_step=seen.steps,
        picture=Curve("Loss by epoch", lines, seen.guess),
        advice=advice,
    )  # fmt: skip


def underfitting(seen: Seen) -> Iterable[Finding]:
    """A fit that stands still far from its aim, with gradients in order."""
    gain = seen.gain
    if gain is None or not np.isfinite(gain) or len(seen.epoch_end) < 5:
        return
    if seen.steps < threshold("fewest_steps_of_a_stall"):
        return
    limit = threshold("underfit_gain_numbers" if seen.numbers else "underfit_gain")
    validation = seen.logs.get("val_loss")
    # Noisy labels keep the training loss up, and clean validation labels tell.
    held = None
    if validation is not None and np.isfinite(validation).any() and seen.guess:
        held = 1 - float(np.nanmin(validation)) / seen.guess
    best = gain if held is None else max(gain, held)
    if best > limit or gain < threshold("constant_gain_low"):
        return
    still = abs(falls_in_last_half(seen))
    stands = still < threshold("underfit_still")
    # What training learns is of no use for other samples, however long it goes on.
    useless = held is not None and held < 1 - threshold("validation_useless")
    bad = useless or (stands and held is not None)
    yield found(
        "underfitting", "warning" if bad else "note",
        f"Training removed {gain:.0%} of guessing's loss"
        + (", and stands still" if stands else ", and goes on")
        + (f"; on validation data it removed {max(held or 0.0, 0.0):.0%}." if useless
           else "."),
        Evidence("share of guessing's loss removed", best, limit, "below"),
        Evidence("change over the last half", still, threshold("underfit_still"),
                 "below"),
        first_step=seen.steps // 2, last_step=seen.steps,
        picture=Curve("Loss", {"loss": seen.curve}, seen.guess),
        advice=(
            (("inputs and labels do not belong together",
              "order = np.random.permutation(len(x)); x, y = x[order], y[order]"),
             ("the inputs tell too little", "x = np.concatenate([x, more], axis=1)"))
            if useless else
            (("the network is too small", "keras.layers.Dense(128, activation='relu')"),
             ("the inputs tell too little", "x = np.concatenate([x, more], axis=1)"))
            if stands else
            (("training is too short", "model.fit(x, y, epochs=50)"),)
        ),
    )  # fmt: skip


RULES = (overfitting, underfitting)
