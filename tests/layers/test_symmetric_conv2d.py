"""Both forms of the convolution against PyTorch's own."""

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers
from keras_gradattn.layers import symmetric_conv2d as convolution
from tests.backend_gradients import loss_and_gradients


def torch_convolution(layer, images):
    """The same convolution by `torch.nn.functional`, channels last."""
    kernel = torch.tensor(layer.kernel.numpy().transpose(3, 2, 0, 1))
    outputs = torch.nn.functional.conv2d(
        torch.tensor(images.transpose(0, 3, 1, 2)),
        kernel,
        None if layer.bias is None else torch.tensor(layer.bias.numpy()),
        stride=layer.strides,
        padding=layer.pixels_padded,
        dilation=layer.dilation_rate,
        groups=layer.groups,
    )
    return outputs.numpy().transpose(0, 2, 3, 1)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    kernel=st.sampled_from([1, 2, 3, 5, (3, 1)]),
    strides=st.integers(1, 3),
    padding=st.sampled_from([None, 0, 1, (2, 1)]),
    dilation=st.integers(1, 2),
    form=st.sampled_from(["backend", "taps", "auto"]),
    use_bias=st.booleans(),
)
def test_equals_pytorch(
    height, width, kernel, strides, padding, dilation, form, use_bias
):
    if strides > 1:
        dilation = 1
    layer = layers.SymmetricConv2D(
        4,
        kernel,
        strides,
        padding,
        dilation_rate=dilation,
        form=form,
        use_bias=use_bias,
        bias_initializer="ones",
    )
    images = np.random.default_rng(0).normal(size=(2, height, width, 3))
    images = images.astype("float32")
    reach = [
        d * (k - 1) for d, k in zip(layer.dilation_rate, layer.kernel_size, strict=True)
    ]
    pads = layer.pixels_padded
    if any(
        size + 2 * pad <= r
        for size, pad, r in zip((height, width), pads, reach, strict=True)
    ):
        with pytest.raises(ValueError, match="too small"):
            layer.build(images.shape)
        return

    outputs = layer(images)

    assert tuple(outputs.shape) == layer.compute_output_shape(images.shape)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs), torch_convolution(layer, images), atol=1e-5
    )


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (4, 3), (7, 7)])
@pytest.mark.parametrize("strides", [1, 2])
def test_forms_have_equal_gradients(size, strides):
    images = np.random.default_rng(0).normal(size=(3, *size, 5)).astype("float32")
    models = {}
    for form in ("backend", "taps"):
        inputs = keras.Input((*size, 5))
        # A convolution in front shows the gradient with respect to the input as well.
        x = keras.layers.Conv2D(5, 1, name="in_front")(inputs)
        outputs = layers.SymmetricConv2D(6, 3, strides, form=form)(x)
        models[form] = keras.Model(inputs, outputs)
    models["taps"].set_weights(models["backend"].get_weights())

    gradients = {
        form: loss_and_gradients(
            model, images, 0.0, lambda _, y: keras.ops.mean(keras.ops.square(y))
        )[2]
        for form, model in models.items()
    }

    for one, other in zip(gradients["backend"], gradients["taps"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("padding", [None, 0])
def test_single_filter_has_pytorchs_gradients(dtype, padding):
    # Small whole numbers, which every dtype holds exactly.
    random = np.random.default_rng(0)
    images = random.integers(-1, 2, size=(3, 9, 8, 2)).astype("float64")
    layer = layers.SymmetricConv2D(1, 3, padding=padding, dtype=dtype, form="backend")
    model = keras.Sequential([keras.Input((9, 8, 2), dtype=dtype), layer])
    layer.set_weights([random.integers(-1, 2, size=(3, 3, 2, 1)), np.ones(1)])
    signs = random.choice([-1.0, 1.0], size=model.compute_output_shape(images.shape))

    _, outputs, gradients = loss_and_gradients(
        model,
        keras.ops.convert_to_tensor(images, dtype),
        keras.ops.convert_to_tensor(signs, dtype),
        lambda y, outputs: keras.ops.sum(y * outputs),
    )

    kernel, bias = (
        torch.tensor(weights.astype("float64"), requires_grad=True)
        for weights in layer.get_weights()
    )
    expected = torch.nn.functional.conv2d(
        torch.tensor(images.transpose(0, 3, 1, 2)),
        kernel.permute(3, 2, 0, 1).contiguous(),
        bias,
        padding=layer.pixels_padded,
    ).permute(0, 2, 3, 1)
    (expected * torch.tensor(signs)).sum().backward()
    np.testing.assert_array_equal(outputs.astype("float64"), expected.detach())
    for gradient, reference in zip(gradients, (kernel.grad, bias.grad), strict=True):
        np.testing.assert_array_equal(gradient.astype("float64"), reference)


def test_form_is_chosen_when_traced_whatever_the_declared_size(monkeypatch, backend):
    taken = []
    real = convolution.convolve_taps
    monkeypatch.setattr(
        convolution,
        "convolve_taps",
        lambda *args: taken.append(args[0].shape[1:3]) or real(*args),
    )
    inputs = keras.Input((None, None, 3))
    outputs = layers.SymmetricConv2D(4, 3)(inputs)
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(outputs))
    model.compile("sgd", "mse")
    taken.clear()

    for size in (2, 9):
        images = np.ones((2, size, size, 3), "float32")
        model.fit(images, np.zeros((2, 4), "float32"), verbose=0)

    assert {tuple(size) for size in taken} == {(2, 2)}


@pytest.mark.parametrize("strides", [1, 2])
def test_pointwise_convolution_is_one_product_on_any_map(strides, monkeypatch):
    layer = layers.SymmetricConv2D(4, 1, strides, form="taps")
    images = np.random.default_rng(0).normal(size=(2, 30, 31, 3)).astype("float32")
    layer.build(images.shape)
    monkeypatch.setattr(keras.ops, "stack", None)

    outputs = keras.ops.convert_to_numpy(layer(images))

    np.testing.assert_allclose(outputs, torch_convolution(layer, images), atol=1e-5)


def test_switch_forces_a_form(monkeypatch):
    def refuse(*args):
        raise AssertionError("tap products were taken")

    monkeypatch.setattr(convolution, "convolve_taps", refuse)
    images = np.ones((1, 2, 2, 3), "float32")

    layers.set_convolution_form("backend")
    try:
        layers.SymmetricConv2D(4, 3)(images)
        layers.set_convolution_form("taps")
        with pytest.raises(AssertionError, match="tap products"):
            layers.SymmetricConv2D(4, 3)(np.ones((1, 20, 20, 3), "float32"))
    finally:
        layers.set_convolution_form("auto")


def test_initialisation_is_pytorchs():
    layer = layers.SymmetricConv2D(64, 3)
    layer.build((None, 8, 8, 32))
    bound = (32 * 9) ** -0.5

    for values in (layer.kernel.numpy(), layer.bias.numpy()):
        assert np.max(np.abs(values)) <= bound
        assert np.max(np.abs(values)) > 0.9 * bound
    assert abs(np.std(layer.kernel.numpy()) - bound / 3**0.5) < 0.02 * bound


@pytest.mark.parametrize("size", [(2, 3), (9, 8)])
def test_channels_first_equals_channels_last(size):
    images = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    last = layers.SymmetricConv2D(4, 3, 2)
    expected = keras.ops.convert_to_numpy(last(images))
    first = layers.SymmetricConv2D(4, 3, 2, data_format="channels_first")
    first.build((None, 3, *size))
    first.set_weights(last.get_weights())

    outputs = keras.ops.convert_to_numpy(first(images.transpose(0, 3, 1, 2)))

    np.testing.assert_allclose(outputs.transpose(0, 2, 3, 1), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": -1}, "Received: padding=-1"),
        ({"padding": (1, 2, 3)}, "pair"),
        ({"form": "fast"}, "Received: form='fast'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.SymmetricConv2D(4, 3, **arguments)
