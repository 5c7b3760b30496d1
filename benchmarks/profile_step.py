"""What a training step's time goes to: stem, stages, head, update, on each backend.

python -m benchmarks.profile_step            V1, 28 px, batch 128; about 6 minutes
python -m benchmarks.profile_step --size 64 --contenders jax pytorch
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import (
    BACKENDS,
    NETWORKS,
    PEERS,
    Task,
    ours,
    stock,
)
from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.parts import STEP
from benchmarks.speed.processes import workers

CONTENDERS = {backend: ours(backend) for backend in BACKENDS}
CONTENDERS |= {f"{backend}-stock": stock(backend) for backend in BACKENDS}
CONTENDERS |= {peer.name.replace(" ", "-"): peer for peer in PEERS if peer.is_reference}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=[*BACKENDS, "pytorch-eager"],
    )
    add("--network", choices=NETWORKS, default="GradAttnV1")
    add("--size", type=int, default=28)
    add("--channels", type=int, default=1)
    add("--batch", type=int, default=128)
    add("--rounds", type=int, default=15)
    add("--arguments", type=json.loads, default={}, metavar="JSON")
    add("--output", type=Path, help="where to write the JSON")
    return parser.parse_args(arguments)


def table(profiles: dict[str, dict[str, dict[str, float]]]) -> str:
    """Forward / backward milliseconds by part, and the share of the step."""
    names = list(profiles)
    lines = [
        "| forward + backward, ms (share of the step) | " + " | ".join(names) + " |",
        "|---" + "|--:" * len(names) + "|",
    ]
    for part in profiles[names[0]]:
        cells = []
        for name in names:
            own = profiles[name][part]
            text = " + ".join(f"{milliseconds:.1f}" for milliseconds in own.values())
            share = sum(own.values()) / profiles[name][STEP]["all"]
            cells.append(f"{text} ({share:.0%})")
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    task = Task(
        network=options.network,
        size=options.size,
        channels=options.channels,
        batch=options.batch,
        arguments=options.arguments,
    )
    report: dict[str, Any] = {
        "machine": describe_machine(),
        "task": vars(task),
        "profiles": {},
        "not_measured": {},
    }
    print(machine_line(report["machine"]), task.title, sep="\n", flush=True)
    for name in options.contenders:
        # One at a time: the pieces of one contender take turns with each other.
        with workers([CONTENDERS[name]], task, print) as (ready, failed):
            report["not_measured"].update(failed)
            for worker in ready:
                report["profiles"][name] = worker.milliseconds_by_part(options.rounds)
    print(f"\n{task.title}\n\n{table(report['profiles'])}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
