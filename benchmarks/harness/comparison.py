"""Who is compared with whom, and the measurement itself."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness.paired import alternate, paired_ratio
from benchmarks.harness.processes import Worker, WorkerError

# Ratio to the reference, and the figures that it is of.
RATIOS = {
    "times_the_time": "seconds_per_step",
    "times_the_cpu_time": "cpu_seconds_per_step",
    "times_the_first_time": "compile_and_first_step_seconds",
    "times_the_first_cpu_time": "compile_and_first_step_cpu_seconds",
}
# A figure of each start; whatever else a worker says is the same each time.
_OF_STARTS = ("compile_and_first_step_seconds", "compile_and_first_step_cpu_seconds")


@dataclass(frozen=True)
class Contender:
    """Who takes part. Contenders of equal work share a process."""

    name: str
    make: str  # as `Session` takes it
    backend: str
    arguments: dict[str, Any] = field(default_factory=dict)
    part: str = ""  # of the work's parts
    is_reference: bool = False  # of several, the fastest

    @property
    def work(self) -> dict[str, Any]:
        """As `Worker` takes it."""
        names = ("make", "arguments", "backend")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Comparison:
    """A table to be measured; `columns` are keys of `benchmarks.harness.table`."""

    title: str
    label: str  # the same in a word, for texts that put several in one table
    contenders: Sequence[Contender]
    columns: Sequence[str]
    rounds: int = 8  # turns of each contender
    steps: int = 3  # of a turn
    warm_up: int = 1  # steps before them that do not count
    starts: int = 1  # of the processes, for what happens once in each


def measure(
    comparison: Comparison,
    say: Callable[[str], None] = print,
    start: Callable[..., Any] = Worker,
) -> dict[str, Any]:
    """Let the contenders take turns.

    Returns what the JSON holds: every figure, and the ratios to the reference.
    """
    figures: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    for number in range(comparison.starts):
        order = list(comparison.contenders)[:: -1 if number % 2 else 1]
        with _started(order, say, start) as (ready, failures):
            failed |= failures
            turns = alternate(
                [partial(worker.run, part=one.part) for one, worker in ready],
                comparison.rounds,
                comparison.steps,
                comparison.warm_up,
            )
            for (contender, worker), own in zip(ready, turns, strict=True):
                _add(figures.setdefault(contender.name, {}), worker, own)
    taking_part = [c for c in comparison.contenders if c.name not in failed]
    measured = {one.name: figures[one.name] for one in taking_part}
    references = [one.name for one in taking_part if one.is_reference]
    reference = min(
        references,
        key=lambda name: np.median(measured[name]["seconds_per_step"]),
        default=None,
    )
    for values in measured.values():
        values["median_step_ms"] = 1e3 * float(np.median(values["seconds_per_step"]))
        if reference is not None:
            values.update(_ratios(values, measured[reference]))
    return {
        "title": comparison.title,
        "label": comparison.label,
        "columns": list(comparison.columns),
        "steps": comparison.steps,
        "reference": reference,
        "contenders": measured,
        "not_measured": failed,
    }


@contextlib.contextmanager
def _started(
    contenders: Sequence[Contender],
    say: Callable[[str], None],
    start: Callable[..., Any],
) -> Iterator[tuple[list[tuple[Contender, Any]], dict[str, str]]]:
    """One process after another, so that each compiles alone; some may fail."""
    ready: list[tuple[Contender, Any]] = []
    failed = {}
    with contextlib.ExitStack() as stack:
        for contender in contenders:
            shared = (worker for one, worker in ready if one.work == contender.work)
            worker = next(shared, None)
            if worker is None:
                try:
                    worker = start(**contender.work)
                except WorkerError as error:
                    failed[contender.name] = str(error)
                    say(f"{contender.name}: not measured: {error}")
                    continue
                stack.callback(worker.close)
                seconds = worker.start["compile_and_first_step_seconds"]
                say(f"{contender.name}: first step after {seconds:.1f} s")
            ready.append((contender, worker))
        yield ready, failed


def _add(values: dict[str, Any], worker: Any, turns: list[dict[str, float]]) -> None:
    """Put one start's figures behind those of the starts before."""
    said = worker.start | worker.memory()
    for name in _OF_STARTS:
        values.setdefault(name, []).append(said.pop(name))
    values.update(said)
    for name in ("seconds", "cpu_seconds"):
        own = values.setdefault(f"{name}_per_step", [])
        own.extend(turn[name] for turn in turns)


def _ratios(values: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    found = {
        name: paired_ratio(values[of], reference[of])._asdict()
        for name, of in RATIOS.items()
    }
    as_fast = paired_ratio(reference["seconds_per_step"], values["seconds_per_step"])
    return found | {"times_as_fast": as_fast._asdict()}
