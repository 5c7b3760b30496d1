"""What version 0.1 saved of its mixing of depths, in today's words."""

from collections.abc import Mapping
from typing import Any

_RENAMED = {"weights": "mixing", "heads": "channel_groups"}
# Arguments of 0.1 that are gone, and the only value of each that is computed still.
_REMOVED: dict[str, Any] = {
    "query": "map",
    "gate": "softmax",
    "top_k": None,
    "logit_cap": None,
    "source_dropout": 0.0,
    "head": "pool",
}
# They were of the seed of `source_dropout` and of `head="gradattn"`.
_WITHOUT_EFFECT = (
    "seed",
    "width",
    "num_heads",
    "feed_forward",
    "num_layers",
    "dropout",
)
# `normalized` and `older_weight` of a network.
_STARTS = {(True, 1.0): "average", (False, 0.05): "residual"}


def is_of_0_1(config: Mapping[str, Any]) -> bool:
    """Whether 0.1 wrote this configuration of a layer or network that mixes depths."""
    return "weights" in config


def layer_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a `DepthMixing` of 0.1 in today's words.

    Args:
        config: What its `get_config` returned in 0.1.

    Returns:
        What `DepthMixing.from_config` takes today.

    Raises:
        ValueError: Naming what is no longer computed.
    """
    today = _renamed(config)
    today["start"] = "average" if today.pop("normalized") else "residual"
    weights = today.pop("prior")
    if weights is not None and set(weights) != {1.0}:
        _refuse_fixed_weights(today, config)
        today["start_weights"] = weights
    return _with_equal_for_prior(today)


def network_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a `GradAttnPathways` of 0.1 in today's words.

    Args:
        config: What its `get_config` returned in 0.1.

    Returns:
        What `GradAttnPathways.from_config` takes today.

    Raises:
        ValueError: Naming what is no longer computed.
    """
    today = _renamed(config)
    start = today.pop("normalized"), today.pop("older_weight")
    if start not in _STARTS:
        raise _removed(normalized=start[0], older_weight=start[1])
    today["start"] = _STARTS[start]
    if today["start"] != "average":
        _refuse_fixed_weights(today, config)
    return _with_equal_for_prior(today)


def _renamed(config: Mapping[str, Any]) -> dict[str, Any]:
    for name, kept in _REMOVED.items():
        if config.get(name, kept) != kept:
            raise _removed(**{name: config[name]})
    gone = {*_REMOVED, *_WITHOUT_EFFECT}
    return {_RENAMED.get(n, n): value for n, value in config.items() if n not in gone}


def _refuse_fixed_weights(today: dict[str, Any], config: Mapping[str, Any]) -> None:
    if today["mixing"] == "prior":
        raise _removed(weights=config["weights"])


def _with_equal_for_prior(today: dict[str, Any]) -> dict[str, Any]:
    """Weights fixed at a start where all are alike are equal weights."""
    return today | {"mixing": "equal"} if today["mixing"] == "prior" else today


def _removed(**arguments: Any) -> ValueError:
    received = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return ValueError(
        "This was saved by keras-gradattn 0.1 with an option that 0.2 removed; load it "
        f"with keras-gradattn 0.1.0. Received: {received}"
    )
