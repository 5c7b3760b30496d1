"""Histograms by depth, and the gradient noise scale."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients._noise_scale import two_size_estimate
from keras_gradattn.gradients.gradient_norms import GradientNorms
from keras_gradattn.gradients.gradient_record import GradientRecord
from tests.gradients.conftest import cross_entropy


def test_histograms_count_every_element(make_model, data, gradients):
    model = make_model()
    tensors = [keras.ops.convert_to_tensor(d[:8]) for d in data]
    values = [keras.ops.convert_to_numpy(v) for v in gradients(model, *tensors)]
    norms = GradientNorms("variable", histograms=True, detail_every=2)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy)
    # Eagerly, as the gradients to compare with: near an edge the last bit counts.
    model.run_eagerly = True
    model.jit_compile = False
    model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    record = norms.record
    assert record.histograms.shape == (3, 8, len(record.histogram_edges) - 1)
    assert record.histogram_edges[[0, -1]].tolist() == [0, np.inf]
    for column, value in enumerate(values):
        expected, _ = np.histogram(np.abs(value), record.histogram_edges)
        assert np.abs(record.histograms[0, column] - expected).sum() <= 2
        assert record.histograms[0, column].sum() == value.size


@pytest.mark.parametrize("optimizer", ["plain", "scaled"])
def test_histograms_by_group_compiled(make_model, data, optimizer, tmp_path):
    records = []
    for groups in ("variable", "depth"):
        model, norms = make_model(), GradientNorms(groups, histograms=True)
        made = keras.optimizers.SGD(0.0)
        if optimizer == "scaled":
            made.loss_scale_factor = 64.0
        model.compile(made, cross_entropy)
        model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
        records.append(norms.record)
    by_variable, by_depth = (record.histograms[0] for record in records)
    summed = by_variable.reshape(4, 2, -1).sum(axis=1)
    np.testing.assert_array_equal(summed, by_depth)
    records[1].save(tmp_path / "r.npz")
    loaded = type(records[1]).load(tmp_path / "r.npz")
    np.testing.assert_array_equal(loaded.histograms, records[1].histograms)


class Kept:
    """A writer of one's own."""

    def __init__(self):
        self.chunks = []

    def open(self, record):
        pass

    def write(self, steps, values):
        self.chunks.append(values)

    def close(self):
        pass


