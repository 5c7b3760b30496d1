"""Checks of the optimizer and of what it may move."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn._compat import keras as keras_compat
from keras_gradattn.diagnosis.finding import Evidence, Finding, found
from keras_gradattn.diagnosis.initial_weights import looks_just_drawn
from keras_gradattn.diagnosis.subject import Subject
from keras_gradattn.diagnosis.thresholds import threshold
from keras_gradattn.gradients._recorded_step import unwrap

# Steps at which a schedule is asked for its rate: a warm-up from 0 has risen by then.
_SCHEDULE_STEPS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
_NOT_JUDGED = {
    True: "The learning rate: a callback sets it during training.",
    False: "The learning rate: it could not be asked for.",
}


def learning_rate_out_of_order(subject: Subject) -> Iterable[Finding]:
    """A rate that this optimizer is not used with."""
    # One that scales the loss hands its steps to another.
    optimizer = unwrap(getattr(subject.model, "optimizer", None))
    rates = [] if subject.rate_is_set_later else learning_rates(optimizer)
    if not rates:
        if optimizer is not None:
            subject.not_seen.append(_NOT_JUDGED[subject.rate_is_set_later])
        return
    kind = type(optimizer).__name__
    low, high = usual_rates(kind)
    top = max(rates)
    # Momentum multiplies each gradient's share by up to 1 / (1 - momentum).
    momentum = float(getattr(optimizer, "momentum", 0.0) or 0.0)
    effect = top / max(1 - momentum, 0.01) if kind == "SGD" else top
    if effect > high:
        factor = "" if effect == top else f", {effect:.3g} with momentum"
        yield found(
            "learning_rate_too_high", "warning",
            f"{kind} has a learning rate of {top:.3g}{factor}.",
            Evidence(f"learning rate of {kind}", effect, high),
            advice=(("the rate is too high",
                     f"keras.optimizers.{kind}({_default_rate(kind):g})"),),
        )  # fmt: skip
    elif top < low and top >= 0:
        yield found(
            "learning_rate_too_low", "warning",
            f"{kind} has a learning rate of {top:.3g}.",
            Evidence(f"learning rate of {kind}", top, low, "below"),
            advice=(("the rate is too low",
                     f"keras.optimizers.{kind}({_default_rate(kind):g})"),),
        )  # fmt: skip


def usual_rates(kind: str) -> tuple[float, float]:
    """Lowest and highest learning rate that an optimizer is used with."""
    key = {
        "SGD": "sgd", "Adagrad": "adagrad", "Adadelta": "adadelta", "Ftrl": "adagrad",
        "Lion": "lion", "Muon": "sgd", "Lamb": "sgd",
    }.get(kind, "adam")  # fmt: skip
    return threshold(f"{key}_rate_low"), threshold(f"{key}_rate_high")


def _default_rate(kind: str) -> float:
    return {"SGD": 0.01, "Lion": 1e-4, "Adadelta": 1.0}.get(kind, 1e-3)


def learning_rates(optimizer: Any) -> list[float]:
    """The rate, at a few steps where it follows a schedule; empty where unknown."""
    schedule = keras_compat.rate_schedule(optimizer)
    if schedule is None:
        rates = [_number(lambda: optimizer.learning_rate)]
    else:
        rates = [_number(functools.partial(schedule, step)) for step in _SCHEDULE_STEPS]
    return [rate for rate in rates if np.isfinite(rate)]


def _number(rate: Callable[[], Any]) -> float:
    """What it gives, NaN where it cannot be asked."""
    try:
        return float(keras.ops.convert_to_numpy(rate()))
    except (AttributeError, TypeError, ValueError, RuntimeError, ArithmeticError):
        return float("nan")


def nothing_trainable(subject: Subject) -> Iterable[Finding]:
    """A model whose weights are all frozen."""
    model = subject.model
    if model.built and model.weights and not model.trainable_variables:
        yield found(
            "nothing_trainable", "fault",
            f"None of the {len(model.weights)} weights of the model is trainable.",
            Evidence("trainable weights", 0, 1, "below"),
        )  # fmt: skip


def frozen_random_weights(subject: Subject) -> Iterable[Finding]:
    """Frozen layers that were never trained."""
    model = subject.model
    if not model.trainable_variables:
        return
    drawn, elements = [], 0
    for layer in keras_compat.flatten_layers(model, include_self=False):
        if layer.trainable or keras_compat.flatten_layers(layer, include_self=False):
            continue
        if looks_just_drawn(layer):
            drawn.append(layer.name)
            elements += sum(int(np.prod(v.shape)) for v in layer.weights)
    frozen = sum(int(np.prod(v.shape)) for v in model.weights) - sum(
        int(np.prod(v.shape)) for v in model.trainable_variables
    )
    share = elements / max(frozen, 1)
    limit = threshold("random_frozen_share_high")
    if drawn and share > limit:
        yield found(
            "frozen_random_weights", "warning",
            f"{len(drawn)} frozen layers hold weights as their initializer draws them, "
            "and biases of zero: they were never trained.",
            Evidence("share of frozen weights just drawn", share, limit),
            layers=tuple(drawn),
        )  # fmt: skip


CHECKS = (learning_rate_out_of_order, nothing_trainable, frozen_random_weights)
