"""How a trained network weighs its depths, and whether the input changes it."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_gradattn.layers import GradAttnHead
from keras_gradattn.models import depth_weights

_IMAGES = 2000


def analyze_attention(model: keras.Model, batches: Iterable) -> dict[str, Any] | None:
    """Mean attention maps over depth, and how far they move with the input.

    The distance of an image's map from the mean map is the total variation, half the
    sum of absolute differences of a row: the share of attention that is elsewhere. 0
    is a fixed weighing, 1 a wholly different one.

    Args:
        model: A network of this package.
        batches: Batches of the test set; the first 2,000 images or more are used.

    Returns:
        `None` without a `GradAttnHead`. Else `images`, `stages`, `mean` (block, heads,
        depth, depth), `movement` (block, heads): the mean distance of an image's map
        from the mean map, `depth_share` (block, depth): what each depth gives on
        average over heads and depths, and `depth_share_deviation`: its standard
        deviation over images.
    """
    if not any(isinstance(layer, GradAttnHead) for layer in model.layers):
        return None
    chosen: list[np.ndarray] = []
    for images, *_ in batches:
        chosen.append(ops.convert_to_numpy(images))
        if sum(map(len, chosen)) >= _IMAGES:
            break
    seen = sum(map(len, chosen))
    values = depth_weights(model, np.concatenate(chosen), len(chosen[0])).values
    heads, depths = values.shape[2:]
    # (block, image, head, to depth, from depth)
    every = values.reshape(seen, -1, depths, heads, depths).transpose(1, 0, 3, 2, 4)
    mean = every.mean(1, keepdims=True)
    distance = np.abs(every - mean).sum(-1) / 2
    share = every.mean((2, 3))
    return {
        "images": seen,
        "stages": list(model.stage_features),
        "mean": mean[:, 0].tolist(),
        "movement": distance.mean((1, 3)).tolist(),
        "depth_share": share.mean(1).tolist(),
        "depth_share_deviation": share.std(1).tolist(),
    }
