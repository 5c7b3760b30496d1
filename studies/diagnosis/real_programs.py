"""Programs after public questions and bug reports, on small synthetic data.

No code is copied: each is the fault that was asked about, told in our tables, with the
address where it was asked and the findings that would be right.
"""

import dataclasses
from typing import Any

from studies.diagnosis.programs import Program
from studies.diagnosis.programs.healthy import program


@dataclasses.dataclass(frozen=True)
class Real:
    """One question.

    Args:
        title: What was asked, in our words.
        url: Where.
        expected: Names of findings that tell what was wrong.
        tables: What differs from the defaults of a program.
    """

    title: str
    url: str
    expected: tuple[str, ...]
    tables: dict[str, Any]


_ISSUES = "https://github.com/keras-team/keras/issues/"

REAL = (
    Real(
        "One unit with softmax tells no two classes apart",
        "https://stats.stackexchange.com/revisions/"
        "2bda6552-783b-4fb7-ba2b-a03d2266e69b/view-source",
        ("softmax_on_one_unit",),
        {"source": "checkers", "kind": "sequential", "depth": 1, "output": "softmax"},
    ),
    Real(
        "A convolution over time with softmax on one unit always answers 1",
        "https://techfeed.net/es/456718/",
        ("softmax_on_one_unit",),
        {"source": "sign_of_sum", "kind": "time_convolutions", "norm": "batch",
         "dropout": 0.2, "output": "softmax"},
    ),
    Real(
        "Accuracy stays at 0.5: inputs to 100,000 and a ReLU as output",
        "https://geeksmental.com/question/why-does-accuracy-remain-the-same",
        ("input_scale", "logits_as_probabilities", "bounded_output"),
        {"source": "threshold", "kind": "sequential", "width": 4, "output": "relu",
         "loss": "probabilities", "learning_rate": 0.001,
         "data_faults": ("to_100000",)},
    ),
    Real(
        "The simplest linear regression gives NaN: nothing was normalised",
        "https://stats.stackexchange.com/questions/284189/"
        "simple-linear-regression-in-keras",
        ("input_scale", "non_finite", "diverging_loss"),
        {"source": "plane", "depth": 0, "optimizer": "sgd", "learning_rate": 0.01,
         "batch_size": 1, "epochs": 2, "shuffle": False, "data_faults": ("to_500",)},
    ),
    Real(
        "y = x^4 cannot be predicted: inputs to 100, targets to 100,000,000",
        "https://stackoverflow.com/questions/52800582",
        ("target_scale", "input_scale", "saturated_units"),
        {"source": "quartic", "activation": "sigmoid", "depth": 1, "width": 50,
         "learning_rate": 0.001, "data_faults": ("inputs_100_targets_1e8",)},
    ),
    Real(
        "y = 2x - 1 with a ReLU as output mostly stays where it began",
        "https://community.deeplearning.ai/t/loss-values-do-not-change/324182",
        ("bounded_output", "dead_units"),
        {"source": "line", "width": 4, "output": "relu", "learning_rate": 0.001,
         "rows": 64, "epochs": 50},
    ),
    Real(
        "A network with softmax trained with from_logits=True",
        "https://github.com/mmalekzadeh/dana/issues/1",
        ("probabilities_as_logits",),
        {"source": "waves", "kind": "lstm", "depth": 1, "dropout": 0.3,
         "network_faults": ("from_logits",)},
    ),
    Real(
        "A classifier of images with softmax and from_logits=True",
        "https://github.com/PacktPublishing/"
        "Tensorflow-2.0-Computer-Vision-Cookbook/issues/1",
        ("probabilities_as_logits",),
        {"source": "bars", "kind": "flattened", "width": 8, "dropout": 0.3,
         "network_faults": ("from_logits",)},
    ),
    Real(
        "Logits into a loss that takes probabilities",
        "https://github.com/keras-team/keras-hub/pull/1008",
        ("logits_as_probabilities",),
        {"source": "words", "kind": "bag_of_words", "depth": 1, "output": None,
         "network_faults": ("not_from_logits",)},
    ),
    Real(
        "Validation accuracy is 0: rows were sorted when the last were split off",
        _ISSUES + "8346",
        ("class_missing", "sorted_labels"),
        {"source": "bars", "kind": "convolutions", "width": 8,
         "data_faults": ("split_after_sorting",)},
    ),
    Real(
        "Training accuracy is high, validation accuracy near 0: split before shuffling",
        _ISSUES + "3894",
        ("class_missing", "sorted_labels"),
        {"source": "blobs", "kind": "sequential",
         "data_faults": ("split_after_sorting",)},
    ),
    Real(
        "Four hidden layers of sigmoids learn nothing of unscaled targets",
        "https://ai.stackexchange.com/questions/16557/",
        ("vanishing_gradients", "target_scale"),
        {"source": "friedman", "depth": 4, "width": 64, "activation": "sigmoid",
         "optimizer": "sgd", "learning_rate": 0.001, "data_faults": ("large_targets",)},
    ),
    Real(
        "Digits that were not divided by 255 stay below 30 %",
        _ISSUES + "6914",
        ("input_scale",),
        {"source": "digits", "kind": "sequential", "width": 48, "dropout": 0.2,
         "optimizer": "rmsprop", "learning_rate": 0.001, "data_faults": ("to_255",)},
    ),
    Real(
        "Weights do not change: whole numbers divided by 255 are all 0",
        _ISSUES + "255",
        ("constant_inputs",),
        {"source": "bars", "kind": "convolutions", "width": 8,
         "data_faults": ("all_zero",)},
    ),
    Real(
        "XOR sticks: the first layer has no activation and the output is a ReLU",
        "https://stats.stackexchange.com/questions/433365/xor-with-neural-network",
        ("no_activation", "dead_units", "loss_unfit_for_labels", "bounded_output"),
        {"source": "parity", "depth": 2, "width": 2, "activation": None,
         "output": "relu", "loss": "mse", "optimizer": "sgd", "learning_rate": 0.01},
    ),
    Real(
        "BatchNorm: the same data give another loss in validation",
        _ISSUES + "7265",
        ("batch_norm_drift",),
        {"source": "patches", "kind": "convolutions", "width": 8, "norm": "batch",
         "momentum": 0.99, "rows": 128, "batch_size": 128, "epochs": 25,
         "data_faults": ("validated_on_training",)},
    ),
    Real(
        "A network with BatchNorm that was trained with batches of 1 predicts badly",
        _ISSUES + "8837",
        ("batch_norm_of_one",),
        {"source": "circles", "norm": "batch", "width": 24, "batch_size": 1,
         "epochs": 1, "rows": 200},
    ),
    Real(
        "The loss is NaN: seven classes counted from 1",
        _ISSUES + "11786",
        ("labels_out_of_range",),
        {"source": "digit_images", "kind": "flattened", "width": 8, "dropout": 0.5,
         "rows": 300, "data_faults": ("labels_outside",)},
    ),
    Real(
        "Iris from R, where classes count from 1",
        "https://github.com/rstudio/keras3/issues/465",
        ("labels_out_of_range",),
        {"source": "iris", "kind": "sequential", "rows": 75,
         "data_faults": ("labels_outside",)},
    ),
    Real(
        "Loss and accuracy get stuck with SGD at a rate of 0.00001",
        "https://chenzhang.org/notes/developer/loss-and-accuracy-get-stuck-in-keras/",
        ("learning_rate_too_low", "updates_too_small", "slow_convergence"),
        {"source": "blobs", "optimizer": "sgd", "learning_rate": 1e-5,
         "options": (("momentum", 0.9), ("nesterov", True))},
    ),
    Real(
        "All weights start at 0, and every answer is one number",
        "https://community.deeplearning.ai/t/week-1-programming-assignment-"
        "initialization-exercise-1-initialize-parameters-zeros/121049",
        ("symmetric_weights",),
        {"source": "moons", "initializer": "zeros", "epochs": 20},
    ),
    Real(
        "A sum of two columns: unscaled, and judged by accuracy",
        _ISSUES + "6260",
        ("input_scale", "target_scale", "metric_unfit_for_labels"),
        {"source": "plane", "kind": "sequential",
         "data_faults": ("unscaled", "targets_1000")},
    ),
)  # fmt: skip


def _made(real: Real) -> Program:
    tables = dict(real.tables)
    source = tables.pop("source")
    data_faults = tables.pop("data_faults", ())
    network_faults = tables.pop("network_faults", ())
    made: Program = program("real", source, **tables)
    made = made.changed("data", faults=data_faults)
    made = made.changed("network", faults=network_faults)
    return dataclasses.replace(made, name=real.title, base=real.title, kind="real")


REAL_PROGRAMS = tuple(map(_made, REAL))
BY_TITLE = {real.title: real for real in REAL}
