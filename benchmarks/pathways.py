"""Training steps of `GradAttnPathways` beside ResNet-18 and what lies between them.

    python -m benchmarks.pathways jax --output benchmarks/pathways/jax.json

The networks with static and with equal weights have the same maps and sums as the one
with attention: what they save is what attention costs.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.harness.processes import Worker
from benchmarks.works.task import Task, keras_contender

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet18": ("ResNet18", {}),
    "SEResNet18": ("SEResNet18", {}),
    "GradAttnV2": ("GradAttnV2", {}),
    "pathways, equal": ("GradAttnPathways", {"mixing": "equal"}),
    "pathways, static": ("GradAttnPathways", {"mixing": "static"}),
    "pathways, attention": ("GradAttnPathways", {"mixing": "attention"}),
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command."""
    parser = command.parser(__doc__, rounds=10, steps=3)
    add = parser.add_argument
    add("backends", nargs="+", choices=command.BACKENDS)
    add("--size", type=int, default=32, help="pixels")
    add("--batch", type=int, default=128)
    add("--arguments", type=json.loads, default={}, help="of all networks, as JSON")
    return parser.parse_args(arguments)


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


def main(
    arguments: Sequence[str] | None = None, start: Callable[..., Any] = Worker
) -> None:
    """The command."""
    options = parse(arguments)
    command.run(options, comparisons(options), start)


if __name__ == "__main__":
    main()
