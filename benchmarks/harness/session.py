"""What a contender does in its process, and how that is timed."""

import importlib
import time
from typing import Any

from benchmarks.harness.usage import (
    bytes_of_children,
    cpu_seconds,
    forget_peak,
    peak_resident_bytes,
    resident_bytes,
)


class Work:
    """One contender's work, phase by phase.

    Its arguments come as JSON. The constructor only imports: what it takes is no part
    of the figures.
    """

    # What one process can do in several ways. Each is run once before it is timed.
    parts: tuple[str, ...] = ("",)

    def build(self) -> None:
        """Make the network or the data."""

    def compile(self) -> None:
        """Prepare the steps; with the first of them this is the time of compiling."""

    def run(self, count: int, part: str) -> float:
        """Take steps and wait for the last; how many units of the figures they were."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What the JSON keeps of it, beside figures."""
        return {}


class Session:
    """One contender, after its first step.

    Args:
        make: Module and name of a `Work`, such as `"benchmarks.works.fits:Fits"`.
        arguments: Of the work.
    """

    def __init__(self, make: str, arguments: dict[str, Any]):
        module, name = make.split(":")
        self._work: Work = getattr(importlib.import_module(module), name)(**arguments)
        self._resident_before = resident_bytes()
        forget_peak()
        self._work.build()
        began, cpu_before = time.perf_counter(), cpu_seconds()
        self._work.compile()
        first, *others = self._work.parts
        self._work.run(1, first)
        self.start = {
            "compile_and_first_step_seconds": time.perf_counter() - began,
            "compile_and_first_step_cpu_seconds": cpu_seconds() - cpu_before,
            **self._work.details(),
        }
        for part in others:
            self._work.run(1, part)

    def run(self, count: int, part: str = "") -> dict[str, float]:
        """Take steps; the seconds and the processor's seconds of a unit."""
        began, cpu_before = time.perf_counter(), cpu_seconds()
        units = self._work.run(count, part)
        return {
            "seconds": (time.perf_counter() - began) / units,
            "cpu_seconds": (cpu_seconds() - cpu_before) / units,
        }

    def memory(self) -> dict[str, int | None]:
        """What it took at most, beyond what was resident after the imports."""
        peak = peak_resident_bytes()
        if peak is not None and self._resident_before is not None:
            peak += bytes_of_children() - self._resident_before
        return {"peak_growth": peak}
