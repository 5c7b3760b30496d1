"""What recording gradients and a diagnosis add: to a step, and to the first one.

    python -m benchmarks.recorder jax --output benchmarks/recorder/jax.json

Steps with and without recording share a process; on PyTorch a hook for each parameter,
the usual way, is measured beside them. A diagnosis is measured by epochs of `fit`, with
all that it does. The wait for the first step starts in a new process each time, so that
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
    add("--epochs", type=int, default=8, help="with a diagnosis and without")
    add("--batches", type=int, default=50, help="of an epoch")
    add("--starts", type=int, default=3, help="of the processes that wait")


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """The step, the epochs, then the wait."""
    for network in options.networks:
        yield from _of_network(network, options)


def _of_network(network: str, options: argparse.Namespace) -> Iterator[Comparison]:
    backend = options.backend
    task = Task(
        network=network,
        size=options.size,
        batch=options.batch,
        arguments=options.arguments,
    )
    hooks = ["hooks"] * (backend == "torch")
    for label, parts, work, settings in (
        ("step", ["plain", "recorded", *hooks], "RecordedSteps", {}),
        ("epoch", ["plain", "diagnosed"], "Epochs", {"parts": ["plain", "diagnosed"]}),
        ("start", ["plain", "recorded", "diagnosed"], "Epochs", None),
    ):
        starts = settings is None
        yield Comparison(
            title=f"{label}, {task.title}, {backend}",
            label=f"{network}, {label}, {backend}",
            contenders=[
                keras_contender(
                    part,
                    backend,
                    task,
                    work=f"recorded:{work}",
                    part=part,
                    is_reference=part == "plain",
                    # Processes of their own, where the start is measured.
                    **({"parts": [part]} if starts else settings),
                )
                for part in parts
            ],
            columns=_FIRST if starts else _TIMES,
            rounds={"step": options.rounds, "epoch": options.epochs}.get(label, 1),
            steps={"step": options.steps, "epoch": options.batches}.get(label, 1),
            # They share the weights and the caches.
            warm_up=0,
            starts=options.starts if starts else 1,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
