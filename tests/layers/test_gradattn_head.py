"""The head: its attention weights, its options and what it refuses."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_gradattn import layers

SMALL = {"width": 16, "num_heads": 2, "feed_forward": 24, "num_layers": 2}


def features_of(sizes, batch=2):
    random = np.random.default_rng(0)
    return [random.normal(size=(batch, *size)).astype("float32") for size in sizes]


@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6)),
        min_size=1,
        max_size=4,
    ),
    batch=st.integers(1, 3),
    positions=st.sampled_from(["none", "learnable", "rotary"]),
)
def test_shapes_for_any_features(sizes, batch, positions):
    head = layers.GradAttnHead(3, positions=positions, **SMALL)

    outputs, attention = head(features_of(sizes, batch), return_weights=True)

    assert tuple(outputs.shape) == (batch, 3)
    assert [tuple(a.shape) for a in attention] == [
        (batch, 2, len(sizes), len(sizes))
    ] * 2
    for weights in attention:
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(weights).sum(-1), 1, atol=1e-5
        )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs).sum(-1), 1, atol=1e-5
    )


def test_sequences_and_vectors_are_features_too():
    features = features_of([(7, 4), (6,), (2, 3, 5)])

    assert tuple(layers.DepthTokens(8)(features).shape) == (2, 3, 8)


def test_tokens_are_pooled_and_projected_features():
    features = features_of([(3, 4, 5), (2, 2, 6)])
    layer = layers.DepthTokens(8)

    tokens = keras.ops.convert_to_numpy(layer(features))

    for index, values in enumerate(features):
        projection = layer.projections[index]
        expected = values.mean((1, 2)) @ projection.kernel.numpy()
        np.testing.assert_allclose(
            tokens[:, index], expected + projection.bias.numpy(), atol=1e-5
        )


def test_channels_first_features():
    features = features_of([(3, 4, 5)])
    last = layers.DepthTokens(8, data_format="channels_last")
    expected = keras.ops.convert_to_numpy(last(features))
    first = layers.DepthTokens(8, data_format="channels_first")
    first.build([(None, 5, 3, 4)])
    first.set_weights(last.get_weights())

    tokens = first([values.transpose(0, 3, 1, 2) for values in features])

    np.testing.assert_allclose(keras.ops.convert_to_numpy(tokens), expected, atol=1e-6)


def test_blocks_start_apart_or_alike():
    kernels = {}
    for identical in (False, True):
        head = layers.GradAttnHead(3, identical_blocks=identical, **SMALL)
        head.build([(None, 4, 4, 5)])
        kernels[identical] = [b.expansion.kernel.numpy() for b in head.blocks]

    np.testing.assert_array_equal(*kernels[True])
    assert not np.allclose(*kernels[False])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 7}, "Received: width=16, num_heads=7"),
        ({"num_heads": 16, "positions": "rotary"}, "even head width"),
        ({"positions": "sine"}, "Received: positions='sine'"),
        ({"dropout": 1.0}, "Received: dropout=1.0"),
        ({"num_layers": 0}, "Received: num_layers=0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        layers.GradAttnHead(3, **(SMALL | arguments))


def test_tokens_need_a_list():
    with pytest.raises(ValueError, match="list of feature maps"):
        layers.DepthTokens(8)(np.ones((2, 3, 3, 4), "float32"))
