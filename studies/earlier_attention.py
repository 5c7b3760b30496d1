"""What earlier runs on Fashion-MNIST say about how fast attention learns.

    python -m studies.earlier_attention --results FOLDER

Reads the results of pathways networks that were there before this study and writes
`runs-new/earlier_attention.json`: means over seeds of training loss, gradient norm at
the stem and test accuracy, for networks that differ in their mixing weights alone.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
from typing import Any

import numpy as np

from studies.markdown import table

HERE = pathlib.Path(__file__).parent
NAME = "earlier_attention.json"
_STEM = "fashion_mnist-gradattn_pathways-modern-{tag}-seed{seed}.json"
_SEEDS = (1, 2, 42)
# Name in the table -> tag of the results. Within a group only the weights differ.
GROUPS: dict[str, dict[str, str]] = {
    "5,000 images, average start": {
        "fixed": "depth18-normalized-prior-older1",
        "static": "depth18-normalized-static-older1",
        "attention": "depth18-normalized-older1",
    },
    "5,000 images, residual start": {
        "fixed": "depth18-prior",
        "static": "depth18-static",
        "attention": "depth18-attention",
    },
    "49,000 images, residual start": {
        "static": "imagenet_stem-static",
        "attention": "imagenet_stem",
    },
}


def summarize(folder: pathlib.Path) -> list[dict[str, Any]]:
    """One entry for each kind of weights of each group.

    Args:
        folder: With the results.
    """
    entries = []
    for group, tags in GROUPS.items():
        for weights, tag in tags.items():
            paths = [folder / _STEM.format(tag=tag, seed=seed) for seed in _SEEDS]
            runs = [
                json.loads(path.read_text(encoding="utf-8"))
                for path in paths
                if path.exists()
            ]
            if runs:
                entries.append({"group": group, "weights": weights} | _entry(runs))
    return entries


def _entry(runs: list[dict[str, Any]]) -> dict[str, Any]:
    frozen = [run["pathways"].get("frozen_top1") for run in runs]
    return {
        "seeds": [run["configuration"]["seed"] for run in runs],
        "loss_epoch_1": _mean([run["history"][0]["loss"] for run in runs]),
        "loss_epoch_5": _mean([run["history"][4]["loss"] for run in runs]),
        "loss_last": _mean([run["history"][-1]["loss"] for run in runs]),
        "stem_gradient_epoch_5": _mean([_stem_gradient(run, 5) for run in runs]),
        "test_top1": _mean([run["metrics"]["top1"] for run in runs]),
        "frozen_top1": None if None in frozen else _mean(frozen),
    }


def _stem_gradient(run: dict[str, Any], epoch: int) -> float:
    windows = run["gradients"]["training"]["windows"]
    return _mean([w["norm"]["stem"] for w in windows if w["epoch"] == epoch])


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def earlier_section(folder: pathlib.Path) -> str:
    """The part of the report; empty without the summary."""
    path = folder / NAME
    if not path.exists():
        return ""
    rows = [
        (
            f"{entry['group']}: {entry['weights']} ({len(entry['seeds'])})",
            f"{entry['loss_epoch_1']:.3f}",
            f"{entry['loss_epoch_5']:.3f}",
            f"{entry['loss_last']:.3f}",
            f"{entry['stem_gradient_epoch_5']:.3f}",
            f"{100 * entry['test_top1']:.2f}",
            "" if entry["frozen_top1"] is None else f"{100 * entry['frozen_top1']:.2f}",
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]
    header = ("Weights (seeds)", "Loss, epoch 1", "Epoch 5", "Last epoch")
    more = ("Stem's gradient", "Test, %", "Weights frozen, %")
    return "\n\n".join(
        (
            "## Earlier runs: Fashion-MNIST",
            "Training loss and gradient of networks that differ in their weights "
            "alone, means over seeds. These runs were there before the protocol: they "
            "suggest, they do not decide.",
            table((*header, *more), rows),
        )
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the summary."""
    parser = argparse.ArgumentParser(prog="python -m studies.earlier_attention")
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=HERE / "runs-new" / NAME)
    options = parser.parse_args(arguments)
    content = json.dumps(summarize(options.results), indent=1)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(content, encoding="utf-8")
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
