"""Rules about a training, on arrays made by hand."""

import dataclasses

import numpy as np
import pytest

from keras_gradattn.diagnosis.seen import LayersSeen, Seen
from keras_gradattn.diagnosis.symptoms_seen import not_judged, symptoms
from keras_gradattn.diagnosis.thresholds import THRESHOLDS
from keras_gradattn.diagnosis.training_diagnosis import batch_losses
from keras_gradattn.gradients._ring import Rows
from keras_gradattn.gradients.depth_groups import Grouping
from keras_gradattn.gradients.gradient_record import GradientRecord

pytestmark = pytest.mark.any_backend

STEPS, DETAILS = 200, 10
GROUPS = ("first", "second", "third", "output")


def healthy(**changes):
    """A fit from 1.1 to 0.2, where guessing has 1.1."""
    steps = np.arange(STEPS)
    shape = (DETAILS, len(GROUPS))
    seen = Seen(
        loss=0.2 + 0.9 * np.exp(-steps / 40),
        epoch_end=np.arange(20, STEPS + 1, 20),
        logs={
            "val_loss": np.linspace(1.0, 0.3, 10),
            "accuracy": np.linspace(0.3, 0.9, 10),
        },
        guess=1.1,
        majority=0.35,
        groups=GROUPS,
        step=steps,
        norm=np.full((STEPS, len(GROUPS)), 0.1),
        nonfinite=np.zeros((STEPS, len(GROUPS)), bool),
        sizes=np.full(len(GROUPS), 100.0),
        detail_step=np.arange(0, STEPS, 20),
        weight_norm=np.full(shape, 3.0),
        update_norm=np.full(shape, 3e-3),
        gradient_norm=np.full(shape, 0.1),
        layers=LayersSeen(
            step=np.array([0, 100, 200]),
            names=("relu", "norm", "tanh"),
            hidden=np.array([True, True, True]),
            dead_share=np.array([[0.1, np.nan, np.nan]] * 3),
            saturated_share=np.array([[np.nan, np.nan, 0.1]] * 3),
            shift=np.array([[np.nan, 0.1, np.nan]] * 3),
            spread=np.array([[np.nan, 1.0, np.nan]] * 3),
            loss=np.array([1.1, 0.3, 0.2]),
            penalty=np.zeros(3),
        ),
    )
    return dataclasses.replace(seen, **changes)


def stalled(**changes):
    """The same network, whose loss stays where guessing is."""
    values = {
        "loss": np.full(STEPS, 1.1),
        "logs": {"val_loss": np.full(10, 1.1), "accuracy": np.full(10, 0.35)},
        "layers": dataclasses.replace(healthy().layers, loss=np.full(3, 1.1)),
    }
    return healthy(**{**values, **changes})


def names(seen, severity="warning"):
    order = ("note", "warning", "fault")
    return {
        f.name
        for f in symptoms(seen)
        if order.index(f.severity) >= order.index(severity)
    }


def test_a_healthy_training_is_left_alone():
    assert symptoms(healthy()) == []
    assert not_judged(healthy()) == []


def test_a_loss_that_is_nan_is_told_with_step_and_layer():
    seen = healthy()
    loss, bad = seen.loss.copy(), seen.nonfinite.copy()
    loss[50:], bad[50:, 2:] = np.nan, True

    (found, *_) = symptoms(dataclasses.replace(seen, loss=loss, nonfinite=bad))

    assert (found.name, found.severity, found.first_step) == ("non_finite", "fault", 50)
    # The backward pass meets the output first.
    assert found.layers == ("output", "third")


def test_infinite_gradients_under_loss_scaling_are_no_fault():
    bad = healthy().nonfinite.copy()
    bad[3] = True

    assert "non_finite" in names(healthy(nonfinite=bad))
    scale = np.full(10, 2.0**14)
    assert "non_finite" not in names(healthy(nonfinite=bad, loss_scale=scale))


def test_a_loss_scale_that_gave_way():
    scale = np.array([2.0**15, 2.0, 0.5])
    assert "loss_scale_collapse" in names(healthy(loss_scale=scale))
    assert "loss_scale_collapse" not in names(healthy(loss_scale=scale[:2]))


def test_a_loss_that_rises():
    rising = np.linspace(1.0, 5.0, STEPS)
    layers = dataclasses.replace(healthy().layers, loss=np.full(3, 5.0))
    assert "diverging_loss" in names(stalled(loss=rising, layers=layers))


