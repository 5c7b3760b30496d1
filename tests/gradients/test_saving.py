"""Checkpoints, resumed training, and files of the record."""

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from tests.gradients.conftest import cross_entropy


def compiled(make_model, optimizer=None):
    model = make_model()
    model.compile(optimizer or keras.optimizers.Adam(1e-2), cross_entropy)
    return model


FIRST_VERSION = Path(__file__).parents[1] / "golden" / "0.1.0" / "record.npz"
ARGUMENTS = {"batch_size": 8, "shuffle": False, "verbose": 0}


def multi():
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(
            keras.optimizers.Adam(1e-2), {"last/.*": keras.optimizers.SGD(0.1)}
        )
    )


@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.parametrize(
    "optimizer", [None, pytest.param(multi, marks=pytest.mark.keras_since("3.15"))]
)
def test_checkpoints_hold_the_optimizer(
    make_model, data, tmp_path, save_freq, optimizer
):
    model = compiled(make_model, optimizer and optimizer())
    path = tmp_path / "last.weights.h5"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, save_weights_only=True, save_freq=save_freq
    )
    norms = GradientNorms()
    model.fit(*data, callbacks=[norms, checkpoint], **ARGUMENTS)
    again = compiled(make_model, optimizer and optimizer())
    again.optimizer.build(again.trainable_variables)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras warns where it drops the state
        again.load_weights(path)
    assert len(again.optimizer.variables) == len(model.optimizer.variables)
    assert int(again.optimizer.iterations) == (5 if save_freq == "epoch" else 4)
    assert len(norms.record) == 5


def test_backup_and_restore_resumes_with_the_same_numbers(make_model, data, tmp_path):
    whole, norms = compiled(make_model), GradientNorms("variable")
    whole.fit(*data, epochs=3, callbacks=[norms], **ARGUMENTS)

    class Fail(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    interrupted, first = compiled(make_model), GradientNorms("variable")
    with pytest.raises(RuntimeError, match="power cut"):
        interrupted.fit(
            *data, epochs=3, callbacks=[first, backup(), Fail()], **ARGUMENTS
        )
    resumed, second = compiled(make_model), GradientNorms("variable")
    resumed.fit(*data, epochs=3, callbacks=[second, backup()], **ARGUMENTS)

    assert second.record.step.tolist() == [10, 11, 12, 13, 14]
    assert second.record.epoch.tolist() == [2] * 5
    together = np.concatenate([first.record.norm, second.record.norm])
    np.testing.assert_allclose(together, norms.record.norm, rtol=1e-5, atol=1e-7)


def test_whole_model_saved_during_training(make_model, data, tmp_path):
    class Save(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                self.model.save(tmp_path / "during.keras")

    model = compiled(make_model, keras.optimizers.Adam(1e-2))
    model.compile("adam", "sparse_categorical_crossentropy")
    norms = GradientNorms()
    model.fit(*data, callbacks=[norms, Save()], **ARGUMENTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = keras.models.load_model(tmp_path / "during.keras")
    assert int(loaded.optimizer.iterations) == 3
    assert len(norms.record) == 5


def test_record_survives_its_file(make_model, data, tmp_path):
    model, norms = compiled(make_model), GradientNorms(name="run a", detail_every=2)
    model.fit(*data, epochs=2, callbacks=[norms], **ARGUMENTS)
    norms.save(tmp_path / "record.npz")
    loaded = GradientNorms.load(tmp_path / "record.npz")
    assert isinstance(loaded, GradientRecord)
    assert loaded.name == "run a"
    assert loaded.to_dict() == norms.to_dict()
    assert loaded.report() == norms.report()
    json.dumps(loaded.to_dict())
    assert loaded.to_dataframe().equals(norms.to_dataframe())


def test_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="no record of gradient norms"):
        GradientRecord.load(tmp_path / "other.npz")


def test_dataframe_is_tidy(make_model, data):
    model, norms = compiled(make_model), GradientNorms(detail_every=5)
    model.fit(*data, epochs=2, callbacks=[norms], **ARGUMENTS)
    frame = norms.to_dataframe()
    assert len(frame) == 10 * 4
    assert frame["ratio"].notna().sum() == 2 * 4
    first = frame[(frame.step == 5) & (frame.group == "shared")].iloc[0]
    np.testing.assert_allclose(
        first["norm"] / first["weight_norm"], first["ratio"], rtol=1e-6
    )
    assert len(norms.to_dataframe("epochs")) == 2 * 4
    with pytest.raises(ValueError, match="what='steps'"):
        norms.to_dataframe("steps")


def test_epoch_summaries_reach_callbacks_before_and_after(make_model, data, tmp_path):
    model, norms = compiled(make_model), GradientNorms()
    before, after = tmp_path / "before.csv", tmp_path / "after.csv"

    class EvaluateInBetween(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                assert "gradient_norm" not in self.model.evaluate(
                    *data, verbose=0, return_dict=True
                )

    history = model.fit(
        *data,
        epochs=2,
        validation_data=data,
        callbacks=[
            keras.callbacks.CSVLogger(before),
            norms,
            keras.callbacks.CSVLogger(after),
            EvaluateInBetween(),
        ],
        **ARGUMENTS,
    ).history
    assert before.read_text() == after.read_text()
    header = before.read_text().splitlines()[0].split(",")
    for key in (
        "gradient_norm",
        "gradient_norm_smallest_group",
        "gradient_norm_largest_group",
    ):
        assert key in header
        assert len(history[key]) == 2
        assert f"val_{key}" not in history
    np.testing.assert_allclose(
        history["gradient_norm"],
        norms.record.global_norm.reshape(2, 5).mean(1),
        rtol=1e-6,
    )
    assert norms.record.epochs["steps"].tolist() == [5, 5]
    for name in ("evaluate", "_get_metrics_result_or_logs"):
        assert name not in vars(model)


def test_early_stopping_before_the_recorder(make_model, data):
    model = compiled(make_model, keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping("gradient_norm", min_delta=1e3, mode="min")
    history = model.fit(*data, epochs=5, callbacks=[stop, GradientNorms()], **ARGUMENTS)
    assert len(history.history["gradient_norm"]) == 2


@pytest.mark.any_backend
def test_a_record_of_the_first_version_is_read(tmp_path):
    """Numbers as that version gave them before it wrote the file."""
    record = GradientRecord.load(FIRST_VERSION)
    assert record.groups == ("first", "norm", "last")
    assert record.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert record.epoch.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(record.norm[0], [0.83134421, 0.36419211, 0.4593933])
    np.testing.assert_allclose(record.rms[-1], [0.18002077, 0.22084526, 0.13092631])
    assert list(record.layer_outputs) == ["first"]
    assert len(record.phases) == 1

    record.save(tmp_path / "again.npz")
    again = GradientRecord.load(tmp_path / "again.npz")
    np.testing.assert_array_equal(again.norm, record.norm)
    assert again.to_dataframe().equals(record.to_dataframe())
