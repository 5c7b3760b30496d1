"""CoupledAdam against ``torch.optim.Adam``, step by step."""

import keras
import numpy as np
import pytest
import torch

from keras_gradattn.training.coupled_adam import CoupledAdam

SHAPES = [(3, 3, 4, 8), (8,), (8, 5), ()]


def torch_steps(start, gradients, **settings):
    """Weights after every step of the reference, in double and single precision."""
    weights = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer = torch.optim.Adam(weights, **settings)
    trace = []
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = torch.tensor(gradient)
        optimizer.step()
        trace.append([weight.detach().numpy().copy() for weight in weights])
    return trace


def keras_steps(optimizer, start, gradients):
    variables = [keras.Variable(value) for value in start]
    optimizer.build(variables)
    trace = []
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in step], variables)
        trace.append([keras.ops.convert_to_numpy(v).copy() for v in variables])
    return trace


@pytest.fixture
def problem():
    rng = np.random.default_rng(1)
    start = [np.asarray(rng.normal(size=s), "float32") for s in SHAPES]
    gradients = [
        # From large to far below the decay term, where the two rules differ most.
        [np.asarray(rng.normal(size=s) * scale, "float32") for s in SHAPES]
        for scale in np.geomspace(1.0, 1e-9, 25)
    ]
    return start, gradients


@pytest.mark.parametrize("weight_decay", [0.0, 1e-4, 1e-1])
@pytest.mark.parametrize("epsilon", [1e-8, 1e-3])
def test_every_step_equals_torch(problem, weight_decay, epsilon):
    start, gradients = problem
    expected = torch_steps(
        start, gradients, lr=1e-2, weight_decay=weight_decay, eps=epsilon
    )
    actual = keras_steps(
        CoupledAdam(1e-2, weight_decay=weight_decay, epsilon=epsilon), start, gradients
    )
    for step, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-7, err_msg=f"{step=}")


def test_without_momentum(problem):
    start, gradients = problem
    expected = torch_steps(start, gradients[:5], lr=1e-2, betas=(0.0, 0.9))
    actual = keras_steps(
        CoupledAdam(1e-2, beta_1=0.0, beta_2=0.9), start, gradients[:5]
    )
    for ours, theirs in zip(actual[-1], expected[-1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-7)


def test_rows_of_an_embedding():
    """TensorFlow hands over sparse rows, in which one row can occur twice."""
    model = keras.Sequential([keras.Input((3,), dtype="int32")])
    model.add(keras.layers.Embedding(5, 2))
    table = np.arange(10, dtype="float32").reshape(5, 2)
    model.set_weights([table])
    model.compile(CoupledAdam(0.1, weight_decay=0.5), loss=lambda y, p: p)
    rows = np.array([[1, 1, 3]], "int32")
    model.fit(rows, np.zeros((1, 3, 2)), verbose=0)

    # The loss is the mean over 3 x 2 outputs.
    gradient = np.bincount(rows[0], minlength=5)[:, None] / 6 * np.ones((1, 2))
    expected = torch_steps(
        [table], [[gradient.astype("float32")]], lr=0.1, weight_decay=0.5
    )
    np.testing.assert_allclose(model.get_weights()[0], expected[0][0], rtol=1e-5)


def test_weights_without_gradient_decay_at_full_rate():
    """What makes the coupling matter: Keras' decoupled decay hardly moves them."""
    start, nothing = [np.full((4,), 0.5, "float32")], [np.zeros((4,), "float32")]
    coupled = keras_steps(CoupledAdam(1e-3, weight_decay=1e-4), start, [nothing] * 100)
    decoupled = keras_steps(
        keras.optimizers.AdamW(1e-3, weight_decay=1e-4), start, [nothing] * 100
    )
    assert coupled[-1][0].max() < 0.41
    assert decoupled[-1][0].min() > 0.4999


def test_clipping_comes_before_the_decay():
    start, gradient = [np.full((2,), 3.0, "float32")], [np.full((2,), 100.0, "float32")]
    clipped = [np.full((2,), 1.0, "float32")]
    expected = torch_steps(start, [clipped] * 3, lr=0.1, weight_decay=0.5)
    actual = keras_steps(
        CoupledAdam(0.1, weight_decay=0.5, clipvalue=1.0), start, [gradient] * 3
    )
    np.testing.assert_allclose(actual[-1][0], expected[-1][0], rtol=1e-6)


def test_excluded_variables_do_not_decay():
    kernel, bias = keras.Variable([1.0], name="kernel"), keras.Variable([1.0], name="b")
    optimizer = CoupledAdam(0.1, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[bias])
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.zeros((1,)), keras.ops.zeros((1,))], [kernel, bias])
    assert float(keras.ops.convert_to_numpy(bias)[0]) == 1.0
    assert float(keras.ops.convert_to_numpy(kernel)[0]) < 1.0


def test_trains_a_model_like_torch():
    """The whole trainer: compiled step, several variables, one epoch in order."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 6)).astype("float32")
    y = rng.normal(size=(64, 1)).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    kernel = rng.normal(size=(6, 1)).astype("float32")
    model.set_weights([kernel, np.zeros(1, "float32")])
    model.compile(CoupledAdam(1e-2, weight_decay=1e-2), loss="mse")
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)

    reference = torch.nn.Linear(6, 1)
    with torch.no_grad():
        reference.weight.copy_(torch.tensor(kernel.T))
        reference.bias.zero_()
    optimizer = torch.optim.Adam(reference.parameters(), lr=1e-2, weight_decay=1e-2)
    for i in range(0, 64, 8):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(
            reference(torch.tensor(x[i : i + 8])), torch.tensor(y[i : i + 8])
        )
        loss.backward()
        optimizer.step()
    np.testing.assert_allclose(
        model.get_weights()[0].T, reference.weight.detach().numpy(), rtol=1e-5
    )
    np.testing.assert_allclose(
        model.get_weights()[1], reference.bias.detach().numpy(), rtol=1e-5
    )


def test_config_round_trip():
    optimizer = CoupledAdam(3e-4, weight_decay=1e-4, beta_2=0.99, clipnorm=1.0)
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(restored, CoupledAdam)
    assert restored.get_config() == optimizer.get_config()


@pytest.mark.parametrize("settings", [{"weight_decay": -1.0}, {"amsgrad": True}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValueError, match="Received"):
        CoupledAdam(**settings)
