"""Time and memory of training and inference steps, beside plain PyTorch.

    python -m benchmarks.steps jax --sizes 28 32
    python -m benchmarks.steps jax torch --mode inference --rounds 8 --steps 10

On a machine with a CUDA accelerator the same command runs there.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison
from benchmarks.harness.processes import Worker
from benchmarks.works.task import (
    MODES,
    PRECISIONS,
    Task,
    keras_contender,
    torch_contender,
)

NETWORKS = (
    "GradAttnV1",
    "GradAttnV2",
    "GradAttnV3",
    "ResNet18",
    "SEResNet18",
    "CBAMResNet18",
)
PEERS = ("eager", "fused-adam", "compile")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command."""
    parser = command.parser(__doc__, rounds=8, steps=3)
    add = parser.add_argument
    add("backends", nargs="+", choices=command.BACKENDS)
    add("--networks", nargs="+", choices=NETWORKS, default=["GradAttnV1"])
    add("--sizes", nargs="+", type=int, default=[28, 32], help="pixels")
    add("--batch", nargs="+", type=int, default=[128])
    add("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    add("--mode", choices=MODES, default="training")
    add("--peers", nargs="+", choices=PEERS, default=["eager"])
    add("--capture", action="store_true", help="PyTorch's inference through Keras")
    add("--arguments", type=json.loads, default={}, help="of the networks, as JSON")
    return parser.parse_args(arguments)


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
            keras_contender(f"keras {backend}", backend, task, capture=options.capture)
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


def main(
    arguments: Sequence[str] | None = None, start: Callable[..., Any] = Worker
) -> None:
    """The command."""
    options = parse(arguments)
    command.run(options, comparisons(options), start)


if __name__ == "__main__":
    main()
