"""What each kernel and switch of `keras_gradattn.config` is worth.

    python -m benchmarks.tricks torch --output benchmarks/tricks/torch.json

One process with everything in use, and for each switch one without it. On a machine
that others use as well, one core (`taskset -c 1 python -m ...`) and the ratio of
processor time tell more than the clock.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.harness.processes import Worker
from benchmarks.works.task import Task, keras_contender

# What `tune_jax_for_cpu` does is two things.
SWITCHES = {
    "jax": ("convolution", "xla_options", "memory_return", "max_pooling"),
    "tensorflow": ("convolution", "batch_normalization", "adam"),
    "torch": ("convolution", "memory_layout", "batch_normalization", "adam"),
}
COLUMNS = (
    "step ms",
    "times the time (95 %)",
    "times the CPU time (95 %)",
    "first s",
    "memory MiB (ratio)",
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command."""
    parser = command.parser(__doc__, rounds=9, steps=3)
    add = parser.add_argument
    add("backend", choices=SWITCHES)
    add("--size", type=int, default=28, help="pixels")
    add("--batch", type=int, default=128)
    add("--arguments", type=json.loads, default={}, help="of the network, as JSON")
    return parser.parse_args(arguments)


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """Training without each switch, and on PyTorch inference without its capture."""
    backend = options.backend
    task = Task(size=options.size, batch=options.batch, arguments=options.arguments)
    everything = keras_contender("everything", backend, task, is_reference=True)
    contenders = [everything] + [
        keras_contender(f"without {name}", backend, task, without=[name])
        for name in SWITCHES[backend]
    ]
    settings = {"columns": COLUMNS, "rounds": options.rounds, "label": backend}
    title = f"{task.title}, {backend}"
    yield Comparison(title, contenders=contenders, steps=options.steps, **settings)
    if backend == "torch":
        task = replace(task, mode="inference")
        contenders = [
            keras_contender(name, backend, task, capture=capture, is_reference=capture)
            for name, capture in (("captured", True), ("through the layers", False))
        ]
        title = f"{task.title}, {backend}"
        # A network is captured after sixteen passes.
        steps = options.steps + 16
        yield Comparison(title, contenders=contenders, steps=steps, **settings)


def main(
    arguments: Sequence[str] | None = None, start: Callable[..., Any] = Worker
) -> None:
    """The command."""
    options = parse(arguments)
    command.run(options, comparisons(options), start)


if __name__ == "__main__":
    main()