def test_a_loss_without_a_floor():
    falling = -np.geomspace(0.1, 5000.0, STEPS)
    seen = stalled(loss=falling, guess=None, majority=None, layers=LayersSeen())
    assert "diverging_loss" in names(seen)


def test_a_stall_at_the_constant_answer():
    found = {f.name: f for f in symptoms(stalled())}
    assert {"constant_predictor", "majority_class"} <= set(found)
    gain = found["constant_predictor"].evidence[0]
    # 1 - 1.1 / 1.1
    assert gain.value == pytest.approx(0.0)
    assert gain.threshold == THRESHOLDS["constant_gain_low"].value


def test_a_plateau_that_resolved_is_no_stall():
    loss = np.concatenate([np.full(120, 1.1), np.linspace(1.1, 0.2, 80)])
    assert names(healthy(loss=loss)) == set()


def test_a_training_without_an_epoch_is_not_judged():
    assert "constant_predictor" not in names(Seen())
    assert not_judged(Seen())


def test_few_steps_are_not_judged():
    seen = stalled(loss=np.full(15, 1.1), epoch_end=np.array([5, 10, 15]))
    assert "constant_predictor" not in names(seen)
    assert names(seen, "note") == {"not_enough_seen"}
    assert any("15 steps" in sentence for sentence in not_judged(seen))


def test_gradients_that_vanish_towards_the_input():
    # Of 100 elements each: root mean squares of 1e-8, 1e-6, 1e-3 and 1e-2.
    norm = np.tile([1e-7, 1e-5, 1e-2, 1e-1], (STEPS, 1))

    found = {f.name: f for f in symptoms(stalled(norm=norm))}["vanishing_gradients"]

    assert found.layers == ("first", "second")
    assert found.evidence[0].value == pytest.approx(1e-6)
    assert {f.severity for f in symptoms(healthy(norm=norm))} <= {"note"}


def test_gradients_that_grow_in_time():
    norm = healthy().norm * np.geomspace(1, 1e6, STEPS)[:, None]
    assert "exploding_gradients" in names(stalled(norm=norm))
    assert "exploding_gradients" not in names(healthy(norm=norm))


def test_dead_units_need_to_last():
    def layers(*shares):
        share = np.array([[s, np.nan, np.nan] for s in shares])
        return dataclasses.replace(
            healthy().layers, dead_share=share, loss=np.full(3, 1.1)
        )

    assert "dead_units" in names(stalled(layers=layers(0.1, 0.9, 0.95)))
    assert "dead_units" not in names(stalled(layers=layers(0.1, 0.1, 0.95)))
    found = [
        f
        for f in symptoms(stalled(layers=layers(0.1, 0.9, 0.95)))
        if f.name == "dead_units"
    ]
    assert found[0].first_step == 100
    assert found[0].layers == ("relu",)


def test_saturated_units_of_an_output_are_meant():
    share = np.array([[np.nan, np.nan, 0.95]] * 3)
    layers = dataclasses.replace(
        healthy().layers, saturated_share=share, loss=np.full(3, 1.1)
    )
    assert "saturated_units" in names(stalled(layers=layers))
    output = dataclasses.replace(layers, hidden=np.array([True, True, False]))
    assert "saturated_units" not in names(stalled(layers=output))


def test_weights_that_never_change():
    still = np.zeros((DETAILS, len(GROUPS)))
    found = {f.name: f for f in symptoms(stalled(update_norm=still))}
    assert found["unchanged_weights"].severity == "fault"
    one = healthy().update_norm.copy()
    one[:, 0] = 0
    assert names(healthy(update_norm=one)) == set()


@pytest.mark.parametrize(
    ("ratio", "name"),
    [(1e-6, "learning_rate_too_low"), (0.8, "learning_rate_too_high")],
)
def test_updates_out_of_proportion_to_all_weights(ratio, name):
    updates = healthy().weight_norm * ratio
    assert name in names(stalled(update_norm=updates))
    assert names(healthy(update_norm=updates)) == set()


def test_updates_out_of_proportion_to_the_weights_of_one_layer():
    updates = healthy().update_norm.copy()
    updates[:, 1] = 1.2 * healthy().weight_norm[:, 1]
    (found,) = [
        f
        for f in symptoms(stalled(update_norm=updates))
        if f.name == "updates_too_large"
    ]
    assert found.layers == ("second",)
    assert found.evidence[0].value == pytest.approx(1.2)
    assert names(healthy(update_norm=updates)) == set()


