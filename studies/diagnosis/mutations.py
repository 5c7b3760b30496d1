"""One fault a mutant: a healthy program with one value changed.

After DeepCrime (Humbatova, Jahangirova & Tonella 2021), whose operators change a
program's data, network or training before it trains. The kinds are those that the
diagnosis claims to name, and most stand in the taxonomy of real faults (Humbatova et
al. 2020). A mutant counts as a fault only if it is killed: see `killed`.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from studies.diagnosis.programs import HEALTHY, Program

Change = Callable[[Program], Program]


@dataclass(frozen=True)
class Mutation:
    """An operator.

    Args:
        kind: Name of the fault.
        change: Healthy program to mutant.
        fits: Whether the fault can be put into a program.
        expected: Names of findings that tell this fault: its cause, or what this cause
            alone does. Any of them is right.
        autotrainer: Problems of AUTOTRAINER that would be right.
        deepdiagnosis: Symptoms of DeepDiagnosis that would be right.
        structural: Wrong whatever the metric says, such as an input that nothing uses.
        count: Mutants to make.
    """

    kind: str
    change: Change
    fits: Callable[[Program], bool]
    expected: tuple[str, ...]
    autotrainer: tuple[str, ...] = ()
    deepdiagnosis: tuple[str, ...] = ()
    structural: bool = False
    count: int = 3


def _set(part: str, **values: Any) -> Change:
    return lambda program: program.changed(part, **values)


def _fault(part: str, name: str) -> Change:
    return lambda program: program.with_fault(part, name)


def _both(first: Change, second: Change) -> Change:
    return lambda program: second(first(program))


def _rate(factor: float) -> Change:
    def change(program: Program) -> Program:
        rate = program.training.learning_rate
        assert not isinstance(rate, str)
        return program.changed("training", learning_rate=rate * factor)

    return change


_DENSE = ("dense", "sequential")
_PLAIN_FAMILIES = ("tables", "regression", "images", "sequences")


def _plain(program: Program) -> bool:
    """One input, one phase, no extras that would be a second fault."""
    return program.family in _PLAIN_FAMILIES and not isinstance(
        program.training.learning_rate, str
    )


def _dense(program: Program) -> bool:
    return _plain(program) and program.network.kind == "dense"


def _deep_dense(program: Program) -> bool:
    return _dense(program) and program.network.depth >= 2


def _without_norm(program: Program) -> bool:
    return _deep_dense(program) and program.network.norm is None


def _not_tokens(program: Program) -> bool:
    return program.data.source != "words"


def _of(task: str, *kinds: str) -> Callable[[Program], bool]:
    def fits(program: Program) -> bool:
        kind = program.network.kind
        return _plain(program) and program.task == task and (not kinds or kind in kinds)

    return fits


def _all(*tests: Callable[[Program], bool]) -> Callable[[Program], bool]:
    return lambda program: all(test(program) for test in tests)


def _curved(program: Program) -> bool:
    """No straight line tells its classes apart."""
    return program.data.source in ("moons", "circles", "checkers", "friedman", "sine")


def _relu(program: Program) -> bool:
    return program.network.activation == "relu"


def _sgd(program: Program) -> bool:
    return program.training.optimizer == "sgd"


def _adaptive(program: Program) -> bool:
    return program.training.optimizer in ("adam", "adamw", "rmsprop", "nadam")


def _uses(norm: str) -> Callable[[Program], bool]:
    return lambda program: program.network.norm == norm


_WRONG_RATE_HIGH = (
    "learning_rate_too_high",
    "updates_too_large",
    "diverging_loss",
    "oscillating_loss",
    "non_finite",
    "exploding_gradients",
)
_STALLS = ("constant_predictor", "majority_class")
# What a learning rate is compared with differs between them.
_OPTIMIZERS = (("adaptive", _adaptive), ("SGD", _sgd))

MUTATIONS: tuple[Mutation, ...] = (
    # Output and loss.
    Mutation(
        "softmax into a loss of logits",
        _fault("network", "from_logits"),
        _all(_of("classes"), lambda p: p.network.output == "task"),
        ("probabilities_as_logits",),
        structural=True,
    ),
    Mutation(
        "sigmoid into a loss of logits",
        _fault("network", "from_logits"),
        _of("binary"),
        ("probabilities_as_logits",),
        structural=True,
    ),
    Mutation(
        "logits into a loss of probabilities",
        _both(_set("network", output=None), _fault("network", "not_from_logits")),
        _of("classes"),
        ("logits_as_probabilities",),
        deepdiagnosis=("out of range",),
        structural=True,
    ),
    Mutation(
        "softmax over one unit",
        _set("network", output="softmax"),
        _of("binary", "dense", "sequential"),
        ("softmax_on_one_unit",),
        deepdiagnosis=("accuracy not increasing",),
        count=3,
    ),
    Mutation(
        "softmax in a regression",
        _set("network", output="softmax"),
        _of("number"),
        ("softmax_on_one_unit", "bounded_output"),
        deepdiagnosis=("loss not decreasing", "out of range"),
        count=3,
    ),
    Mutation(
        "sigmoid in a regression",
        _set("network", output="sigmoid"),
        _of("number"),
        ("bounded_output",),
        deepdiagnosis=("out of range",),
    ),
    Mutation(
        "ReLU in a regression",
        _set("network", output="relu"),
        _of("number"),
        ("bounded_output",),
        deepdiagnosis=("out of range",),
        count=3,
    ),
    Mutation(
        "softmax over the batch",
        _fault("network", "softmax_over_batch"),
        _of("classes", "dense", "convolutions"),
        ("samples_mixed",),
        structural=True,
        count=3,
    ),
    Mutation(
        "targets broadcast against outputs",
        _set("training", loss="broadcast"),
        _of("number", "dense"),
        ("label_shape", "samples_mixed"),
        deepdiagnosis=("loss not decreasing",),
    ),
    Mutation(
        "squared error of class numbers",
        _both(_set("network", units=1, output=None), _set("training", loss="mse")),
        _of("classes", "dense", "sequential", "convolutions"),
        ("loss_unfit_for_labels", "metric_unfit_for_labels"),
        count=3,
    ),
    Mutation(
        "loss of the wrong sign",
        _set("training", loss="negated"),
        _all(_of("number"), _relu),
        ("diverging_loss", "exploding_gradients", "non_finite"),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding tensor", "exploding gradient"),
        count=3,
    ),
    # Labels.
    Mutation(
        "labels outside the classes",
        _fault("data", "labels_outside"),
        _of("classes"),
        ("labels_out_of_range",),
        structural=True,
        count=3,
    ),
    Mutation(
        "a class without rows",
        _fault("data", "class_missing"),
        _of("classes", "dense", "convolutions"),
        ("class_missing",),
        count=3,
    ),
    Mutation(
        "labels of other rows",
        _fault("data", "permuted"),
        _plain,
        (*_STALLS, "overfitting", "underfitting"),
        autotrainer=("slow convergence",),
        deepdiagnosis=("accuracy not increasing", "loss not decreasing"),
        count=3,
    ),
    Mutation(
        "one class nearly alone",
        _fault("data", "imbalanced"),
        _of("binary", "dense"),
        ("class_imbalance", "majority_class"),
        deepdiagnosis=("accuracy not increasing",),
        count=3,
    ),
    Mutation(
        "targets without scaling",
        _fault("data", "large_targets"),
        _of("number", "dense", "sequential"),
        ("target_scale",),
        count=3,
    ),
    # Inputs.
    Mutation(
        "inputs without scaling",
        _fault("data", "unscaled"),
        _all(_plain, _not_tokens, lambda p: p.network.norm is None),
        ("input_scale",),
        count=3,
    ),
    Mutation(
        "most columns constant",
        _fault("data", "constant_columns"),
        _all(_dense, lambda p: p.data.source in ("blobs", "digits", "friedman")),
        ("constant_inputs",),
    ),
    Mutation(
        "NaN in inputs",
        _fault("data", "nan_inputs"),
        _all(_plain, _not_tokens),
        ("nan_in_data",),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding tensor", "loss not decreasing"),
    ),
    Mutation(
        "infinity in inputs",
        _fault("data", "infinite_inputs"),
        _all(_dense, _not_tokens),
        ("nan_in_data",),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding tensor", "loss not decreasing"),
        count=2,
    ),
    Mutation(
        "NaN in targets",
        _fault("data", "nan_targets"),
        _of("number"),
        ("nan_in_data",),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding tensor", "loss not decreasing"),
        count=3,
    ),
    Mutation(
        "rows sorted by class, not shuffled",
        _both(_fault("data", "sorted"), _set("training", shuffle=False)),
        _all(_of("classes"), lambda p: p.training.batch_size <= 64),
        ("sorted_labels",),
        autotrainer=("oscillating loss",),
    ),
    Mutation(
        "validation rows from training",
        _fault("data", "leaking"),
        _all(_plain, _not_tokens),
        ("validation_leakage",),
        structural=True,
    ),
    # Network.
    Mutation(
        "no activations",
        _set("network", activation=None),
        _all(_plain, _curved, lambda p: p.network.kind in _DENSE),
        ("no_activation",),
    ),
    Mutation(
        "all weights zero",
        _set("network", initializer="zeros"),
        _all(_plain, lambda p: p.network.kind in (*_DENSE, "convolutions")),
        ("symmetric_weights",),
        autotrainer=("dying ReLU", "vanishing gradient"),
        deepdiagnosis=("unchanged weight", "dead node"),
    ),
    Mutation(
        "all units alike",
        lambda p: p.changed(
            "network",
            initializer={"class_name": "Constant", "config": {"value": 0.1}},
        ),
        _all(_plain, lambda p: p.network.kind in (*_DENSE, "convolutions")),
        ("symmetric_weights",),
    ),
    Mutation(
        "dropout behind the output",
        _fault("network", "dropout_after_output"),
        _of("classes", "dense", "convolutions", "flattened"),
        ("dropout_before_output",),
        structural=True,
        count=3,
    ),
    Mutation(
        "dropout of nearly everything",
        _fault("network", "much_dropout"),
        _all(_plain, lambda p: p.network.kind not in ("sequential", "subclassed")),
        ("strong_dropout",),
    ),
    Mutation(
        "nothing trainable",
        _fault("network", "frozen"),
        _all(_plain, lambda p: p.network.kind in _DENSE),
        ("nothing_trainable", "unchanged_weights"),
        autotrainer=("slow convergence",),
        deepdiagnosis=("unchanged weight", "accuracy not increasing"),
        count=3,
    ),
    Mutation(
        "random layers frozen",
        _fault("network", "frozen_hidden"),
        _all(_plain, lambda p: p.network.kind in ("dense", "convolutions", "gru")),
        ("frozen_random_weights",),
        deepdiagnosis=("unchanged weight",),
    ),
    Mutation(
        "BatchNorm of one row",
        _set("training", batch_size=1, epochs=1),
        _all(_dense, _uses("batch")),
        ("batch_norm_of_one",),
        count=3,
    ),
    Mutation(
        "BatchNorm's statistics too slow",
        _set("network", norm="batch", momentum=0.9999),
        _all(
            _plain, lambda p: p.network.kind in ("dense", "convolutions", "flattened")
        ),
        ("batch_norm_drift",),
        count=3,
    ),
    Mutation(
        "layers made and not called",
        _fault("network", "layer_unused"),
        _all(_dense, _curved),
        ("uncalled_layer",),
        structural=True,
    ),
    Mutation(
        "the graph is cut",
        _fault("network", "stop_gradient"),
        _all(
            _plain, lambda p: p.network.kind in ("dense", "convolutions", "simple_rnn")
        ),
        ("unreached_variables",),
        deepdiagnosis=("unchanged weight",),
        structural=True,
    ),
    Mutation(
        "training=False in every layer",
        _fault("network", "training_off"),
        _all(
            _plain,
            lambda p: (
                (p.network.dropout > 0 or p.network.norm == "batch")
                and p.network.kind in ("dense", "convolutions", "flattened")
            ),
        ),
        ("training_flag_lost",),
        structural=True,
    ),
    Mutation(
        "rows minus others of the batch",
        _fault("network", "minus_batch_mean"),
        _all(_deep_dense, _not_tokens),
        ("samples_mixed",),
        structural=True,
        count=3,
    ),
    Mutation(
        "rows shifted within the batch",
        _fault("network", "rows_rolled"),
        _all(_plain, lambda p: p.network.kind in ("dense", "convolutions", "gru")),
        ("samples_mixed", "time_and_batch_swapped"),
        autotrainer=("slow convergence",),
        deepdiagnosis=("accuracy not increasing", "loss not decreasing"),
        structural=True,
        count=3,
    ),
    Mutation(
        "time and batch exchanged",
        _fault("network", "time_batch_swapped"),
        _all(_plain, lambda p: p.network.kind in ("simple_rnn", "gru", "lstm")),
        ("time_and_batch_swapped", "samples_mixed"),
        structural=True,
    ),
    Mutation(
        "an input that nothing uses",
        _fault("network", "input_unused"),
        lambda p: p.network.kind == "two_inputs",
        ("unused_input",),
        structural=True,
        count=2,
    ),
    Mutation(
        "an input times zero",
        _fault("network", "input_zeroed"),
        lambda p: p.network.kind == "two_inputs",
        ("unused_input",),
        structural=True,
        count=2,
    ),
    Mutation(
        "a mask that gets lost",
        _fault("network", "mask_dropped"),
        _all(
            _plain,
            lambda p: (
                p.data.source == "words" and p.network.kind == "time_convolutions"
            ),
        ),
        ("ignored_mask",),
        structural=True,
        count=2,
    ),
    Mutation(
        "dead ReLU",
        _set("network", bias=-8.0),
        _all(_plain, _relu, lambda p: p.network.norm is None and p.network.depth > 0),
        ("dead_units",),
        autotrainer=("dying ReLU",),
        deepdiagnosis=("dead node",),
        count=3,
    ),
    Mutation(
        "saturated tanh",
        lambda p: p.changed(
            "network",
            activation="tanh",
            initializer={"class_name": "RandomNormal", "config": {"stddev": 12.0}},
        ),
        _without_norm,
        ("saturated_units", "large_initial_weights"),
        deepdiagnosis=("saturated activation",),
    ),
    Mutation(
        "saturated sigmoid",
        lambda p: p.changed(
            "network",
            activation="sigmoid",
            initializer={"class_name": "RandomNormal", "config": {"stddev": 20.0}},
        ),
        _without_norm,
        ("saturated_units", "large_initial_weights"),
        deepdiagnosis=("saturated activation",),
        count=3,
    ),
    Mutation(
        "vanishing gradients",
        _set("network", activation="sigmoid", depth=12),
        _without_norm,
        ("vanishing_gradients",),
        autotrainer=("vanishing gradient",),
        deepdiagnosis=("vanishing gradient",),
        count=3,
    ),
    Mutation(
        "vanishing by small weights",
        lambda p: p.changed(
            "network",
            depth=8,
            initializer={"class_name": "RandomNormal", "config": {"stddev": 0.01}},
        ),
        _without_norm,
        ("vanishing_gradients", "small_initial_weights"),
        autotrainer=("vanishing gradient",),
        deepdiagnosis=("vanishing gradient",),
        count=3,
    ),
    Mutation(
        "exploding gradients",
        lambda p: p.changed(
            "network",
            depth=8,
            initializer={"class_name": "RandomNormal", "config": {"stddev": 2.0}},
        ),
        _all(_without_norm, _relu),
        ("exploding_gradients", "large_initial_weights", "initial_loss"),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding gradient", "exploding tensor"),
        count=3,
    ),
    Mutation(
        "a neck of one unit",
        _set("network", width=1, depth=1),
        _all(_dense, _curved),
        ("bottleneck", "underfitting"),
        autotrainer=("slow convergence",),
        count=3,
    ),
    # Training.
    *(
        Mutation(
            f"learning rate too high, {kind}",
            _rate(300.0),
            _all(_plain, of_kind),
            _WRONG_RATE_HIGH,
            autotrainer=("exploding gradient", "oscillating loss", "dying ReLU"),
            deepdiagnosis=("exploding tensor", "exploding gradient", "dead node"),
            count=3,
        )
        for kind, of_kind in _OPTIMIZERS
    ),
    *(
        Mutation(
            f"learning rate too low, {kind}",
            _rate(1e-4),
            _all(_plain, of_kind),
            ("learning_rate_too_low", "updates_too_small", "slow_convergence"),
            autotrainer=("slow convergence",),
            deepdiagnosis=("unchanged weight", "accuracy not increasing"),
            count=3,
        )
        for kind, of_kind in _OPTIMIZERS
    ),
    Mutation(
        "learning rate falls away",
        _set("training", learning_rate="halved_each_step"),
        _all(_plain, lambda p: p.training.optimizer == "adam"),
        (
            "updates_too_small",
            "unchanged_weights",
            "learning_rate_too_low",
            "slow_convergence",
        ),
        autotrainer=("slow convergence",),
        deepdiagnosis=("unchanged weight", "accuracy not increasing"),
        count=3,
    ),
    Mutation(
        "every gradient clipped",
        _set("training", options=(("clipnorm", 1e-4),)),
        _all(_plain, _sgd),
        ("clipped_every_step",),
        autotrainer=("slow convergence",),
        count=3,
    ),
    Mutation(
        "decay kills kernels, coupled L2",
        _set("network", l2=3.0),
        _all(_plain, lambda p: p.network.depth >= 2, _not_tokens),
        ("decay_kills_kernels", "strong_regularization"),
        deepdiagnosis=("accuracy not increasing",),
        count=3,
    ),
    Mutation(
        "decay kills kernels, decoupled",
        _set("training", optimizer="adamw", options=(("weight_decay", 30.0),)),
        _all(_plain, lambda p: p.training.optimizer == "adam"),
        ("decay_kills_kernels", "strong_regularization"),
        deepdiagnosis=("accuracy not increasing",),
        count=3,
    ),
    Mutation(
        "overfitting",
        lambda p: (
            p.changed("data", rows=40, label_noise=0.4)
            .changed("network", width=128, dropout=0.0, l2=0.0)
            .changed("training", epochs=120, batch_size=20)
        ),
        _all(
            _dense,
            lambda p: p.task != "number" and p.training.optimizer == "adam",
            lambda p: p.network.depth >= 1,
        ),
        ("overfitting",),
        count=3,
    ),
    Mutation(
        "float16 overflows",
        _both(_fault("data", "overflowing"), _set("training", policy="mixed_float16")),
        _all(_without_norm, lambda p: p.training.optimizer == "adam"),
        ("loss_scale_collapse", "non_finite", "input_scale"),
        autotrainer=("exploding gradient",),
        deepdiagnosis=("exploding tensor",),
        count=3,
    ),
)


def _mutants() -> tuple[Program, ...]:
    made = []
    for mutation in MUTATIONS:
        fitting = sorted(filter(mutation.fits, HEALTHY), key=_order(mutation.kind))
        chosen = _in_both_halves(fitting)[: mutation.count]
        for base in chosen:
            mutant = dataclasses.replace(
                mutation.change(base),
                name=f"{mutation.kind} | {base.name}",
                base=base.name,
                kind=mutation.kind,
            )
            made.append(mutant)
    return tuple(made)


def _order(kind: str) -> Callable[[Program], str]:
    """By chance, but always the same: which programs get a fault is nobody's choice."""
    return lambda program: hashlib.sha256(f"{kind}|{program.name}".encode()).hexdigest()


def _in_both_halves(programs: list[Program]) -> list[Program]:
    """The same, taken from the two halves in turn, so that both see each kind."""
    from studies.diagnosis.split import half_of

    queues: dict[str, list[Program]] = {"tuning": [], "release": []}
    for program in programs:
        queues[half_of(program)].append(program)
    taken = []
    while any(queues.values()):
        for half in ("tuning", "release"):
            if queues[half]:
                taken.append(queues[half].pop(0))
    return taken


MUTANTS = _mutants()
BY_KIND = {mutation.kind: mutation for mutation in MUTATIONS}
