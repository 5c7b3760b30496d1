"""The command line that all benchmarks share."""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.harness.comparison import Comparison, measure
from benchmarks.harness.machine import describe_machine, machine_line
from benchmarks.harness.processes import Worker
from benchmarks.harness.table import table

BACKENDS = ("jax", "tensorflow", "torch")


def parser(description: str | None, **defaults: int) -> argparse.ArgumentParser:
    """The options of every benchmark.

    Args:
        description: The module's docstring.
        **defaults: Of `rounds` and `steps`, or of `starts`.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in defaults.items():
        meaning = {
            "rounds": "turns of each contender",
            "steps": "that count in a turn",
            "starts": "of every process",
        }[name]
        made.add_argument(f"--{name}", type=int, default=default, help=meaning)
    made.add_argument("--output", type=Path, help="where to write the JSON")
    return made


def run(
    options: argparse.Namespace,
    comparisons: Iterable[Comparison],
    start: Callable[..., Any] = Worker,
) -> dict[str, Any]:
    """Measure one table after another, print each, and write the JSON.

    Args:
        options: Of the command.
        comparisons: Made one at a time, each when the one before has been measured.
        start: Makes a worker.

    Returns:
        What the JSON holds.
    """
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
    for comparison in comparisons:
        say(comparison.title)
        results.append(measure(comparison, say, start))
        print(f"\n{comparison.title}\n\n{table(results[-1:])}\n", flush=True)
        if options.output:
            # After every table: a long run that is stopped keeps what it has.
            options.output.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=1, default=str)
            options.output.write_text(text + "\n", "utf-8")
    return report
