"""Time and memory of training and inference steps, beside plain PyTorch.

    python -m benchmarks.steps jax --sizes 28 32
    python -m benchmarks.steps jax torch --mode inference --rounds 8 --steps 10

On a machine with a CUDA accelerator the same command runs there.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.works.task import (
    MODES,
    PRECISIONS,
    Task,
    keras_contender,
    torch_contender,
)

NETWORKS = ("GradAttnV1", "ResNet18")
PEERS = ("eager", "fused-adam", "compile")


def add_options(add: Callable[..., Any]) -> None:
    """Of the command."""
    command.add_turns(add, rounds=8, steps=3)
    add("backends", nargs="+", choices=command.BACKENDS)
    add("--networks", nargs="+", choices=NETWORKS, default=["GradAttnV1"])
    add("--sizes", nargs="+", type=int, default=[28, 32], help="pixels")
    add("--batch", nargs="+", type=int, default=[128], help="images")
    add("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    add("--mode", choices=MODES, default="training")
    add("--peers", nargs="+", choices=PEERS, default=["eager"])
    add("--arguments", type=json.loads, default={}, help="of the networks, as JSON")


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """A table for each network, precision, batch and size."""
    tables = itertools.product(
        options.networks, options.precision, options.batch, options.sizes
    )
    for network, precision, batch, size in tables:
        task = Task(
            network=network,
            size=size,
            batch=batch,
            precision=precision,
            mode=options.mode,
            arguments=options.arguments,
        )
        ours = [
            keras_contender(f"keras {backend}", backend, task)
            for backend in options.backends
        ]
        peers = [
            torch_contender(how, channels_last, task)
            for how in options.peers
            for channels_last in (False, True)
        ]
        yield Comparison(
            title=task.title,
            label=f"{size} px",
            contenders=ours + peers,
            columns=(
                "step ms",
                "reference ms",
                "times as fast (95 %)",
                "first s",
                "memory MiB (ratio)",
            ),
            rounds=options.rounds,
            steps=options.steps,
        )


if __name__ == "__main__":
    command.main(sys.modules[__name__])
