"""How sure a finding is: how often one of its name told what was wrong.

Counted on the tuning half of `studies/diagnosis`, whose programs have one known fault
or none. `python -m studies.diagnosis.calibration` prints the counts; its README has the
same on the other half, which these numbers never saw.
"""

from keras_gradattn.diagnosis.symptoms import SYMPTOMS

# Findings above a note by name: those that told the fault, and all.
ABOVE_NOTE: dict[str, tuple[int, int]] = {
    "batch_norm_drift": (0, 2),
    "batch_norm_of_one": (2, 2),
    "bottleneck": (2, 2),
    "bounded_output": (2, 2),
    "class_imbalance": (1, 1),
    "class_missing": (2, 2),
    "constant_predictor": (0, 11),
    "dead_units": (1, 2),
    "decay_kills_kernels": (1, 2),
    "diverging_loss": (0, 1),
    "dropout_before_output": (2, 2),
    "frozen_random_weights": (2, 2),
    "ignored_mask": (1, 1),
    "input_scale": (4, 4),
    "label_shape": (1, 1),
    "labels_out_of_range": (2, 2),
    "large_initial_weights": (5, 5),
    "learning_rate_too_high": (2, 3),
    "learning_rate_too_low": (4, 6),
    "logits_as_probabilities": (1, 1),
    "loss_unfit_for_labels": (2, 4),
    "majority_class": (0, 10),
    "nan_in_data": (3, 3),
    "no_activation": (2, 2),
    "non_finite": (0, 3),
    "nothing_trainable": (1, 1),
    "overfitting": (3, 6),
    "probabilities_as_logits": (3, 3),
    "samples_mixed": (5, 5),
    "saturated_units": (2, 5),
    "slow_convergence": (0, 1),
    "small_initial_weights": (1, 2),
    "softmax_on_one_unit": (4, 4),
    "strong_dropout": (1, 1),
    "strong_regularization": (1, 1),
    "symmetric_weights": (1, 1),
    "time_and_batch_swapped": (1, 1),
    "training_flag_lost": (2, 2),
    "uncalled_layer": (1, 1),
    "unchanged_weights": (0, 5),
    "underfitting": (2, 4),
    "unreached_variables": (1, 1),
    "updates_too_small": (1, 2),
    "validation_leakage": (2, 2),
    "vanishing_gradients": (3, 5),
}
# The same of notes.
NOTES: dict[str, tuple[int, int]] = {
    "batch_norm_drift": (0, 1),
    "class_missing": (0, 2),
    "constant_inputs": (0, 18),
    "duplicated_inputs": (0, 18),
    "initial_loss": (1, 9),
    "oscillating_loss": (0, 2),
    "overfitting": (0, 5),
    "plateau": (0, 1),
    "saturated_units": (1, 1),
    "underfitting": (0, 3),
}

# A name that was seldom said leans on the others that are measured when it is, with
# the weight of so many findings.
_PRIOR = 4
_MOST = 0.99


def confidence(name: str, severity: str) -> float:
    """Share of such findings that were right, 0 to 1.

    `(right + 4 * share) / (said + 4)`: the posterior mean under a beta prior whose mean
    is the share among all symptoms with the same `when`.

    Args:
        name: A name in `SYMPTOMS`.
        severity: `"note"`, or one above it.

    Returns:
        At most 0.99.
    """
    counts = NOTES if severity == "note" else ABOVE_NOTE
    when = SYMPTOMS[name].when
    alike = [count for other, count in counts.items() if SYMPTOMS[other].when == when]
    # Laplace's rule where nothing was counted.
    share = (sum(r for r, _ in alike) + 1) / (sum(s for _, s in alike) + 2)
    right, said = counts.get(name, (0, 0))
    return min((right + _PRIOR * share) / (said + _PRIOR), _MOST)
