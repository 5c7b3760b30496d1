"""What of a run goes into its JSON: columns, rounded, on few lines."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

# Significant digits: of a trace that is looked at, and of a figure that is tabulated
# (float32 has no more).
_TRACE, _FIGURE = 5, 7
_HISTORY = {
    "epoch": _FIGURE,
    "steps": _FIGURE,
    "loss": _FIGURE,
    "accuracy": _FIGURE,
    "val_loss": _FIGURE,
    "val_accuracy": _FIGURE,
    "learning_rate": _TRACE,
    "gradient_norm": _TRACE,
    "seconds": _TRACE,
}
_LAYERS = ("layer", "norm", "rms")
_LINE = 88


def reduced(content: Mapping[str, Any]) -> dict[str, Any]:
    """A run's content with its traces as columns, rounded.

    Args:
        content: What a run measured: `history` as one dictionary an epoch, the states
            of `WeightNorms` and `GradientHistory`, the lines of `analyze_gradients`;
            all else is kept as it is.

    Returns:
        The content of the JSON, as `studies/FORMAT.md` describes it; what a network
        does not have (`None`) is left out. Metrics stay exact.
    """
    gradients = content["gradients"]
    changed: dict[str, Any] = {
        "history": _columns(content["history"], _HISTORY),
        "weight_norms": rounded(content["weight_norms"], _TRACE),
        "gradients": {
            "training": _windows(gradients["training"]),
        },
    }
    # A network that it could not be measured of has none.
    if (test := gradients["test"]) is not None:
        layers = _columns(test["layers"], dict.fromkeys(_LAYERS, _TRACE))
        changed["gradients"]["test"] = {**rounded(test, _FIGURE), "layers": layers}
    for name in ("attention", "pathways", "published_analysis"):
        if content.get(name) is not None:
            changed[name] = rounded(content[name], _FIGURE)
    whole = {**content, **changed}
    return {name: value for name, value in whole.items() if value is not None}


def rounded(value: Any, digits: int) -> Any:
    """The value with every float inside rounded to so many significant digits."""
    if isinstance(value, Mapping):
        return {name: rounded(item, digits) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item, digits) for item in value]
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{digits}g}")
    return value


def to_json(content: Any, indent: str = "") -> str:
    """JSON on few lines: a list of numbers stands on one, and so does what fits."""
    flat = json.dumps(content, allow_nan=False)
    nested = content.values() if isinstance(content, Mapping) else content
    if len(indent) + len(flat) <= _LINE or not _is_nested(content, nested):
        return flat
    deeper = indent + " "
    if isinstance(content, Mapping):
        items = [f"{json.dumps(k)}: {to_json(v, deeper)}" for k, v in content.items()]
    else:
        items = [to_json(item, deeper) for item in content]
    left, right = "{}" if isinstance(content, Mapping) else "[]"
    lines = f",\n{deeper}".join(items)
    return f"{left}\n{deeper}{lines}\n{indent}{right}"


def _is_nested(content: Any, items: Iterable[Any]) -> bool:
    if isinstance(content, Mapping):
        return True
    return isinstance(content, list) and any(isinstance(i, dict | list) for i in items)


def _columns(
    lines: Iterable[Mapping[str, Any]], digits: Mapping[str, int]
) -> dict[str, list[Any]]:
    """The named entries of all lines, one list each; names that no line has are out."""
    lines = list(lines)
    return {
        name: [rounded(line.get(name), count) for line in lines]
        for name, count in digits.items()
        if any(name in line for line in lines)
    }


def _windows(state: Mapping[str, Any]) -> dict[str, Any]:
    windows = state["windows"]
    return {
        "kernels": dict(state["kernels"]),
        "step": [window["step"] for window in windows],
        **{
            measure: {
                group: [
                    rounded(window[measure].get(group), _TRACE) for window in windows
                ]
                for group in state["kernels"]
            }
            for measure in ("rms", "dead")
        },
        # By name at the end alone: how many there were on the way stands above.
        "dead_kernels": list(windows[-1]["dead_kernels"]) if windows else [],
    }
