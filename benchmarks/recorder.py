"""What recording gradients and a diagnosis add: to a step, and to the first one.

    python -m benchmarks.recorder jax --output benchmarks/recorder/jax.json

Steps with and without recording share a process; on PyTorch a hook for each parameter,
the usual way, is measured beside them. A diagnosis is measured by whole fits, with all
that it does. The wait for the first step starts in a new process each time, so that
nothing is compiled already; what is checked before training is in it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.works.task import Task, keras_contender

_FIRST = ("first s", "times the first (95 %)", "times the first's CPU time (95 %)")
_TIMES = ("step ms", "times the time (95 %)", "times the CPU time (95 %)")


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=100, steps=1)
    command.add_network(add, size=32)
    add("backend", choices=command.BACKENDS)
    add("--networks", nargs="+", default=["GradAttnV2"], help="see works/networks.py")
    add("--fits", type=int, default=4, help="with a diagnosis and without")
    add("--epochs", type=int, default=4, help="of a fit")
    add("--batches", type=int, default=40, help="of an epoch")
    add("--starts", type=int, default=3, help="of the processes that wait")


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """The step, the fits, then the wait."""
    for network in options.networks:
        yield from _of_network(network, options.backend, options)


def _of_network(network: str, backend: str, options: Any) -> Iterator[Comparison]:
    task = Task(
        network=network,
        size=options.size,
        batch=options.batch,
        arguments=options.arguments,
    )
    hooks = ["hooks"] * (backend == "torch")
    steps = {"columns": _TIMES, "rounds": options.rounds, "steps": options.steps}
    fits = {"rounds": options.fits, "steps": options.epochs * options.batches}
    starts = {"columns": _FIRST, "rounds": 1, "steps": 1, "starts": options.starts}
    for label, parts, work, turns in (
        ("step", ["plain", "recorded", *hooks], "RecordedSteps", steps),
        ("fit", ["plain", "diagnosed"], "Fits", steps | fits),
        ("start", ["plain", "recorded", "diagnosed"], "Fits", starts),
    ):
        settings = {"epochs": 1 if turns is starts else options.epochs}
        contenders = [
            keras_contender(
                part,
                backend,
                task,
                work=f"recorded:{work}",
                part=part,
                is_reference=part == "plain",
                # Processes of their own, where the start is measured.
                parts=[part] if turns is starts else parts,
                **settings if work == "Fits" else {},
            )
            for part in parts
        ]
        yield Comparison(
            f"{label}, {task.title}, {backend}",
            f"{network}, {label}, {backend}",
            contenders,
            # They share the weights and the caches.
            warm_up=0,
            **turns,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
