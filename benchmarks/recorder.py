"""What recording gradients adds: to a step, and to the wait for the first one.

    python -m benchmarks.recorder jax --output benchmarks/recorder/jax.json

Steps with and without recording share a process; on PyTorch the usual way, a hook for
each parameter, is measured beside them. The wait is that of `fit` on a deep network of
dense layers. It starts in a new process each time, so that nothing is compiled already.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison, Contender
from benchmarks.works.task import Task, keras_contender


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=100, steps=1)
    command.add_network(add, size=32)
    add("backend", choices=command.BACKENDS)
    add("--network", default="GradAttnV2")
    add("--starts", type=int, default=3, help="of the processes that wait")
    add("--layers", type=int, default=200, help="of the dense network")


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """The step, then the wait."""
    task = Task(
        network=options.network,
        size=options.size,
        batch=options.batch,
        arguments=options.arguments,
    )
    work = "recorded:RecordedSteps"
    parts = ["plain", "recorded"] + ["hooks"] * (options.backend == "torch")
    yield Comparison(
        title=f"{task.title}, {options.backend}",
        label=f"step, {options.backend}",
        contenders=[
            keras_contender(
                part,
                options.backend,
                task,
                work=work,
                part=part,
                is_reference=part == "plain",
            )
            for part in parts
        ],
        columns=("step ms", "times the time (95 %)", "times the CPU time (95 %)"),
        rounds=options.rounds,
        steps=options.steps,
        # They share the weights and the caches.
        warm_up=0,
    )
    yield Comparison(
        title=f"fit, {options.layers} dense layers, {options.backend}",
        label=f"fit, {options.backend}",
        contenders=[
            Contender(
                name,
                "benchmarks.works.recorded:Fits",
                options.backend,
                {"layers": options.layers, "recorded": name == "recorded"},
                is_reference=name == "plain",
            )
            for name in ("plain", "recorded")
        ],
        columns=(
            "first s",
            "times the first (95 %)",
            "times the first's CPU time (95 %)",
            "step ms",
            "times the time (95 %)",
        ),
        rounds=1,
        steps=1,
        warm_up=0,
        starts=options.starts,
    )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
