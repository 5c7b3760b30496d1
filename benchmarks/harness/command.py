"""The command line that all benchmarks share."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.harness.comparison import measure
from benchmarks.harness.machine import describe_machine, machine_line
from benchmarks.harness.processes import Worker
from benchmarks.harness.table import table

BACKENDS = ("jax", "tensorflow", "torch")


def main(
    benchmark: ModuleType | Any,
    arguments: Sequence[str] | None = None,
    start: Callable[..., Any] = Worker,
) -> None:
    """Measure the tables of a benchmark one after another, print them, write JSON.

    Args:
        benchmark: Module with a docstring, `add_options(add)` and
            `comparisons(options)`, which gives each table once the one before has been
            measured.
        arguments: Of the command line.
        start: Makes a worker.
    """
    options = parse(benchmark, arguments)
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {text}", flush=True)

    results: list[dict[str, Any]] = []
    report = {
        "machine": describe_machine(),
        "options": vars(options),
        "results": results,
    }
    print(machine_line(report["machine"]), flush=True)
    for comparison in benchmark.comparisons(options):
        say(comparison.title)
        results.append(measure(comparison, say, start))
        print(f"\n{comparison.title}\n\n{table(results[-1:])}\n", flush=True)
        if options.output:
            # After every table: a long run that is stopped keeps what it has.
            options.output.parent.mkdir(parents=True, exist_ok=True)
            options.output.write_text(json.dumps(report, indent=1, default=str) + "\n")


def parse(
    benchmark: ModuleType | Any, arguments: Sequence[str] | None
) -> argparse.Namespace:
    """The options of a benchmark, and where its JSON goes."""
    parser = argparse.ArgumentParser(
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmark.add_options(parser.add_argument)
    parser.add_argument("--output", type=Path, help="where to write the JSON")
    return parser.parse_args(arguments)


def add_turns(add: Callable[..., Any], rounds: int, steps: int) -> None:
    """How often everybody has a turn, and how long it is."""
    add("--rounds", type=int, default=rounds, help="turns of each contender")
    add("--steps", type=int, default=steps, help="that count in a turn")


def add_network(add: Callable[..., Any], size: int) -> None:
    """What the network sees, and its further arguments."""
    add("--size", type=int, default=size, help="pixels")
    add("--batch", type=int, default=128, help="images")
    add("--arguments", type=json.loads, default={}, help="of the network, as JSON")