def test_a_loss_that_crawls():
    loss = np.linspace(1.1, 0.9, STEPS)
    layers = dataclasses.replace(healthy().layers, loss=np.array([1.1, 1.0, 0.9]))
    slow = {"loss": loss, "layers": layers, "update_norm": 5e-5 * np.full((10, 4), 3.0)}
    assert "slow_convergence" in names(healthy(**slow))
    fast = {**slow, "update_norm": healthy().update_norm}
    assert "slow_convergence" not in names(healthy(**fast))


def test_a_loss_that_fell_and_stands_is_a_note():
    loss = np.where(np.arange(STEPS) < 60, np.linspace(1.1, -0.8, STEPS), 0.6)
    layers = dataclasses.replace(healthy().layers, loss=np.array([1.1, 0.6, 0.6]))
    found = {f.name: f.severity for f in symptoms(healthy(loss=loss, layers=layers))}
    assert found["plateau"] == "note"
    assert "plateau" not in {f.name for f in symptoms(healthy())}


def test_updates_that_a_schedule_ends_too_early():
    ratio = np.geomspace(1e-2, 1e-12, DETAILS)[:, None]
    updates = healthy().weight_norm * ratio
    assert "updates_too_small" in names(stalled(update_norm=updates))


def test_decay_that_takes_the_weights():
    weights = np.geomspace(3.0, 1e-3, DETAILS)[:, None] * np.ones(len(GROUPS))
    seen = stalled(weight_norm=weights, update_norm=1e-3 * weights, decays=True)
    assert "decay_kills_kernels" in names(seen)
    assert "decay_kills_kernels" not in names(dataclasses.replace(seen, decays=False))
    fine = healthy(weight_norm=weights, update_norm=1e-3 * weights, decays=True)
    assert "decay_kills_kernels" not in names(fine)


def test_clipping_harms_plain_descent_only():
    clipped = {"clip": ("global", 1e-3), "adaptive": False}
    assert "clipped_every_step" in names(stalled(**clipped))
    assert "clipped_every_step" not in names(stalled(**{**clipped, "adaptive": True}))
    assert "clipped_every_step" not in names(healthy(**clipped))


def test_an_oscillating_loss():
    epochs = np.where(np.arange(10) % 2, 0.5, 1.7)
    loss = np.repeat(epochs, 20)
    layers = dataclasses.replace(healthy().layers, loss=np.full(3, 1.2))
    assert "oscillating_loss" in names(stalled(loss=loss, layers=layers))


def test_batch_norm_that_drifted():
    layers = dataclasses.replace(
        healthy().layers,
        shift=np.array([[np.nan, 4.0, np.nan]] * 3),
        loss=np.array([1.1, 2.0, 3.0]),
    )
    assert "batch_norm_drift" in names(healthy(layers=layers))
    fine = dataclasses.replace(layers, loss=np.array([1.1, 0.3, 0.2]))
    assert names(healthy(layers=fine)) == set()


def test_a_fit_that_is_of_no_use_for_validation():
    # The training loss still falls; that of validation stays where guessing is.
    falling = np.linspace(1.1, 0.75, STEPS)
    layers = dataclasses.replace(healthy().layers, loss=np.array([1.1, 0.9, 0.8]))
    useless = {"val_loss": np.full(10, 1.1), "accuracy": np.linspace(0.3, 0.5, 10)}
    useful = {**useless, "val_loss": np.linspace(1.1, 0.8, 10)}

    assert "underfitting" in names(healthy(loss=falling, layers=layers, logs=useless))
    assert "underfitting" not in names(
        healthy(loss=falling, layers=layers, logs=useful)
    )


def test_overfitting_counts_where_guessing_was_better():
    rising = {"val_loss": np.concatenate([[1.0, 0.9], np.linspace(1.0, 2.5, 8)])}
    assert "overfitting" in names(healthy(logs=rising))
    mild = {"val_loss": np.concatenate([[0.6, 0.4], np.linspace(0.42, 0.7, 8)])}
    assert "overfitting" not in names(healthy(logs=mild))
    assert "overfitting" in names(healthy(logs=mild), "note")


def test_numbers_that_are_worse_than_their_mean():
    logs = {"val_loss": np.append(np.full(4, 0.9), np.linspace(0.9, 1.2, 6))}
    assert "overfitting" in names(healthy(logs=logs, numbers=True))
    assert "overfitting" not in names(healthy(logs=logs))