def test_histograms_reach_writers(make_model, data):
    model, writer = make_model(), Kept()
    norms = GradientNorms(histograms=True, detail_every=2, writers=writer)
    for trainable in (False, True):
        model.get_layer("first").trainable = trainable
        model.compile(keras.optimizers.SGD(0.1), cross_entropy)
        model.fit(*data, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    frozen, whole = (values["histogram"] for values in writer.chunks)
    counts = norms.record.histograms
    sizes = [8 * 12 + 12, 2 * 12, 12 * 12 + 12, 12 * 4 + 4]
    for chunk, kept in ((frozen, counts[:3, 1:]), (whole, counts[3:])):
        assert chunk.mask.all(axis=(1, 2)).tolist() == [False, True, False, True, False]
        assert not chunk.mask[::2].any()
        np.testing.assert_array_equal(chunk[::2], kept)
        np.testing.assert_array_equal(
            chunk[::2].sum(axis=2), [sizes[-kept.shape[1] :]] * 3
        )


def test_estimates_are_those_of_a_known_distribution():
    # Gradients of single samples: mean 3 in one of 4 dimensions, variance 2 in each.
    random = np.random.default_rng(0)
    mean = np.array([3.0, 0, 0, 0])
    samples = mean + np.sqrt(2.0) * random.normal(size=(4000, 8, 4))
    small = np.square(samples[:, :2].mean(1)).sum(-1)
    big = np.square(samples.mean(1)).sum(-1)
    gradient, noise = two_size_estimate(small, big, 2, 8)
    np.testing.assert_allclose(gradient.mean(), 9.0, rtol=0.05)
    np.testing.assert_allclose(noise.mean(), 8.0, rtol=0.1)


@pytest.mark.parametrize("thinned", [{}, {"every": 2}, {"max_rows": 2}])
def test_noise_scale_of_accumulated_micro_batches(
    make_model, data, gradients, thinned, tmp_path
):
    def norms_by_hand():
        model, rows = make_model(), []
        for batch in range(4):
            rows.append(
                np.concatenate(
                    [
                        keras.ops.convert_to_numpy(g).ravel()
                        for g in gradients(
                            model,
                            *(
                                keras.ops.convert_to_tensor(
                                    d[8 * batch : 8 * batch + 8]
                                )
                                for d in data
                            ),
                        )
                    ]
                ).astype("float64")
            )
        return np.array(rows)

    rows = norms_by_hand()
    model, norms = make_model(), GradientNorms(noise_scale=True, **thinned)
    model.compile(
        keras.optimizers.SGD(0.0, gradient_accumulation_steps=2), cross_entropy
    )
    x, y = (d[:32] for d in data)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    found = norms.record.noise_scale
    assert found["step"].tolist() == [1, 3]
    small = np.square(rows).sum(1).reshape(2, 2).mean(1)
    big = np.square(rows.reshape(2, 2, -1).mean(1)).sum(1)
    gradient, noise = 2 * big - small, 2 * (small - big)
    np.testing.assert_allclose(found["gradient_squared"], gradient, rtol=1e-3)
    np.testing.assert_allclose(found["noise"], noise, rtol=1e-3)
    np.testing.assert_allclose(
        found["noise_scale"][0], noise[0] / gradient[0], rtol=1e-3
    )
    assert len(norms.record) == (2 if thinned else 4)
    norms.save(tmp_path / "r.npz")
    loaded = GradientRecord.load(tmp_path / "r.npz")
    for column, values in loaded.noise_scale.items():
        np.testing.assert_array_equal(values, found[column])
    joined = GradientRecord.join([loaded, norms.record]).noise_scale
    assert joined["running_step"].tolist() == [1, 3, 5, 7]


def embedding():
    """Each token occurs several times, and many do not occur at all."""
    keras.utils.set_random_seed(4)
    inputs = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(9, 3, name="tokens")(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="last")(x))


def test_noise_scale_of_sparse_gradients(gradients):
    random = np.random.default_rng(0)
    x = random.integers(0, 5, (32, 4)).astype("int32")
    y = random.integers(0, 4, 32).astype("int32")
    parts = [
        [keras.ops.convert_to_tensor(d[start : start + 8]) for d in (x, y)]
        for start in range(0, 32, 8)
    ]
    rows = [
        np.concatenate([keras.ops.convert_to_numpy(g).ravel() for g in found])
        for found in (gradients(embedding(), *part) for part in parts)
    ]
    rows = np.array(rows, "float64")
    model, norms = embedding(), GradientNorms(noise_scale=True)
    optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    model.compile(optimizer, cross_entropy)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[norms])
    small = np.square(rows).sum(1).reshape(2, 2).mean(1)
    big = np.square(rows.reshape(2, 2, -1).mean(1)).sum(1)
    found = norms.record.noise_scale
    np.testing.assert_allclose(found["gradient_squared"], 2 * big - small, rtol=1e-3)
    np.testing.assert_allclose(found["noise"], 2 * (small - big), rtol=1e-3)


def test_one_batch_size_is_told_of_once(make_model, data):
    model, norms = make_model(), GradientNorms(noise_scale=True)
    model.compile("sgd", cross_entropy)
    with pytest.warns(RuntimeWarning, match="two batch sizes.*optimizer=SGD"):
        model.fit(*data, verbose=0, callbacks=[norms])
    # A second warning would be an error.
    model.compile("adam", cross_entropy)
    model.fit(*data, verbose=0, callbacks=[norms])
    assert norms.record.noise_scale is None
