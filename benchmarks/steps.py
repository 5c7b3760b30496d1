"""Time and memory of training and inference steps, beside plain PyTorch.

Every contender is a process of its own that compiles alone and then waits; they take
turns, a few steps each, so that all meet the same machine. Prints a table for each
network, size, batch, precision and mode, and writes JSON:

    python -m benchmarks.steps                    V1, 28 and 32 px; about 7 minutes
    python -m benchmarks.steps --help             everything else

On a machine with a CUDA accelerator the same command runs there.
"""

import argparse
import concurrent.futures
import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.contenders import (
    BACKENDS,
    MODES,
    NETWORKS,
    PEERS,
    PRECISIONS,
    Contender,
    Task,
    keras_hub,
    ours,
    stock,
)
from benchmarks.speed.machine import describe_machine, machine_line
from benchmarks.speed.processes import Worker, workers
from benchmarks.speed.ratios import fastest, speed_ratio
from benchmarks.speed.turns import alternate

ALONGSIDE = ("stock", "keras-hub", "eager", "fused-adam", "compile")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=["GradAttnV1"])
    add("--backends", nargs="*", choices=BACKENDS, default=list(BACKENDS))
    add("--sizes", nargs="+", type=int, default=[28, 32], help="pixels")
    add("--channels", type=int, default=1)
    add("--batch", nargs="+", type=int, default=[128])
    add("--precision", nargs="+", choices=PRECISIONS, default=["float32"])
    add("--mode", nargs="+", choices=MODES, default=["training"])
    add("--rounds", type=int, default=8, help="turns of each contender")
    add("--steps-per-round", type=int, default=3)
    add("--steps-per-execution", type=int, default=1, help="not on PyTorch")
    add(
        "--jit",
        action=argparse.BooleanOptionalAction,
        help="compile(jit_compile=...); left to Keras by default",
    )
    add("--convolution-form", default="auto", help="of the contenders named keras ...")
    add(
        "--static-shape",
        action="store_true",
        help="build networks for the size, not for any",
    )
    add(
        "--alongside",
        nargs="*",
        choices=ALONGSIDE,
        default=["eager", "compile"],
        help="stock Keras convolutions, KerasHub's ResNet-18 (beside ResNet18), plain "
        "PyTorch as it comes, with Adam(fused=True), and by torch.compile",
    )
    add(
        "--together",
        action="store_true",
        help="start the contenders of all tables at once, for machines with many "
        "cores: compile times then tell nothing",
    )
    add(
        "--fit-steps",
        type=int,
        default=0,
        help="also time that many steps of fit or predict itself on arrays",
    )
    add(
        "--arguments",
        type=json.loads,
        default={},
        metavar="JSON",
        help="more arguments of the networks, such as "
        "'{\"stage_blocks\": [3, 4, 6, 3]}'",
    )
    add(
        "--peak-teraflops",
        type=float,
        help="the machine's at this precision, to print the share that is reached",
    )
    add("--show", nargs="+", type=Path, help="only print the tables of such JSON")
    add("--output", type=Path, help="where to write the JSON")
    return parser.parse_args(arguments)


def contenders(options: argparse.Namespace, network: str) -> list[Contender]:
    """Who takes part in a table, in the order of its lines."""
    settings = {
        "jit": options.jit,
        "steps_per_execution": options.steps_per_execution,
        "static_shape": options.static_shape,
    }
    taking_part = []
    for backend in options.backends:
        own = settings | {"convolution_form": options.convolution_form}
        makers = [(ours, own)]
        if "stock" in options.alongside:
            makers.append((stock, settings))
        if "keras-hub" in options.alongside and network == "ResNet18":
            makers.append((keras_hub, settings))
        for make, chosen in makers:
            if backend == "torch":
                # Keras refuses any other number on PyTorch.
                chosen = chosen | {"steps_per_execution": 1}
            taking_part.append(make(backend, **chosen))
    for peer in PEERS:
        if peer.name.split()[1] in options.alongside:
            taking_part.append(peer)
    return taking_part


def measure(
    options: argparse.Namespace, tasks: Sequence[Task]
) -> Iterator[dict[str, Any]]:
    """Table after table: every contender's figures on one task."""
    say = _progress()

    def started(task):
        say(task.title)
        taking_part = contenders(options, task.network)
        return workers(taking_part, task, say, together=options.together)

    if not options.together:
        for task in tasks:
            with started(task) as (ready, failed):
                yield _figures(options, task, ready, failed, say)
        return
    with contextlib.ExitStack() as stack:
        with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
            opened = list(
                pool.map(lambda task: stack.enter_context(started(task)), tasks)
            )
        for task, (ready, failed) in zip(tasks, opened, strict=True):
            yield _figures(options, task, ready, failed, say)