def test_penalties_are_taken_from_the_loss():
    layers = dataclasses.replace(healthy().layers, penalty=np.array([10.0, 5.0, 0.0]))
    seen = healthy(
        loss=healthy().loss
        + np.interp(np.arange(STEPS), [0, 100, 200], [10.0, 5.0, 0.0]),
        layers=layers,
    )

    np.testing.assert_allclose(seen.fit_loss, healthy().loss)
    assert names(seen) == set()


def test_a_run_far_from_its_reference():
    record = GradientRecord(Grouping(GROUPS, GROUPS, (0, 1, 2, 3)), [100] * 4)
    shape = (STEPS, len(GROUPS))
    rows = Rows(
        number=np.arange(STEPS),
        iteration=np.arange(STEPS),
        norms=np.full(shape, 0.1) * np.linspace(0.8, 1.2, STEPS)[:, None],
        measured=np.ones(shape, bool),
        detail=np.zeros(STEPS),
        zero_shares=np.zeros(shape),
        taps=np.zeros((STEPS, 0)),
        more={},
        lost=0,
    )
    record._add(rows, fit=0, epoch=0)

    def found(seen):
        return {f.name: f for f in symptoms(seen, record)}

    assert "departs_from_reference" not in found(healthy())
    far = stalled(norm=np.tile([1e-4, 0.1, 0.1, 0.1], (STEPS, 1)))
    assert found(far)["departs_from_reference"].layers == ("first",)
    lines = found(far)["departs_from_reference"].picture.lines
    assert lines["first"][1][0] == pytest.approx(1e-4)
    assert set(lines) == {"first", "healthy run"}


def test_losses_from_running_means():
    losses = np.array([3.0, 1.0, 2.0, 0.5])
    means = np.cumsum(losses) / np.arange(1, 5)

    assert batch_losses(dict(enumerate(means))) == pytest.approx(losses)
    # Two steps an execution: each stands for the mean of both.
    two = {1: means[1], 3: means[3]}
    assert batch_losses(two) == pytest.approx([2.0, 2.0, 1.25, 1.25])


def test_nan_in_all_gradients_does_not_say_where_it_is_from():
    loss, bad = healthy().loss.copy(), healthy().nonfinite.copy()
    loss[50:60], bad[50:60] = np.nan, True
    broken = {"loss": loss, "nonfinite": bad}

    (found, *_) = symptoms(healthy(**broken))

    assert "first in" not in found.message
    assert (found.layers, found.first_step, found.last_step) == ((), 50, 59)

    # A look with sound weights shows the layers in the order of computation.
    shares = np.array([[0, 0, 0], [0, 0.25, 1], [1, 1, 1]])
    layers = dataclasses.replace(
        healthy().layers,
        hidden=np.array([True, True, False]),
        nonfinite_share=shares,
        sound=np.array([True, True, False]),
    )
    (found, *_) = symptoms(healthy(**broken, layers=layers))
    assert found.message.endswith("first in 'norm'.")
    assert found.layers == ("norm", "tanh")

    # Once weights are NaN, every layer is.
    spoilt = dataclasses.replace(layers, sound=np.array([True, False, False]))
    assert symptoms(healthy(**broken, layers=spoilt))[0].layers == ()


def test_nan_that_only_the_backward_pass_meets_is_told_with_its_layer():
    bad = healthy().nonfinite.copy()
    bad[50, :2] = True
    (found,) = symptoms(healthy(nonfinite=bad))
    assert found.message.endswith("first in 'second'.")
    assert found.layers == ("second", "first")


def test_a_weighted_loss_is_not_compared_with_guessing():
    seen = stalled(guess=None, weighted=True)
    (sentence,) = [one for one in not_judged(seen) if "guessing" in one]
    assert "`class_weight` or `sample_weight`" in sentence


def test_every_finding_about_a_series_has_its_picture():
    bad = np.where(np.arange(STEPS) < 50, healthy().loss, np.nan)
    drift = dataclasses.replace(
        healthy().layers,
        shift=np.array([[np.nan, 4.0, np.nan]] * 3),
        loss=np.array([1.1, 2.0, 3.0]),
    )
    for name, seen in {
        "non_finite": healthy(loss=bad),
        "loss_scale_collapse": healthy(loss_scale=np.array([2.0**15, 2.0, 0.5])),
        "majority_class": stalled(),
        "batch_norm_drift": healthy(layers=drift),
    }.items():
        (found,) = [one for one in symptoms(seen) if one.name == name]
        (line,) = found.picture.lines.values()
        assert len(line[0]) == len(line[1]) > 1
        assert np.all(np.isfinite(line[1]))
