"""The part of the report on why attention learns slowly."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from studies.markdown import table

_NAMES = {
    "attention": "attention",
    "equal": "equal",
    "static": "static",
    "attention-scale0.1": "attention, query times key / 10",
    "attention-scale10": "attention, query times key x 10",
    "attention-detached": "attention, gradient of query and key stopped",
    "attention-late": "attention, from half of the training on",
    "attention-no-decay": "attention, query weights do not decay",
    "attention-seed2": "attention, seed 2",
    "equal-seed2": "equal, seed 2",
}


def slow_attention_section(folder: pathlib.Path) -> str:
    """Tables of the variants that stand in a folder; empty without any."""
    found = {
        name: json.loads(path.read_text(encoding="utf-8"))
        for name in _NAMES
        if (path := folder / f"slow_attention-{name}.json").exists()
    }
    if not found:
        return ""
    learning = [
        (
            _NAMES[name],
            f"{np.mean(_last_epoch(run)):.3f}",
            f"{100 * run['history']['val_accuracy'][-1]:.2f}",
            f"{run['history']['val_loss'][-1]:.3f}",
            _gradient(run, "stem"),
            _gradient(run, "query"),
        )
        for name, run in found.items()
    ]
    mixing = [
        (
            _NAMES[name],
            *(
                f"{_over_blocks(run, key):.3f}"
                for key in (
                    "entropy_share",
                    "movement",
                    "logit_spread",
                    "logit_spread_over_images",
                    "oldest_share",
                )
            ),
        )
        for name, run in found.items()
        if not name.startswith("equal")
    ]
    first = ("Variant", "Training loss", "Validation, %", "Validation loss")
    second = ("Variant", "Entropy", "Movement", "Spread of logits")
    count = f"{len(found)} of {len(_NAMES)} variants are there."
    return "\n\n".join(
        (
            "## D1. Why does attention learn slowly?",
            "25,600 images at 32 px, 3 epochs, the same order. Training loss is that "
            f"of the last epoch, gradients are means over it. {count}",
            table((*first, "Gradient, stem", "Gradient, query"), learning),
            "The mixing weights after training, mean over blocks. Entropy is a share "
            "of the largest possible; the stem's weight is 1 where all weigh alike.",
            table((*second, "Spread over images", "Weight of the stem"), mixing),
        )
    )


def _last_epoch(run: dict[str, Any]) -> list[float]:
    losses = run["loss_by_window"]
    return losses[-(len(losses) // run["epochs"]) :]


def _gradient(run: dict[str, Any], group: str) -> str:
    norms = run["gradient_norms"].get(group)
    if norms is None:
        return ""
    return f"{np.mean(norms[-(len(norms) // run['epochs']) :]):.3f}"


def _over_blocks(run: dict[str, Any], key: str) -> float:
    return float(
        np.mean([block[key] for block in run["mixing"][-1]["weights"].values()])
    )
