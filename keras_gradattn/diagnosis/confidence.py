"""How sure a finding is: how often one of its name told what was wrong.

Counted on the tuning half of `studies/diagnosis`, whose programs have one known fault
or none. `python -m studies.diagnosis.calibration` prints the counts; its README has the
same on the other half, which these numbers never saw.
"""

from keras_gradattn.diagnosis.symptoms import SYMPTOMS

# Findings above a note by name: those that told the fault, and all.
ABOVE_NOTE: dict[str, tuple[int, int]] = {
    "batch_norm_drift": (2, 4),
    "batch_norm_of_one": (2, 2),
    "bottleneck": (2, 2),
    "bounded_output": (4, 4),
    "class_imbalance": (2, 2),
    "class_missing": (2, 2),
    "clipped_every_step": (2, 2),
    "constant_inputs": (2, 2),
    "constant_predictor": (0, 16),
    "dead_units": (2, 7),
    "decay_kills_kernels": (3, 4),
    "diverging_loss": (2, 3),
    "dropout_before_output": (2, 2),
    "frozen_random_weights": (2, 2),
    "ignored_mask": (1, 1),
    "input_scale": (4, 4),
    "label_shape": (2, 2),
    "labels_out_of_range": (2, 2),
    "large_initial_weights": (6, 6),
    "learning_rate_too_high": (4, 5),
    "learning_rate_too_low": (4, 6),
    "logits_as_probabilities": (2, 2),
    "loss_unfit_for_labels": (2, 4),
    "majority_class": (0, 11),
    "nan_in_data": (5, 5),
    "no_activation": (2, 2),
    "non_finite": (0, 5),
    "nothing_trainable": (2, 2),
    "overfitting": (4, 8),
    "probabilities_as_logits": (4, 4),
    "samples_mixed": (6, 6),
    "saturated_units": (3, 6),
    "slow_convergence": (0, 4),
    "small_initial_weights": (1, 2),
    "softmax_on_one_unit": (4, 4),
    "strong_dropout": (2, 2),
    "strong_regularization": (2, 2),
    "symmetric_weights": (3, 3),
    "target_scale": (2, 2),
    "time_and_batch_swapped": (2, 2),
    "training_flag_lost": (2, 2),
    "uncalled_layer": (2, 2),
    "unchanged_weights": (0, 5),
    "underfitting": (2, 6),
    "unreached_variables": (2, 2),
    "unused_input": (2, 4),
    "updates_too_small": (2, 4),
    "validation_leakage": (2, 2),
    "vanishing_gradients": (3, 5),
}
# The same of notes.
NOTES: dict[str, tuple[int, int]] = {
    "batch_norm_drift": (0, 1),
    "class_missing": (0, 2),
    "constant_inputs": (0, 21),
    "duplicated_inputs": (0, 21),
    "exploding_gradients": (1, 1),
    "initial_loss": (1, 10),
    "oscillating_loss": (0, 3),
    "overfitting": (0, 6),
    "plateau": (0, 3),
    "saturated_units": (1, 1),
    "unchanged_weights": (0, 1),
    "underfitting": (0, 3),
    "vanishing_gradients": (0, 1),
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
