"""All rules about a training, applied to what was seen of it."""

from collections.abc import Callable, Iterable
from typing import Any

from keras_gradattn.diagnosis.finding import Finding
from keras_gradattn.diagnosis.rules import (
    generalization,
    gradient_norms,
    loss_curve,
    non_finite,
    units,
    weights,
)
from keras_gradattn.diagnosis.rules.reference import departs_from_reference
from keras_gradattn.diagnosis.seen import Seen
from keras_gradattn.diagnosis.thresholds import threshold

Rule = Callable[[Seen], Iterable[Finding]]

RULES: tuple[Rule, ...] = (
    *non_finite.RULES,
    *loss_curve.RULES,
    *gradient_norms.RULES,
    *weights.RULES,
    *units.RULES,
    *generalization.RULES,
)
# What others explain, and which ones do.
_EXPLAINED: dict[str, tuple[str, ...] | None] = {
    "underfitting": None,
    "plateau": None,
    "oscillating_loss": ("diverging_loss", "non_finite"),
    "exploding_gradients": ("non_finite",),
    "vanishing_gradients": ("dead_units", "saturated_units", "decay_kills_kernels"),
    "unchanged_weights": ("dead_units", "vanishing_gradients", "saturated_units"),
    "learning_rate_too_low": ("clipped_every_step", "decay_kills_kernels"),
    "slow_convergence": ("learning_rate_too_low", "updates_too_small"),
}


def symptoms(seen: Seen, reference: Any = None) -> list[Finding]:
    """Findings of all rules, without those that others explain.

    Args:
        seen: The training.
        reference: `GradientRecord` of a healthy one, or `None`.
    """
    findings = [finding for rule in RULES for finding in rule(seen)]
    if reference is not None:
        findings += departs_from_reference(seen, reference)
    told = {f.name for f in findings if f.severity != "note"}
    return [
        f for f in findings if f.severity == "fault" or not _is_explained(f.name, told)
    ]


def _is_explained(name: str, told: set[str]) -> bool:
    if name not in _EXPLAINED:
        return False
    by = _EXPLAINED[name]
    others = told - {name, "overfitting", "validation_leakage"}
    return bool(others if by is None else others & set(by))


def not_judged(seen: Seen) -> list[str]:
    """What there was too little of, in sentences."""
    sentences = []
    if seen.steps < threshold("fewest_steps"):
        sentences.append(
            f"The loss curve: {seen.steps} steps were seen, "
            f"{threshold('fewest_steps'):.0f} are needed."
        )
    elif seen.steps < threshold("fewest_steps_of_a_stall"):
        sentences.append(
            f"Whether the training stalls: {seen.steps} steps were seen, "
            f"{threshold('fewest_steps_of_a_stall'):.0f} are needed."
        )
    if not len(seen.norm):
        sentences.append("Gradients: none were recorded.")
    elif len(seen.update_norm) < 2:
        sentences.append(
            "Updates of weights: they were measured in fewer than 2 steps."
        )
    if seen.guess is None:
        why = "not known for this loss."
        if seen.weighted:
            why = "`class_weight` or `sample_weight` change the loss."
        sentences.append(f"How far the fit is from guessing: {why}")
    return sentences
