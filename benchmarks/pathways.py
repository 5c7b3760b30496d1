"""Training steps of `GradAttnPathways` beside ResNet-18 and what lies between them.

    python -m benchmarks.pathways jax --output benchmarks/pathways/jax.json

The networks with static and with equal weights have the same maps and sums as the one
with attention: what they save is what attention costs.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.works.task import Task, keras_contender

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet18": ("ResNet18", {}),
    "SEResNet18": ("SEResNet18", {}),
    "GradAttnV2": ("GradAttnV2", {}),
    "pathways, equal": ("GradAttnPathways", {"mixing": "equal"}),
    "pathways, static": ("GradAttnPathways", {"mixing": "static"}),
    "pathways, attention": ("GradAttnPathways", {"mixing": "attention"}),
}


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=10, steps=3)
    command.add_network(add, size=32)
    add("backends", nargs="+", choices=command.BACKENDS)


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """A table for each backend."""
    for backend in options.backends:
        contenders = [
            keras_contender(
                name,
                backend,
                Task(
                    network=network,
                    size=options.size,
                    batch=options.batch,
                    arguments=options.arguments | arguments,
                ),
                is_reference=name == "ResNet18",
            )
            for name, (network, arguments) in NETWORKS.items()
        ]
        yield Comparison(
            title=f"training, {backend}, {options.size} px, batch {options.batch}",
            label=backend,
            contenders=contenders,
            columns=(
                "parameters",
                "step ms",
                "times the time (95 %)",
                "first s",
                "memory MiB (ratio)",
            ),
            rounds=options.rounds,
            steps=options.steps,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
