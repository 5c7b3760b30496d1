"""How a trained network weighs its depths, as data for the result's JSON."""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn.layers import GradAttnHead
from keras_gradattn.models import (
    DepthWeights,
    GradAttnPathways,
    depth_weights,
    freeze_depth_weights,
)
from keras_gradattn.training.evaluation import evaluate

# Of a head every image has a map for each block, head and depth.
_IMAGES = 2000


def analyze_depth_weights(
    model: keras.Model,
    training: Callable[[], Iterable[Any]],
    test: Iterable[Any],
    from_logits: bool = True,
) -> dict[str, Any]:
    """Mean weights of depths, how far they move with the image, and what that gains.

    Args:
        model: A network.
        training: Makes batches of training images as they are tested, not augmented;
            their mean is what weights are frozen to.
        test: Batches of test images and labels.
        from_logits: Whether the network gives logits, not probabilities.

    Returns:
        `attention` of a network with a `GradAttnHead`, `pathways` of a
        `GradAttnPathways`, nothing of others.
    """
    if isinstance(model, GradAttnPathways):
        return {"pathways": _of_pathways(model, training, test, from_logits)}
    if any(isinstance(layer, GradAttnHead) for layer in model.layers):
        return {"attention": _of_head(model, test)}
    return {}


def _of_head(model: keras.Model, test: Iterable[Any]) -> dict[str, Any]:
    """Maps over the first 2,000 test images or more.

    `mean` is (block, head, to depth, from depth), `movement` (block, head),
    `depth_share` (block, depth) what each depth gives on average over heads and depths,
    and `depth_share_deviation` its standard deviation over images.
    """
    images = np.concatenate(list(_first(test, _IMAGES)))
    weights = depth_weights(model, images)
    depths, (count, _, heads, _) = len(weights.sources), weights.values.shape
    # (image, block, to depth, head, from depth)
    maps = weights.values.reshape(count, -1, depths, heads, depths)
    share = maps.mean(axis=(2, 3))
    return {
        "images": count,
        "stages": list(weights.sources),
        "mean": maps.mean(axis=0).swapaxes(1, 2).tolist(),
        "movement": weights.movement.reshape(-1, depths, heads).mean(axis=1).tolist(),
        "depth_share": share.mean(axis=0).tolist(),
        "depth_share_deviation": share.std(axis=0).tolist(),
    }


def _first(batches: Iterable[Any], count: int) -> Iterable[np.ndarray]:
    seen = 0
    for images, *_ in batches:
        yield np.asarray(keras.ops.convert_to_numpy(images))
        seen += len(images)
        if seen >= count:
            return


def _of_pathways(
    model: keras.Model,
    training: Callable[[], Iterable[Any]],
    test: Iterable[Any],
    from_logits: bool,
) -> dict[str, Any]:
    """Mixing weights over the test images, and accuracy without their movement.

    `mean` is block: source: one number a group of channels, `movement` block: one
    number a group; with attention also `frozen_top1`, the test accuracy of the same
    network with its weights frozen to their mean over the training images.
    """
    weights = depth_weights(model, test)
    content: dict[str, Any] = {
        "mean": {
            target: _by_source(weights, row)
            for row, target in enumerate(weights.targets)
        },
        "movement": dict(zip(weights.targets, weights.movement.tolist(), strict=True)),
    }
    if model.get_config()["mixing"] == "attention":
        frozen = freeze_depth_weights(model, depth_weights(model, training()))
        content["frozen_top1"] = evaluate(frozen, test, from_logits=from_logits).top1
    return content


def _by_source(weights: DepthWeights, row: int) -> dict[str, list[float]]:
    return {
        source: groups.tolist()
        for source, groups in zip(weights.sources, weights.mean[row].T, strict=True)
        # Sources that a target does not have.
        if not np.isnan(groups).any()
    }
