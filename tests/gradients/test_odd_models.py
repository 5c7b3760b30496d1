"""Models and data that are not one chain of layers fed with arrays."""

import keras
import numpy as np
import pytest

from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow
from keras_gradattn.gradients.gradient_norms import GradientNorms
from tests.gradients.conftest import cross_entropy


def norms_of(gradients):
    arrays = [keras.ops.convert_to_numpy(g).astype("float64") for g in gradients]
    return [np.linalg.norm(array) for array in arrays]


def two_outputs():
    keras.utils.set_random_seed(8)
    inner_inputs = keras.Input((5,))
    x = keras.layers.Dense(6, activation="tanh", name="inner")(inner_inputs)
    inner = keras.Model(inner_inputs, x, name="encoder")
    inputs = keras.Input((5,))
    x = inner(inputs)
    outputs = [keras.layers.Dense(1, name=name)(x) for name in ("left", "right")]
    return keras.Model(inputs, outputs)


def test_nested_model_with_two_weighted_outputs_fed_by_a_generator(gradients):
    random = np.random.default_rng(1)
    x = random.normal(size=(24, 5)).astype("float32")
    y = random.normal(size=(2, 24, 1)).astype("float32")
    weights = random.uniform(size=(2, 24)).astype("float32")
    batches = [slice(0, 8), slice(8, 16), slice(16, 24)]

    def generator():
        for b in batches:
            yield x[b], (y[0][b], y[1][b]), (weights[0][b], weights[1][b])

    def total(batch):
        targets, factors = (
            [keras.ops.convert_to_tensor(array[batch]) for array in arrays]
            for arrays in (y, weights)
        )

        def loss(_, outputs):
            left, right = (
                keras.ops.mean(keras.ops.square(target - p)[:, 0] * factor)
                for target, p, factor in zip(targets, outputs, factors, strict=True)
            )
            return left + 0.5 * right

        return loss

    model, norms = two_outputs(), GradientNorms("variable")
    expected = [
        norms_of(gradients(model, keras.ops.convert_to_tensor(x[b]), None, total(b)))
        for b in batches
    ]
    model.compile(keras.optimizers.SGD(0.0), ["mse", "mse"], loss_weights=[1.0, 0.5])
    model.fit(generator(), verbose=0, callbacks=[norms])
    np.testing.assert_allclose(norms.record.norm, expected, rtol=1e-5)
    by_depth = GradientNorms()
    model.fit(generator(), verbose=0, callbacks=[by_depth])
    assert by_depth.record.groups == ("encoder/inner", "left", "right")


class OwnWeights(keras.Model):
    """A weight of its own, and two layers of one name."""

    def __init__(self):
        super().__init__(name="own")
        self.first = keras.layers.Dense(6, activation="tanh", name="dense")
        self.second = keras.layers.Dense(4, name="dense")
        self.scale = self.add_weight(shape=(6,), initializer="ones", name="scale")

    def call(self, x, training=None):
        return self.second(self.first(x) * self.scale)


def test_weights_of_the_model_itself_and_names_that_repeat(data, gradients):
    model = OwnWeights()
    model(data[0][:1])
    batch = [keras.ops.convert_to_tensor(d[:8]) for d in data]
    expected = dict(
        zip(map(id, model.trainable_variables), norms_of(gradients(model, *batch)),
            strict=True)
    )  # fmt: skip
    norms = GradientNorms(every=100)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy)
    model.fit(*data, batch_size=8, epochs=2, shuffle=False, verbose=0,
              callbacks=[norms])  # fmt: skip
    assert norms.record.step.tolist() == [0]  # `every` is more than all the steps
    assert norms.record.epochs["steps"].tolist() == [5, 5]
    found = dict(zip(norms.record.groups, norms.record.norm[0], strict=True))
    for group, variables in {
        "dense": model.first.trainable_variables,
        "dense#2": model.second.trainable_variables,
        "own": [model.scale],
    }.items():
        root = np.sqrt(sum(expected[id(v)] ** 2 for v in variables))
        np.testing.assert_allclose(found.pop(group), root, rtol=1e-5)
    assert not found


@pytest.mark.parametrize("loss", [cross_entropy, "loss object"])
def test_analysis_with_sample_weights(make_model, data, loss):
    def per_sample(y, p):
        return keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)

    if loss == "loss object":
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    else:
        loss = per_sample
    x, y = data
    # Weight zero leaves a sample out; the mean still counts it.
    weights = (np.arange(len(x)) % 2).astype("float32")
    arguments = {"batches": 1, "training": False}
    weighted = analyze_gradient_flow(make_model(), (x, y, weights), loss, **arguments)
    odd = analyze_gradient_flow(make_model(), (x[1::2], y[1::2]), loss, **arguments)
    np.testing.assert_allclose(
        weighted.gradient["norm"], odd.gradient["norm"] / 2, rtol=1e-5
    )


def test_a_record_without_kept_rows_reads_as_such(make_model, data):
    model, norms = make_model(), GradientNorms(every=100)
    model.compile(keras.optimizers.SGD(0.1), cross_entropy)
    model.fit(*data, verbose=0)
    model.fit(*data, verbose=0, callbacks=[norms])
    assert "no step recorded" in norms.report()
    assert len(norms.to_dataframe()) == 0
    assert len(norms.to_dataframe("epochs")) == 4
    with pytest.raises(ValueError, match="Nothing is recorded"):
        norms.plot()
