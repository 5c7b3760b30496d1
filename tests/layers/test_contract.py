"""What every public layer promises, on every backend."""

import keras
import numpy as np
import pytest

from keras_gradattn import layers

MAP = (8, 8, 32)
TOKENS = (5, 16)
# Public layer to how it is made and the shapes (without batch) that it is called with.
LAYERS = {
    "BatchNormalization": (lambda **k: layers.BatchNormalization(**k), MAP),
    "CBAM": (lambda **k: layers.CBAM(reduction=4, **k), MAP),
    "DepthMixing": (lambda **k: layers.DepthMixing(4, **k), [(16, 16, 8), MAP]),
    "DepthTokens": (lambda **k: layers.DepthTokens(16, **k), [MAP, (3, 5, 8)]),
    "EncoderBlock": (lambda **k: layers.EncoderBlock(4, 24, **k), TOKENS),
    "GradAttnHead": (
        lambda **k: layers.GradAttnHead(
            3, width=16, num_heads=2, feed_forward=24, num_layers=2, **k
        ),
        [MAP, (3, 5, 8)],
    ),
    "LearnablePositions": (lambda **k: layers.LearnablePositions(**k), TOKENS),
    "Linear": (lambda **k: layers.Linear(7, **k), TOKENS),
    "MultiHeadSelfAttention": (
        lambda **k: layers.MultiHeadSelfAttention(4, rotary=True, **k),
        TOKENS,
    ),
    "SqueezeExcite": (lambda **k: layers.SqueezeExcite(reduction=4, **k), MAP),
    "SymmetricConv2D": (lambda **k: layers.SymmetricConv2D(6, 3, 2, **k), MAP),
    "SymmetricMaxPooling2D": (lambda **k: layers.SymmetricMaxPooling2D(**k), MAP),
}
LAYER = pytest.mark.parametrize("name", LAYERS)


def inputs_of(shapes):
    if isinstance(shapes, list):
        return [keras.Input(shape) for shape in shapes]
    return keras.Input(shapes)


def batch_of(shapes, batch=4):
    if isinstance(shapes, list):
        return [batch_of(shape, batch) for shape in shapes]
    return np.random.default_rng(0).normal(size=(batch, *shapes)).astype("float32")


def model_of(layer, shapes):
    inputs = inputs_of(shapes)
    return keras.Model(inputs, layer(inputs))


def test_every_public_layer_is_here():
    public = {name for name in layers.__all__ if name[0].isupper()}

    assert public == set(LAYERS)


@LAYER
def test_symbolic_shape_and_dtype_equal_eager(name):
    make, shapes = LAYERS[name]
    layer = make()

    symbolic = layer(inputs_of(shapes))
    eager = layer(batch_of(shapes))

    assert layer.built
    assert symbolic.shape[1:] == tuple(eager.shape)[1:]
    assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype)


@LAYER
def test_config_makes_the_same_layer(name):
    make, shapes = LAYERS[name]
    layer = make(name="named")
    batch = batch_of(shapes)
    expected = layer(batch, training=False)

    copy = keras.layers.deserialize(keras.layers.serialize(layer))
    copy(batch)
    copy.set_weights(layer.get_weights())

    assert copy.name == "named"
    assert copy.get_config() == layer.get_config()
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(copy(batch, training=False)),
        keras.ops.convert_to_numpy(expected),
    )


@LAYER
def test_one_training_step_changes_every_weight(name):
    make, shapes = LAYERS[name]
    model = model_of(make(), shapes)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    before = [v.numpy() for v in model.trainable_variables]
    batch = batch_of(shapes)
    targets = np.random.default_rng(1).normal(size=model(batch).shape)

    model.fit(batch, targets.astype("float32"), verbose=0)

    for variable, old in zip(model.trainable_variables, before, strict=True):
        # Attention scores do not change when all keys shift alike.
        if "key/bias" not in variable.path:
            assert np.any(variable.numpy() != old), variable.path


@LAYER
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_near_float32(name, policy):
    make, shapes = LAYERS[name]
    batch = batch_of(shapes)
    exact = make()
    expected = keras.ops.convert_to_numpy(exact(batch, training=False))
    layer = make(dtype=policy)
    layer(batch)
    layer.set_weights(exact.get_weights())

    outputs = layer(batch, training=False)

    # The head ends in a classifier, which stays float32.
    expected_dtype = "float32" if name == "GradAttnHead" else policy[len("mixed_") :]
    assert keras.backend.standardize_dtype(outputs.dtype) == expected_dtype
    assert all(v.dtype == "float32" for v in layer.trainable_variables)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(keras.ops.cast(outputs, "float32")),
        expected,
        atol=0.05 * np.max(np.abs(expected)) + 0.02,
    )
