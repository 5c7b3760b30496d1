"""Dropout: the share, the scale, and the same mask for the same seed."""

import keras
import numpy as np

from keras_gradattn.layers._dropout import Dropout

ONES = np.ones((200, 50, 10), "float32")


def test_share_and_scale():
    dropped = keras.ops.convert_to_numpy(Dropout(0.1, seed=3)(ONES, training=True))

    kept = dropped != 0
    # Ten standard deviations of 100,000 draws.
    assert abs(kept.mean() - 0.9) < 10 * (0.1 * 0.9 / ONES.size) ** 0.5
    np.testing.assert_allclose(dropped[kept], 1 / 0.9, rtol=1e-6)
    # No row, column or channel is treated as one.
    for axes in ((0, 1), (0, 2), (1, 2)):
        assert 0.7 < kept.mean(axes).min() < kept.mean(axes).max() < 1


def test_calls_differ_and_seeds_repeat():
    first, second = Dropout(0.5, seed=3), Dropout(0.5, seed=3)

    masks = [
        keras.ops.convert_to_numpy(layer(ONES, training=True))
        for layer in (first, first, second, second)
    ]

    np.testing.assert_array_equal(masks[0], masks[2])
    np.testing.assert_array_equal(masks[1], masks[3])
    assert (masks[0] != masks[1]).mean() > 0.45


def test_nothing_happens_at_inference():
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(Dropout(0.5)(ONES, training=False)), ONES
    )
