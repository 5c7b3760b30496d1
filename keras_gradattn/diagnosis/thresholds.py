"""Every threshold of the diagnosis: its value, and what set it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Threshold:
    """One number that a rule compares with.

    Attributes:
        value: The number.
        source: The publication, tool or experiment that it is from.

    Example:

    >>> from keras_gradattn.diagnosis import THRESHOLDS
    >>> all(threshold.source for threshold in THRESHOLDS.values())
    True
    """

    value: float
    source: str


_HEALTHY = "healthy programs of tests/diagnosis stay away from it"
# `python -m studies.diagnosis.thresholds` judges that half again with each of them
# halved and doubled. As they are, of 136 of its programs all 73 faults are named right
# and none of the 61 healthy ones is warned about: `python -m studies.diagnosis.table`.
TUNED = "set on the tuning half of studies/diagnosis, see its README"
_CS231N = "Karpathy (2016), CS231n: about 1e-3 is healthy"
_DEFAULTS = "Keras' defaults are 1e-3 (SGD 1e-2); ten to fifty times off is not usual"
_HE = "He et al. (2015), equation 10: about 1.4; Glorot: about 1"

THRESHOLDS = {
    # Data.
    "fewest_rows": Threshold(16, "fewer rows say little about columns"),
    "input_spread_high": Threshold(20.0, "pixels of 0 to 255 have about 70"),
    "input_mean_high": Threshold(50.0, "pixels of 0 to 255 have about 100"),
    "input_spread_low": Threshold(2e-3, "pixels divided by 255 twice have about 1e-3"),
    "column_ratio_high": Threshold(1e3, _HEALTHY),
    "target_size_high": Threshold(100.0, "Adam's first thousand steps move it by 1"),
    "constant_share_high": Threshold(0.6, "of MNIST's pixels a tenth, of 100 a third"),
    "label_runs_low": Threshold(0.1, "mixed labels have 1, sorted ones 1/samples"),
    "rows_a_class": Threshold(20, "all of them miss a class by chance 1e-9 of times"),
    "missing_share_high": Threshold(0.5, "heads with room to spare have more"),
    "imbalance_high": Threshold(10.0, "SageMaker's class imbalance: 10"),
    "shares_apart_high": Threshold(
        0.3, "total variation: by chance 1 in 100 halves of 75 rows, 10 classes"
    ),
    "leak_share_high": Threshold(0.05, _HEALTHY),
    # Loss and output.
    "unreachable_share_high": Threshold(0.02, "a few outliers are no wrong output"),
    "sum_apart_high": Threshold(0.05, "rounded shares of a few classes add up nearer"),
    "several_hot_share_high": Threshold(0.05, "a few rows may be mistakes"),
    "label_kinds_high": Threshold(10, "more kinds than most codings of classes have"),
    "initial_loss_high": Threshold(3.0, "Karpathy (2019): it begins at log(classes)"),
    "initial_loss_far": Threshold(20.0, _HEALTHY),
    # Architecture.
    "fan_in_fewest": Threshold(8, "fewer weights spread by chance"),
    "initial_spread_high": Threshold(5.0, _HE),
    "initial_spread_low": Threshold(0.05, _HE),
    "dropout_rate_high": Threshold(
        0.8, "UMLAUT warns from 0.5, which healthy ones use"
    ),
    "penalty_ratio_high": Threshold(20.0, "L2(0.01) on a large Dense layer has 3 to 9"),
    # Optimizer.
    "adam_rate_low": Threshold(2e-6, _DEFAULTS),
    "adam_rate_high": Threshold(0.05, _DEFAULTS),
    "sgd_rate_low": Threshold(1e-6, _DEFAULTS),
    "sgd_rate_high": Threshold(5.0, f"{_DEFAULTS}; with momentum ten times more"),
    "adagrad_rate_low": Threshold(1e-5, _DEFAULTS),
    "adagrad_rate_high": Threshold(1.0, _DEFAULTS),
    "adadelta_rate_low": Threshold(1e-4, "its paper has 1, Keras' default is 1e-3"),
    "adadelta_rate_high": Threshold(10.0, "its paper has 1"),
    "lion_rate_low": Threshold(1e-7, "Chen et al. (2023): a tenth of Adam's"),
    "lion_rate_high": Threshold(0.01, "Chen et al. (2023): a tenth of Adam's"),
    "random_frozen_share_high": Threshold(0.5, _HEALTHY),
    "drawn_spread_apart": Threshold(0.15, "32 weights spread by 0.12 by chance"),
    # Wiring.
    "mixing_high": Threshold(1e-3, "rounding is about 1e-6 of the spread"),
    "sure_answer": Threshold(1e-3, "nearer to 0 or 1, rounding hides what moves it"),
    "sure_share_high": Threshold(0.5, "the other half still shows what moves it"),
    "column_spread_low": Threshold(0.1, "of the median column's spread"),
    "no_effect": Threshold(1e-6, "rounding of single precision is about 1e-7"),
    "clear_effect": Threshold(1e-3, "a thousand times what counts as none"),
    # Loss during training.
    "fewest_steps": Threshold(20, "fewer steps say nothing about a curve"),
    "fewest_steps_of_a_stall": Threshold(100, "plateaus that resolve last shorter"),
    "growth_before_nan": Threshold(10.0, TUNED),
    "loss_scale_low": Threshold(1.0, "dynamic scales begin at 2**15 in Keras"),
    "poor_gain": Threshold(0.1, TUNED),
    "poor_fall": Threshold(0.05, TUNED),
    "divergence_high": Threshold(1.5, TUNED),
    "fall_high": Threshold(50.0, "losses of Keras have a floor at 0"),
    "constant_gain_low": Threshold(0.02, TUNED),
    "constant_above": Threshold(1.1, "further above it is no constant answer"),
    "near_guess": Threshold(0.1, "since when it stands there, for the report alone"),
    "still_falls": Threshold(0.03, TUNED),
    "majority_room": Threshold(0.015, TUNED),
    "majority_gain": Threshold(0.05, TUNED),
    "oscillation_high": Threshold(0.2, TUNED),
    "oscillation_gain": Threshold(0.3, TUNED),
    "oscillation_turns": Threshold(
        0.4, "of independent losses, 2 jumps in 3 turn back"
    ),
    "plateau_low": Threshold(0.005, TUNED),
    "plateau_fall": Threshold(0.1, TUNED),
    "good_fit": Threshold(0.9, TUNED),
    "slow_gain": Threshold(0.5, TUNED),
    "slow_update": Threshold(1e-4, TUNED),
    "slow_fall": Threshold(0.005, TUNED),
    "validation_rise": Threshold(1.2, TUNED),
    "validation_rise_far": Threshold(1.5, TUNED),
    "epochs_after_best": Threshold(3, "one or two worse epochs come by chance"),
    "validation_useless": Threshold(0.97, TUNED),
    "trains_well": Threshold(0.9, TUNED),
    "train_apart": Threshold(0.5, TUNED),
    "underfit_gain": Threshold(0.35, TUNED),
    "underfit_gain_numbers": Threshold(0.2, TUNED),
    "underfit_still": Threshold(0.05, TUNED),
    # Gradients and weights during training.
    "vanishing_share": Threshold(1e-3, "AUTOTRAINER: 1e-3 between first and last"),
    "explosion_high": Threshold(1e3, TUNED),
    "steep_high": Threshold(1e4, TUNED),
    "clipped_share": Threshold(0.95, TUNED),
    "clipped_over": Threshold(10.0, "a tenth of a gradient is a tenth of the rate"),
    "update_low": Threshold(3e-5, TUNED),
    "update_of_some": Threshold(1e-6, _CS231N),
    "update_vanished": Threshold(1e-6, _CS231N),
    "update_left": Threshold(0.01, TUNED),
    "update_high": Threshold(0.3, TUNED),
    "update_of_some_high": Threshold(0.9, TUNED),
    "update_of_growing_weights": Threshold(0.03, TUNED),
    "weights_grow": Threshold(10.0, TUNED),
    "weights_left_low": Threshold(0.1, "the study of coupled decay: kernels fell to 0"),
    "decayed_groups": Threshold(0.3, TUNED),
    "far_from_fit": Threshold(0.8, TUNED),
    # Layer outputs.
    "dead_share_poor": Threshold(0.5, "SageMaker's dead ReLU: half of the neurons"),
    "dead_share_high": Threshold(0.9, TUNED),
    "saturated_end": Threshold(0.02, "there sigmoid has a slope below 0.02, of 0.25"),
    "saturated_share_high": Threshold(0.8, TUNED),
    "saturated_share_of_half_a_fit": Threshold(0.9, TUNED),
    "saturated_gain": Threshold(0.5, TUNED),
    "drift_shift_alone": Threshold(1.0, "one spread, which BatchNorm was to remove"),
    "drift_spread_alone": Threshold(2.5, TUNED),
    "drift_shift_harmful": Threshold(0.2, TUNED),
    "drift_spread_harmful": Threshold(1.2, TUNED),
    "drift_loss_factor": Threshold(2.0, TUNED),
    "drift_loss": Threshold(0.1, TUNED),
    # A healthy run.
    "reference_factor": Threshold(10.0, "other seeds differ by less than 3"),
}


def threshold(name: str) -> float:
    """The number of that name."""
    return THRESHOLDS[name].value
