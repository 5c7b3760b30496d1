"""How a training step's time and memory grow with image, batch, depth and tokens.

Each point is a process of its own. Points that would take too long by the time of the
point before are left out and named. Writes one JSON per contender into a folder and
draws every one that lies there:

    python -m benchmarks.growth --contenders jax pytorch --output benchmarks/growth
    python -m benchmarks.growth --contenders                      (only draws)
    python -m benchmarks.growth --contenders jax --sweeps tokens  (keeps other sweeps)

A contender takes 3 to 9 minutes on two cores.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.contenders import BACKENDS, PEERS, Contender, Task, ours
from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.processes import Worker, WorkerError

CONTENDERS = {backend: ours(backend) for backend in BACKENDS}
CONTENDERS["pytorch"] = next(peer for peer in PEERS if peer.is_reference)

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 6, 12, 3)}

# What grows: by sweep the values of the horizontal axis and their tasks.
SWEEPS: dict[str, dict[int, Task]] = {
    "image size": {
        size: Task(size=size, batch=32) for size in (28, 48, 64, 96, 128, 224)
    },
    "batch": {batch: Task(batch=batch) for batch in (1, 8, 32, 128, 512, 1024)},
    "trunk depth": {
        layers: Task(size=32, arguments={"stage_blocks": blocks})
        for layers, blocks in DEPTHS.items()
    },
    "tokens": {
        tokens: Task(network="Encoder", arguments={"tokens": tokens})
        for tokens in (5, 10, 20, 50, 100)
    },
}
HELD = {
    "image size": "V1, batch 32",
    "batch": "V1, 28 px",
    "trunk depth": "V1, 32 px, batch 128",
    "tokens": "encoder alone, batch 128",
}
UNITS = {
    "image size": "pixels a side",
    "batch": "images",
    "trunk depth": "layers",
    "tokens": "tokens",
}
# As it stands in the picture: name, colour (Okabe & Ito 2008), marker.
LOOKS = {
    "jax": ("Keras, JAX", "#0072B2", "o"),
    "tensorflow": ("Keras, TensorFlow", "#E69F00", "s"),
    "torch": ("Keras, PyTorch", "#D55E00", "^"),
    "pytorch": ("plain PyTorch, eager", "#000000", "D"),
}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--contenders", nargs="*", choices=CONTENDERS, default=list(CONTENDERS))
    add("--sweeps", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    add("--seconds", type=float, default=2.0, help="to step at a point, about")
    add("--longest-step", type=float, default=6.0, help="seconds; longer is left out")
    add(
        "--coarse",
        action="store_true",
        help="leave out every other point of sweeps of more than three",
    )
    add("--output", type=Path, default=Path("benchmarks/growth"), help="folder")
    return parser.parse_args(arguments)


def work(task: Task) -> float:
    """A step's work in arbitrary units: proportional within a sweep."""
    pixels = task.size**2 if task.network != "Encoder" else task.arguments["tokens"]
    return task.batch * pixels * sum(task.arguments.get("stage_blocks", (8,)))


def predicted_seconds(measured: dict[int, dict], tasks: dict[int, Task], value: int):
    """Seconds of a step by the work of the last point that was measured.

    Args:
        measured: The sweep's points so far, by value.
        tasks: The sweep.
        value: The next point's.

    Returns:
        Seconds, or `None` before the first point.
    """
    done = [v for v, point in measured.items() if "seconds_per_step" in point]
    if not done:
        return None
    last = done[-1]
    growth = work(tasks[value]) / work(tasks[last])
    return measured[last]["seconds_per_step"] * growth


def measure_point(contender: Contender, task: Task, seconds: float) -> dict[str, Any]:
    """Median step time and memory of one contender on one task."""
    with tempfile.TemporaryDirectory() as cache:
        try:
            worker = Worker(contender, task, {"TORCHINDUCTOR_CACHE_DIR": cache})
        except WorkerError as error:
            return {"failed": str(error)}
        try:
            once = worker.seconds_per_step(1)
            turns = [
                worker.seconds_per_step(max(1, int(seconds / 5 / once)))
                for _ in range(min(5, max(2, int(seconds / once))))
            ]
            return {
                "seconds_per_step": float(np.median(turns)),
                "turns": turns,
                **worker.start,
                **worker.finish(),
            }
        except WorkerError as error:
            return {"failed": str(error)}
        finally:
            worker.close()


def measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """All points of one contender, saved after each; other sweeps stay as saved."""
    file = options.output / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    saved = json.loads(file.read_text()) if file.exists() else {}
    report = {
        "machine": describe_machine(),
        "contender": name,
        "sweeps": saved.get("sweeps", {}),
    }
    started = time.monotonic()
    for sweep in options.sweeps:
        points = report["sweeps"][sweep] = {}
        values = list(SWEEPS[sweep])
        skipped = values[1:-1:2] if options.coarse and len(values) > 3 else []
        for value, task in SWEEPS[sweep].items():
            if value in skipped:
                points[value] = {"left_out": "not in the coarse grid"}
                continue
            expected = predicted_seconds(points, SWEEPS[sweep], value)
            if expected is not None and expected > options.longest_step:
                points[value] = {"left_out": f"about {expected:.0f} s a step"}
            else:
                points[value] = measure_point(CONTENDERS[name], task, options.seconds)
            elapsed = time.monotonic() - started
            print(
                f"[{elapsed:5.0f} s] {name}, {sweep} {value}: {_words(points[value])}",
                flush=True,
            )
            file.write_text(json.dumps(report, indent=1) + "\n")
    return report


def _words(point: dict[str, Any]) -> str:
    if "left_out" in point:
        return f"left out, {point['left_out']}"
    if "failed" in point:
        return f"not measured: {point['failed']}"
    growth = point["peak_growth"]
    memory = "" if growth is None else f", memory {growth / 2**20:,.0f} MiB"
    return f"{1e3 * point['seconds_per_step']:,.1f} ms{memory}"


def draw(reports: list[dict[str, Any]], file: Path) -> None:
    """Step time above, memory over the imports below, a column for each sweep."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    rows = {
        "training step, ms": ("seconds_per_step", 1e3),
        "peak memory, GiB": ("peak_growth", 2**-30),
    }
    figure, axes = plt.subplots(
        len(rows),
        len(SWEEPS),
        figsize=(11.5, 5.2),
        layout="constrained",
        squeeze=False,
        sharex="col",
    )
    for row, (label, (figure_name, unit)) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(label)
        for axis, sweep in zip(row, SWEEPS, strict=True):
            for report in reports:
                points = {
                    int(value): unit * point[figure_name]
                    for value, point in report["sweeps"].get(sweep, {}).items()
                    if point.get(figure_name) is not None
                }
                name, colour, marker = LOOKS[report["contender"]]
                axis.plot(
                    list(points),
                    list(points.values()),
                    marker=marker,
                    markersize=4,
                    linewidth=1.2,
                    color=colour,
                    label=name,
                )
            axis.set_xscale("log")
            names = [f"{value:,}" for value in SWEEPS[sweep]]
            axis.set_xticks(list(SWEEPS[sweep]), names, fontsize=7, rotation=30)
            axis.minorticks_off()
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
    for axis, sweep in zip(axes[0], SWEEPS, strict=True):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:,g}")
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(f"{sweep}\n{HELD[sweep]}", fontsize=10)
    for axis, sweep in zip(axes[1], SWEEPS, strict=True):
        axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
        axis.set_xlabel(UNITS[sweep])
    figure.legend(
        *axes[0][0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(LOOKS),
        frameon=False,
    )
    figure.savefig(file, dpi=150)
    plt.close(figure)


def table(reports: list[dict[str, Any]]) -> str:
    """Milliseconds a step, a line for each point."""
    names = [report["contender"] for report in reports]
    lines = [
        "| | " + " | ".join(names) + " |",
        "|---" + "|--:" * len(names) + "|",
    ]
    for sweep, tasks in SWEEPS.items():
        for value in tasks:
            cells = []
            for report in reports:
                point = report["sweeps"].get(sweep, {}).get(str(value), {})
                if "seconds_per_step" in point:
                    cells.append(f"{1e3 * point['seconds_per_step']:,.1f}")
                else:
                    cells.append(point.get("left_out", "") or "not measured")
            lines.append(f"| {sweep} {value} ({HELD[sweep]}) | " + " | ".join(cells))
            lines[-1] += " |"
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    print(machine_line(describe_machine()), "\n", flush=True)
    for name in options.contenders:
        measure(options, name)
    reports = [
        json.loads(file.read_text())
        for name in CONTENDERS
        if (file := options.output / f"{name}.json").exists()
    ]
    print(f"\n{table(reports)}")
    draw(reports, options.output / "growth.png")


if __name__ == "__main__":
    main()
