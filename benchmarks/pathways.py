"""Training steps of `GradAttnPathways` beside ResNet-18 and what lies between them.

On one backend, in turns as `benchmarks.steps` has them. The networks with static and
with equal weights have the same maps and sums, so what they save is what attention
costs. Prints a table and writes JSON:

    python -m benchmarks.pathways --backend jax --output benchmarks/pathways/jax.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.contenders import BACKENDS, Contender, Task
from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.processes import workers
from benchmarks.speed.ratios import speed_ratio
from benchmarks.speed.turns import alternate

REFERENCE = "ResNet18"
NETWORKS = {
    REFERENCE: ("ResNet18", {}),
    "SEResNet18": ("SEResNet18", {}),
    "GradAttnV2": ("GradAttnV2", {}),
    "pathways, equal": ("GradAttnPathways", {"mixing": "equal"}),
    "pathways, static": ("GradAttnPathways", {"mixing": "static"}),
    "pathways, attention": ("GradAttnPathways", {"mixing": "attention"}),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--backend", choices=BACKENDS, default="jax")
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    add("--size", type=int, default=32, help="pixels")
    add("--channels", type=int, default=1)
    add("--batch", type=int, default=128)
    add("--rounds", type=int, default=10, help="turns of each network")
    add("--steps-per-round", type=int, default=3)
    add(
        "--arguments",
        type=json.loads,
        default={},
        metavar="JSON",
        help="more arguments of all networks",
    )
    add("--output", type=Path, help="where to write the JSON")
    options = parser.parse_args(arguments)
    if REFERENCE not in options.networks:
        parser.error(f"--networks must contain {REFERENCE}, which the others' time is "
                     "told in")  # fmt: skip
    return options


def contenders(options: argparse.Namespace) -> list[Contender]:
    """One of each network."""
    return [
        Contender(
            name, "keras", options.backend, network=network, arguments=dict(arguments)
        )
        for name in options.networks
        for network, arguments in [NETWORKS[name]]
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Every network's figures by name."""
    task = Task(
        network=REFERENCE,
        size=options.size,
        channels=options.channels,
        batch=options.batch,
        arguments=options.arguments,
    )
    with workers(contenders(options), task, print) as (ready, failed):
        if failed:
            raise RuntimeError(f"These could not be measured: {failed}")
        seconds = alternate(
            [worker.seconds_per_step for worker in ready],
            options.rounds,
            options.steps_per_round,
        )
        figures = {
            worker.contender.name: {
                "seconds_per_step": own,
                **worker.start,
                **worker.finish(),
            }
            for worker, own in zip(ready, seconds, strict=True)
        }
    reference = figures[REFERENCE]["seconds_per_step"]
    for values in figures.values():
        # Upside down: how many times the reference's time a step takes.
        ratio = speed_ratio(values["seconds_per_step"], reference)
        values["times_the_time"] = ratio._asdict()
    return figures


def table(figures: dict[str, dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        "| | parameters | step ms | times ResNet18's (95 %) "
        "| compile + first step s | memory MiB |",
        "|---" + 5 * "|--:" + "|",
    ]
    for name, values in figures.items():
        ratio = values["times_the_time"]
        memory = values["peak_growth"]
        cells = [
            name,
            f"{values['parameters']:,}",
            f"{1e3 * np.median(values['seconds_per_step']):.1f}",
            f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})",
            f"{values['compile_and_first_step_seconds']:.1f}",
            "" if memory is None else f"{memory / 2**20:,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    machine = describe_machine()
    print(machine_line(machine), flush=True)
    figures = measure(options)
    print(
        f"\nTraining, {options.backend}, {options.size} px, batch {options.batch}\n\n"
        f"{table(figures)}"
    )
    if options.output:
        report = {"machine": machine, "options": vars(options), "networks": figures}
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
