"""`include` and `exclude`, and entries of the logs."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_norms import GradientNorms
from tests.gradients.conftest import cross_entropy

ARGUMENTS = {"batch_size": 8, "shuffle": False, "verbose": 0}


def record(make_model, data, callbacks=(), **arguments):
    model, norms = make_model(), GradientNorms("variable", **arguments)
    model.compile(keras.optimizers.SGD(0.0), cross_entropy)
    history = model.fit(*data, callbacks=[norms, *callbacks], **ARGUMENTS)
    return norms.record, history.history


def test_chosen_variables_have_the_norms_they_have_among_all(make_model, data):
    whole, _ = record(make_model, data)
    for arguments, expected in (
        ({"include": "*kernel"}, ["first/kernel", "shared/kernel", "last/kernel"]),
        (
            {"include": ["first", "last/bias"]},
            ["first/kernel", "first/bias", "last/bias"],
        ),
        (
            {"exclude": ["norm", "*bias"]},
            ["first/kernel", "shared/kernel", "last/kernel"],
        ),
        ({"include": "last", "exclude": "*/bias"}, ["last/kernel"]),
    ):
        part, _ = record(make_model, data, **arguments)
        assert list(part.groups) == expected
        columns = [whole.groups.index(name) for name in expected]
        np.testing.assert_allclose(
            part.norm, whole.norm[:, columns], rtol=1e-5, atol=1e-9
        )


def test_variables_themselves(make_model, data):
    model = make_model()
    chosen = model.get_layer("last").kernel
    norms = GradientNorms("variable", include=[chosen])
    model.compile("sgd", cross_entropy)
    model.fit(*data, callbacks=[norms], **ARGUMENTS)
    assert norms.record.groups == (chosen.path,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"include": "frist"}, "'frist'"),
        ({"exclude": "*kernal"}, r"'\*kernal'"),
        ({"exclude": "*"}, "leave no variable"),
    ],
)
def test_patterns_that_fit_nothing(make_model, data, arguments, message):
    with pytest.raises(ValueError, match=message):
        record(make_model, data, **arguments)


def test_names_of_the_logs(make_model, data):
    _, history = record(make_model, data, log_prefix="critic_norm")
    assert set(history) == {
        "loss",
        "critic_norm",
        "critic_norm_smallest_group",
        "critic_norm_largest_group",
    }
    _, history = record(make_model, data, logs=False)
    assert list(history) == ["loss"]


class Own(keras.metrics.Metric):
    """Reports seven under the recorder's name."""

    def __init__(self):
        super().__init__(name="gradient_norm")
        self.steps = self.add_weight(name="steps", initializer="zeros")

    def update_state(self, *args, **kwargs):
        self.steps.assign_add(1.0)

    def result(self):
        return 0 * self.steps + 7.0


def test_the_models_own_entries_stay(make_model, data):
    model, norms = make_model(), GradientNorms()
    model.compile("sgd", cross_entropy, metrics=[Own()])
    with pytest.warns(RuntimeWarning, match="log_prefix"):
        history = model.fit(*data, epochs=2, callbacks=[norms], **ARGUMENTS).history
    assert history["gradient_norm"] == [7.0, 7.0]
    assert len(history["gradient_norm_largest_group"]) == 2


def test_columns_of_a_file_that_goes_on_do_not_shift(make_model, data, tmp_path):
    model, path = make_model(), tmp_path / "log.csv"
    model.compile("sgd", cross_entropy)
    model.fit(*data, callbacks=[keras.callbacks.CSVLogger(path)], **ARGUMENTS)
    again = keras.callbacks.CSVLogger(path, append=True)
    with pytest.warns(RuntimeWarning, match="columns would shift"):
        model.fit(*data, callbacks=[GradientNorms(), again], **ARGUMENTS)
    widths = {len(line.split(",")) for line in path.read_text().splitlines()}
    assert len(widths) == 1
