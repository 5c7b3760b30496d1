"""Attention and the encoder block against PyTorch and a plain NumPy computation."""

import keras
import numpy as np
import pytest
import torch

from keras_gradattn import layers

WIDTH, HEADS, HIDDEN = 32, 4, 48


def tokens_of(batch=3, length=5):
    values = np.random.default_rng(0).normal(size=(batch, length, WIDTH))
    return values.astype("float32")


def pytorch_encoder_layer(block):
    """`torch.nn.TransformerEncoderLayer` with the block's weights."""
    peer = torch.nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, dropout=0.0, batch_first=True
    )
    attention = block.attention
    inward = (
        attention.query_projection,
        attention.key_projection,
        attention.value_projection,
    )
    state = {
        "self_attn.in_proj_weight": np.concatenate(
            [x.kernel.numpy().T for x in inward]
        ),
        "self_attn.in_proj_bias": np.concatenate([x.bias.numpy() for x in inward]),
    }
    for name, layer in {
        "self_attn.out_proj": attention.output_projection,
        "linear1": block.expansion,
        "linear2": block.contraction,
    }.items():
        state[f"{name}.weight"] = layer.kernel.numpy().T
        state[f"{name}.bias"] = layer.bias.numpy()
    for name, layer in {
        "norm1": block.attention_normalization,
        "norm2": block.feed_forward_normalization,
    }.items():
        state[f"{name}.weight"] = layer.gamma.numpy()
        state[f"{name}.bias"] = layer.beta.numpy()
    peer.load_state_dict({k: torch.tensor(v.copy()) for k, v in state.items()})
    return peer


def test_encoder_block_equals_pytorch():
    block = layers.EncoderBlock(HEADS, HIDDEN, dropout=0.0)
    block.build((None, 5, WIDTH))
    random = np.random.default_rng(1)
    block.set_weights(
        [random.normal(0, 0.3, w.shape).astype("float32") for w in block.weights]
    )
    tokens = tokens_of()

    outputs, attention = block(tokens, return_weights=True)

    peer = pytorch_encoder_layer(block)
    expected = peer(torch.tensor(tokens)).detach().numpy()
    _, weights = peer.self_attn(
        *[torch.tensor(tokens)] * 3, average_attn_weights=False, need_weights=True
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs), expected, atol=2e-5)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(attention), weights.detach().numpy(), atol=1e-5
    )


def test_rotary_attention_equals_numpy():
    layer = layers.MultiHeadSelfAttention(HEADS, rotary=True)
    tokens = tokens_of()
    outputs, attention = layer(tokens, return_weights=True)
    head = WIDTH // HEADS

    def turned(values):
        """Rotate value pairs (i, i + head / 2) by position * 10000^(-2 i / head)."""
        values = values.reshape(3, 5, HEADS, head)
        result = np.empty_like(values)
        for position in range(5):
            for i in range(head // 2):
                angle = position * 10000 ** (-2 * i / head)
                a, b = values[:, position, :, i], values[:, position, :, i + head // 2]
                result[:, position, :, i] = a * np.cos(angle) - b * np.sin(angle)
                result[:, position, :, i + head // 2] = b * np.cos(angle) + a * np.sin(
                    angle
                )
        return result

    query = turned(tokens @ layer.query_projection.kernel.numpy())
    key = turned(tokens @ layer.key_projection.kernel.numpy())
    value = (tokens @ layer.value_projection.kernel.numpy()).reshape(3, 5, HEADS, head)
    scores = np.einsum("bihd,bjhd->bhij", query, key) / np.sqrt(head)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    mixed = np.einsum("bhij,bjhd->bihd", weights, value).reshape(3, 5, WIDTH)
    out = layer.output_projection
    expected = mixed @ out.kernel.numpy() + out.bias.numpy()

    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(attention), weights, atol=1e-5
    )
    np.testing.assert_allclose(keras.ops.convert_to_numpy(outputs), expected, atol=1e-5)


def test_rotary_scores_depend_on_the_distance_only():
    layer = layers.MultiHeadSelfAttention(1, rotary=True)
    same = np.tile(tokens_of(1, 1), (1, 6, 1))

    _, attention = layer(same, return_weights=True)

    # Equal tokens: the score is a function of how far apart two positions are.
    logs = np.log(keras.ops.convert_to_numpy(attention)[0, 0])
    logs -= np.diag(logs)[:, None]
    for distance in range(1, 5):
        spread = np.diagonal(logs, distance)
        np.testing.assert_allclose(spread, spread[0], atol=1e-5)


def test_plain_attention_starts_as_pytorchs():
    layer = layers.MultiHeadSelfAttention(8)
    layer.build((None, 5, 256))

    projections = (layer.query_projection, layer.key_projection, layer.value_projection)
    for projection in projections:
        assert 0.99 * 0.0765466 < np.abs(projection.kernel.numpy()).max() <= 0.0765466
        assert not projection.bias.numpy().any()
    assert 0.99 / 16 < np.abs(layer.output_projection.kernel.numpy()).max() <= 1 / 16
    assert not layer.output_projection.bias.numpy().any()
    assert not np.allclose(projections[0].kernel.numpy(), projections[1].kernel.numpy())


def test_rotary_attention_starts_as_plain_linear_layers():
    layer = layers.MultiHeadSelfAttention(8, rotary=True)
    layer.build((None, 5, 256))

    assert layer.query_projection.bias is None
    for projection in (layer.query_projection, layer.output_projection):
        assert 0.99 / 16 < np.abs(projection.kernel.numpy()).max() <= 1 / 16
    assert 0.9 / 16 < np.abs(layer.output_projection.bias.numpy()).max() <= 1 / 16


def test_rotary_attention_needs_a_known_length():
    with pytest.raises(ValueError, match="static number of tokens"):
        layers.MultiHeadSelfAttention(2, rotary=True).build((None, None, WIDTH))


@pytest.mark.parametrize(
    ("heads", "rotary", "message"),
    [
        (7, False, "Received: width=32, num_heads=7"),
        (32, True, "even head width"),
        (0, False, "Received: num_heads=0"),
    ],
)
def test_bad_arguments(heads, rotary, message):
    with pytest.raises(ValueError, match=message):
        layers.MultiHeadSelfAttention(heads, rotary=rotary).build((None, 5, WIDTH))


@pytest.mark.parametrize("mixing", ["static", "equal"])
def test_controls_weigh_tokens_alike_for_every_input(mixing):
    tokens = np.random.default_rng(0).normal(size=(3, 5, 8)).astype("float32")
    layer = layers.MultiHeadSelfAttention(2, mixing=mixing)
    layer(tokens)
    scores = np.zeros((2, 5, 5), "float32")
    if mixing == "static":
        scores = np.random.default_rng(1).normal(size=(2, 5, 5)).astype("float32")
        layer.scores.assign(scores)

    outputs, attention = layer(tokens, return_weights=True)

    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    values = keras.ops.convert_to_numpy(layer.value_projection(tokens))
    mixed = np.einsum("hij,bjhw->bihw", weights, values.reshape(3, 5, 2, 4))
    expected = layer.output_projection(mixed.reshape(3, 5, 8).astype("float32"))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(attention), np.stack([weights] * 3), rtol=1e-5
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(outputs),
        keras.ops.convert_to_numpy(expected),
        rtol=1e-5,
        atol=1e-6,
    )
    assert not hasattr(layer, "query_projection")


def test_unknown_mixing_is_refused():
    with pytest.raises(ValueError, match="Received: mixing='mean'"):
        layers.MultiHeadSelfAttention(2, mixing="mean")
