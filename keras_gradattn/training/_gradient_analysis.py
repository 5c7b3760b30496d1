"""Gradients of a trained network's layer outputs, as data for the result's JSON."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn.gradients.gradient_flow import analyze_gradient_flow

_BATCHES = 20


def analyze_gradients(model: keras.Model, batches: Iterable[Any]) -> dict[str, Any]:
    """Gradients of layer outputs over 20 batches in training mode.

    Args:
        model: A compiled network.
        batches: Batches of the test set.

    Returns:
        `layers` (one entry for each layer with a kernel and each ReLU, with measures
        that can be compared across layers), how many of them are `dead`, the
        `health_percent` and the `decay_per_depth`.
    """
    flow = analyze_gradient_flow(model, batches, batches=_BATCHES)
    lines = [
        {key: _finite(value) for key, value in line.items()}
        for line in flow.to_dict()["layers"]
    ]
    return {
        "batches": len(flow.losses),
        "layers": lines,
        "dead": int(flow.dead.sum()),
        "health_percent": 100 * flow.health(),
        "decay_per_depth": _finite(flow.decay_per_depth()),
    }


def _finite(value: Any) -> Any:
    # JSON has no NaN: a dead-ReLU share exists for ReLUs only.
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
