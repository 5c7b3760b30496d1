"""How much longer `fit` takes with a recorder: the first one, which compiles, and later.

    python -m benchmarks.recorder_wait jax --output benchmarks/recorder/wait.json

Every first `fit` is in a process of its own, so that nothing is compiled already.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.harness import command
from benchmarks.harness.comparison import Comparison, Contender
from benchmarks.harness.processes import Worker


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command."""
    parser = command.parser(__doc__, starts=3)
    add = parser.add_argument
    add("backends", nargs="+", choices=command.BACKENDS)
    add("--layers", type=int, default=200, help="dense layers of the network")
    add("--width", type=int, default=64, help="of each layer")
    return parser.parse_args(arguments)


def comparisons(options: argparse.Namespace) -> Iterator[Comparison]:
    """A table for each backend."""
    for backend in options.backends:
        yield Comparison(
            title=f"{options.layers} dense layers of {options.width}, {backend}",
            label=backend,
            contenders=[
                Contender(
                    name,
                    "benchmarks.works.fits:Fits",
                    backend,
                    {
                        "layers": options.layers,
                        "width": options.width,
                        "recorded": name == "recorded",
                    },
                    is_reference=name == "plain",
                )
                for name in ("plain", "recorded")
            ],
            columns=(
                "first s",
                "times the first (95 %)",
                "times the first's CPU time (95 %)",
                "seconds",
                "times the time (95 %)",
            ),
            rounds=1,
            steps=1,
            warm_up=0,
            starts=options.starts,
        )


def main(
    arguments: Sequence[str] | None = None, start: Callable[..., Any] = Worker
) -> None:
    """The command."""
    options = parse(arguments)
    command.run(options, comparisons(options), start)


if __name__ == "__main__":
    main()
