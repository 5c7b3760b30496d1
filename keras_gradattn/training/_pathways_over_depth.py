"""What the mixing weights of a trained pathways network do, and what they are worth."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn.models import (
    GradAttnPathways,
    depth_weights,
    freeze_depth_weights,
)
from keras_gradattn.training.evaluation import evaluate


def analyze_pathways(
    model: keras.Model, training: Iterable, test: Iterable
) -> dict[str, Any] | None:
    """Mixing weights over the test images, and accuracy without their movement.

    Args:
        model: A network of this package that gives logits.
        training: Batches of training images as they are tested, not augmented; their
            mean is what the weights are frozen to.
        test: Batches of test images and labels.

    Returns:
        `None` for other networks. Else `mean` (block: source: one number a head) and
        `movement` (block: one number a head, as in `DepthWeights`), over the test
        images; with attention also `frozen_top1`, the test accuracy of the same
        network with its weights frozen to their mean over the training images.
    """
    if not isinstance(model, GradAttnPathways):
        return None
    weights = depth_weights(model, test)
    content: dict[str, Any] = {
        "mean": {
            block: {
                source: heads.tolist()
                for source, heads in zip(weights.sources, by_source.T, strict=True)
                # Sources that a block does not have.
                if not np.isnan(heads).any()
            }
            for block, by_source in zip(weights.targets, weights.mean, strict=True)
        },
        "movement": dict(zip(weights.targets, weights.movement.tolist(), strict=True)),
    }
    if model.get_config()["mixing"] == "attention":
        frozen = freeze_depth_weights(model, depth_weights(model, training))
        content["frozen_top1"] = evaluate(frozen, test, from_logits=True).top1
    return content
