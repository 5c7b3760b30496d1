"""What each kernel and switch of `keras_gradattn.config` is worth.

    python -m benchmarks.tricks torch --output benchmarks/tricks/torch.json

One process with everything in use, and for each switch one without it. On a machine
that others use as well, one core (`taskset -c 1 python -m ...`) and the ratio of
processor time tell more than the clock.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.works.task import Task, keras_contender

# What `tune_jax_for_cpu` does is two things.
SWITCHES = {
    "jax": ("convolution", "xla_options", "memory_return"),
    "tensorflow": ("convolution",),
    "torch": ("convolution", "memory_layout", "batch_normalization", "adam"),
}
COLUMNS = (
    "step ms",
    "times the time (95 %)",
    "times the CPU time (95 %)",
    "first s",
    "memory MiB (ratio)",
)


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=9, steps=3)
    command.add_network(add, size=28)
    add("backend", choices=SWITCHES)


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """Training without each switch, and on PyTorch inference without its capture."""
    backend = options.backend
    task = Task(size=options.size, batch=options.batch, arguments=options.arguments)
    everything = keras_contender("everything", backend, task, is_reference=True)
    contenders = [everything] + [
        keras_contender(f"without {name}", backend, task, without=[name])
        for name in SWITCHES[backend]
    ]
    label = f"{options.size} px, {backend}"
    settings = {"columns": COLUMNS, "rounds": options.rounds}
    title = f"{task.title}, {backend}"
    yield Comparison(
        title, contenders=contenders, steps=options.steps, label=label, **settings
    )
    if backend == "torch":
        task = replace(task, mode="inference")
        contenders = [
            keras_contender(name, backend, task, capture=capture, is_reference=capture)
            for name, capture in (("captured", True), ("through the layers", False))
        ]
        title = f"{task.title}, {backend}"
        # A network is captured after sixteen passes.
        steps = options.steps + 16
        yield Comparison(
            title,
            contenders=contenders,
            steps=steps,
            label=f"{label}, inference",
            **settings,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