def _figures(
    options: argparse.Namespace,
    task: Task,
    ready: Sequence[Worker],
    failed: dict[str, str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    seconds = alternate(
        [worker.seconds_per_step for worker in ready],
        options.rounds,
        options.steps_per_round,
        lambda number: say(f"round {number} of {options.rounds}"),
    )
    figures = {}
    for worker, own_seconds in zip(ready, seconds, strict=True):
        fit = []
        if options.fit_steps and worker.contender.engine != "pytorch":
            fit = worker.seconds_per_step_of_fit(options.fit_steps)
        figures[worker.contender.name] = {
            "seconds_per_step": own_seconds,
            "seconds_per_step_of_fit": fit,
            **worker.start,
            **worker.finish(),
        }
    counts = (values["operations_per_step"] for values in figures.values())
    operations = next((count for count in counts if count), None)
    references = {
        worker.contender.name: figures[worker.contender.name]["seconds_per_step"]
        for worker in ready
        if worker.contender.is_reference
    }
    reference = fastest(references) if references else None
    for values in figures.values():
        values["median_step_ms"] = 1e3 * float(np.median(values["seconds_per_step"]))
        values["images_per_second"] = 1e3 * task.batch / values["median_step_ms"]
        if operations:
            per_second = 1e3 * operations / values["median_step_ms"]
            values["teraflops"] = per_second / 1e12
        if reference:
            ratio = speed_ratio(references[reference], values["seconds_per_step"])
            values["times_as_fast"] = ratio._asdict()
    return {
        "task": vars(task),
        "title": task.title,
        "reference": reference,
        "peak_teraflops": options.peak_teraflops,
        "contenders": figures,
        "not_measured": failed,
    }


def table(result: dict[str, Any]) -> str:
    """One table as text."""
    lines = [
        result["title"],
        "",
        "| | step ms | images/s | TFLOP/s | times as fast (95 %) "
        "| compile + first step s | memory MiB | before compiling MiB | fit ms |",
        "|---" + 8 * "|--:" + "|",
    ]
    for name, values in result["contenders"].items():
        ratio = values.get("times_as_fast")
        compared = (
            f"{ratio['median']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})"
            if ratio
            else ""
        )
        fit = values["seconds_per_step_of_fit"]
        cells = [
            name + " (reference)" * (name == result["reference"]),
            f"{values['median_step_ms']:.1f}",
            f"{values['images_per_second']:,.0f}",
            _teraflops(values.get("teraflops"), result["peak_teraflops"]),
            compared,
            f"{values['compile_and_first_step_seconds']:.1f}",
            _mebibytes(values["peak_growth"]),
            _mebibytes(values["peak_growth_by_phase"].get("build")),
            f"{1e3 * np.median(fit):.1f}" if fit else "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for name, reason in result["not_measured"].items():
        lines.append(f"| {name} | not measured: {reason}" + 8 * " |")
    return "\n".join(lines)


def means_over_sizes(results: list[dict[str, Any]]) -> str:
    """Mean over image sizes of each contender's ratio, all else equal."""
    groups = {}
    for result in results:
        key = tuple(
            (name, str(value))
            for name, value in result["task"].items()
            if name != "size"
        )
        groups.setdefault(key, []).append(result)
    lines = []
    for same in groups.values():
        if len(same) < 2 or not all(result["reference"] for result in same):
            continue
        task = same[0]["task"]
        sizes = ", ".join(str(result["task"]["size"]) for result in same)
        lines += [
            f"{task['network']}, {task['mode']}, {task['precision']}, batch "
            f"{task['batch']}: mean of the ratios over {sizes} px",
            "",
            "| | times as fast |",
            "|---|--:|",
        ]
        for name in same[0]["contenders"]:
            if all(name in result["contenders"] for result in same):
                mean = np.mean(
                    [r["contenders"][name]["times_as_fast"]["median"] for r in same]
                )
                lines.append(f"| {name} | {mean:.2f} |")
        lines.append("")
    return "\n".join(lines)


def _teraflops(reached: float | None, peak: float | None) -> str:
    if reached is None:
        return ""
    share = f" ({reached / peak:.0%})" if peak else ""
    return f"{reached:.2f}{share}"


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.0f}"


def _progress():
    started = time.monotonic()

    def say(text):
        print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)

    return say


def _show(report: dict[str, Any]) -> None:
    print(machine_line(report["machine"]), "\n")
    for result in report["results"]:
        print(f"{table(result)}\n")
    print(means_over_sizes(report["results"]))


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    if options.show:
        for file in options.show:
            _show(json.loads(file.read_text()))
        return
    report = {"machine": describe_machine(), "options": vars(options), "results": []}
    print(machine_line(report["machine"]), "\n", flush=True)
    tasks = [
        Task(
            network=network,
            size=size,
            channels=options.channels,
            batch=batch,
            precision=precision,
            mode=mode,
            arguments=options.arguments,
        )
        for network, mode, precision, batch, size in itertools.product(
            options.networks,
            options.mode,
            options.precision,
            options.batch,
            options.sizes,
        )
    ]
    for result in measure(options, tasks):
        report["results"].append(result)
        print(f"\n{table(result)}\n", flush=True)
        if options.output:
            # After every table: a long run that is stopped keeps what it has.
            options.output.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report, indent=1, default=str)
            options.output.write_text(text + "\n")
    print(means_over_sizes(report["results"]))


if __name__ == "__main__":
    main()
