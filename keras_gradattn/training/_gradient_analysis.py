"""The published gradient analysis of a trained network, and what it should have been.

As data for the result's JSON; the measuring is done by `keras_gradattn.gradients`.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_gradattn.gradients.gradient_flow import (
    GradientFlow,
    analyze_gradient_flow,
    default_layers,
)
from keras_gradattn.gradients.output_taps import unique_names
from keras_gradattn.paper.published_analysis import hooked_modules

_BATCHES = 20
_VANISHING, _EXPLODING = 1e-6, 10.0


def analyze_gradients(model: keras.Model, batches: Iterable) -> dict[str, Any]:
    """Gradients of layer outputs over 20 batches in training mode.

    Args:
        model: A compiled network of this package.
        batches: Batches of the test set, as in the published analysis.

    Returns:
        `published` (the released measure over the released selection of modules, with
        its health score) and `layers` (one entry for each layer with a kernel and
        each ReLU, with measures that can be compared across layers, and its health).
    """
    own = default_layers(model)
    modules = hooked_modules(model)
    seen = set(map(id, own))
    layers = [*own, *(m for m in modules.values() if id(m) not in seen)]
    flow = analyze_gradient_flow(model, batches, batches=_BATCHES, layers=layers)
    names = unique_names(model)
    return {
        "batches": len(flow.losses),
        "published": _published(
            model, flow, {k: names[id(v)] for k, v in modules.items()}
        ),
        **_by_layer(
            flow,
            {names[id(layer)] for layer in own},
            list(dict.fromkeys(model.depth_groups().values())),
        ),
    }


def _published(
    model: keras.Model, flow: GradientFlow, tap_of_module: dict[str, str]
) -> dict[str, Any]:
    norm_of_tap = dict(zip(flow.layers, flow.mean("norm"), strict=True))
    norms = {
        module: float(norm_of_tap[tap])
        for module, tap in tap_of_module.items()
        if tap in norm_of_tap
    }
    values = np.array(list(norms.values()))
    # One hook of each encoder layer never fires, and counts as unhealthy.
    head = next((layer for layer in model.layers if layer.name == "head"), None)
    registered = len(norms) + (head.num_layers if head is not None else 0)
    healthy = int(((values > _VANISHING) & (values < _EXPLODING)).sum())
    return {
        "norms": norms,
        "registered": registered,
        "measured": len(norms),
        "vanishing": int((values < _VANISHING).sum()),
        "exploding": int((values > _EXPLODING).sum()),
        "exactly_zero": int((values == 0).sum()),
        "health_percent": 100 * healthy / registered,
        "mean_norm": float(values.mean()),
    }


def _by_layer(flow: GradientFlow, own: set[str], depth: list[str]) -> dict[str, Any]:
    lines = [
        {key: _finite(value) for key, value in line.items()}
        for line in flow.to_dict()["layers"]
        # A layer that is called twice has a line for each call: "name (call 2)".
        if line["layer"].split(" (call ")[0] in own
    ]
    for line in lines:
        # Layers without weights have no depth group; their names begin with it.
        if line["group"] not in depth:
            line["group"] = next(g for g in depth if line["layer"].startswith(g))
    alive = [line for line in lines if not line["dead"]]
    healthy = [line for line in alive if _VANISHING < line["norm"] < _EXPLODING]
    return {
        "layers": lines,
        "dead": len(lines) - len(alive),
        "health_percent": 100 * len(healthy) / len(lines),
        "decay_per_depth": _finite(flow.decay_per_depth()),
    }


def _finite(value: Any) -> Any:
    # JSON has no NaN: a dead-ReLU share exists for ReLUs only.
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
