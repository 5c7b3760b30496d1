"""One record through the phases of a fine-tuning."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.comparison import compare_gradients
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from tests.gradients.conftest import cross_entropy

ARGUMENTS = {"batch_size": 8, "shuffle": False, "verbose": 0}


def fine_tune(make_model, data, norms_of_phase):
    model = make_model()
    for layer in ("first", "norm", "shared"):
        model.get_layer(layer).trainable = False
    model.compile(keras.optimizers.Adam(1e-2), cross_entropy)
    model.fit(*data, callbacks=[norms_of_phase(0)], **ARGUMENTS)
    for layer in ("first", "norm", "shared"):
        model.get_layer(layer).trainable = True
    model.compile(keras.optimizers.SGD(1e-2), cross_entropy)
    model.fit(*data, epochs=2, callbacks=[norms_of_phase(1)], **ARGUMENTS)
    model.optimizer.learning_rate = 1e-3
    model.fit(
        *data, initial_epoch=2, epochs=3, callbacks=[norms_of_phase(2)], **ARGUMENTS
    )
    return model


def test_freeze_unfreeze_new_optimizer_new_rate(make_model, data, tmp_path):
    norms = GradientNorms(detail_every=2)
    fine_tune(make_model, data, lambda phase: norms)
    record = norms.record
    assert record.groups == ("first", "norm", "shared", "last")
    assert [p.groups for p in record.phases] == [
        ("last",),
        record.groups,
        record.groups,
    ]
    assert [p.optimizer for p in record.phases] == ["Adam", "SGD", "SGD"]
    rates = [p.learning_rate for p in record.phases]
    np.testing.assert_allclose(rates, [1e-2, 1e-2, 1e-3], rtol=1e-6)
    assert record.phase.tolist() == [0] * 5 + [1] * 10 + [2] * 5
    assert record.running_step.tolist() == list(range(20))
    assert record.step.tolist() == [*range(5), *range(15)]
    assert record.measured[:5].tolist() == [[False, False, False, True]] * 5
    assert record.measured[5:].all()
    assert record.finite.all()
    assert np.isnan(record.norm[:5, :3]).all()
    assert np.isfinite(record.norm[5:]).all()
    assert len(norms.to_dataframe()) == 5 + 15 * 4
    assert "phase 1" in norms.report()
    assert "dead" not in norms.report()
    norms.save(tmp_path / "phases.npz")
    loaded = GradientRecord.load(tmp_path / "phases.npz")
    assert loaded.phases == record.phases
    assert loaded.report() == record.report()


def test_records_join_to_the_one_that_a_single_recorder_makes(make_model, data):
    whole = GradientNorms(detail_every=2)
    fine_tune(make_model, data, lambda phase: whole)
    parts = [GradientNorms(detail_every=2) for _ in range(3)]
    fine_tune(make_model, data, parts.__getitem__)
    joined = GradientRecord.join([part.record for part in parts])
    assert joined.groups == whole.record.groups
    for name in ("norm", "running_step", "phase", "measured", "global_norm", "fit"):
        np.testing.assert_array_equal(
            getattr(joined, name), getattr(whole.record, name), err_msg=name
        )
    assert [p.groups for p in joined.phases] == [p.groups for p in whole.record.phases]
    for key, values in whole.record.epochs.items():
        np.testing.assert_array_equal(joined.epochs[key], values, err_msg=key)
    compare_gradients({"joined": joined, "whole": whole}).report()


def test_a_partly_frozen_group_is_divided_by_what_was_trained(make_model, data):
    model = make_model()
    norms = GradientNorms(
        lambda variable: "low" if variable.path[0] in "fn" else "high"
    )
    for trainable in (False, True):
        model.get_layer("first").trainable = trainable
        model.compile(keras.optimizers.SGD(0.0), cross_entropy)
        model.fit(*data, callbacks=[norms], **ARGUMENTS)
    low, high = norms.record.norm.T
    low = [low[:5] / np.sqrt(24), low[5:] / np.sqrt(24 + 108)]
    median = np.median(low)
    (line,) = (one for one in norms.report().splitlines() if one.startswith("low"))
    assert line.split()[3] == f"{median:.3g}"
    ratio = np.median(high) / np.sqrt(156 + 52) / median
    assert f"'high', {ratio:.3g} times" in norms.report()
    (line, _) = compare_gradients({"run": norms}).lines
    assert line["where"] == "low"
    np.testing.assert_allclose(line["first"], low[0].mean())
    np.testing.assert_allclose(line["last"], low[1].mean())


def test_more_epochs_begin_no_phase(make_model, data):
    model, norms = make_model(), GradientNorms()
    model.compile(keras.optimizers.Adam(1e-2), cross_entropy)

    class Slower(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 1e-3

    model.fit(*data, callbacks=[norms, Slower()], **ARGUMENTS)
    model.fit(*data, callbacks=[norms], **ARGUMENTS)
    assert len(norms.record.phases) == 1


def test_join_refuses_what_is_no_record():
    with pytest.raises(ValueError, match="at least one record"):
        GradientRecord.join([])
