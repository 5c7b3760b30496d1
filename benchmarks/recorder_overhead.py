"""What recording gradients adds to a training step.

    python -m benchmarks.recorder_overhead torch --output benchmarks/recorder/step.json

On PyTorch the usual way, a hook for each parameter, is measured beside it.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.harness.processes import Worker
from benchmarks.works.task import Task, keras_contender


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command."""
    parser = command.parser(__doc__, rounds=100, steps=1)
    add = parser.add_argument
    add("backends", nargs="+", choices=command.BACKENDS)
    add("--network", default="GradAttnV2")
    add("--size", type=int, default=32, help="pixels")
    add("--batch", type=int, default=128)
    add("--arguments", type=json.loads, default={}, help="of the network, as JSON")
    return parser.parse_args(arguments)


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """A table for each backend."""
    task = Task(
        network=options.network,
        size=options.size,
        batch=options.batch,
        arguments=options.arguments,
    )
    for backend in options.backends:
        parts = ["plain", "recorded"] + ["hooks"] * (backend == "torch")
        yield Comparison(
            title=f"{task.title}, {backend}",
            label=backend,
            contenders=[
                keras_contender(
                    part,
                    backend,
                    task,
                    work="recorded_steps:RecordedSteps",
                    part=part,
                    is_reference=part == "plain",
                )
                for part in parts
            ],
            columns=("step ms", "times the time (95 %)", "times the CPU time (95 %)"),
            rounds=options.rounds,
            steps=options.steps,
            # They share a process, its weights and its caches.
            warm_up=0,
        )


def main(
    arguments: Sequence[str] | None = None, start: Callable[..., Any] = Worker
) -> None:
    """The command."""
    options = parse(arguments)
    command.run(options, comparisons(options), start)


if __name__ == "__main__":
    main()
