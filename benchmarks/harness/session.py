"""A contender in its process, which works when it is told to.

`benchmarks.harness.processes` starts it with a JSON of `Session`'s arguments. Commands
are lines of JSON on the standard input, `["run", 3, ""]`, and answers on the output.
"""

import importlib
import json
import os
import sys
import time
from typing import Any

from benchmarks.harness.usage import (
    bytes_of_children,
    cpu_seconds,
    forget_peak,
    peak_resident_bytes,
    resident_bytes,
)
from benchmarks.harness.work import Work


class Session:
    """One contender's work, built, compiled and timed.

    Args:
        make: Module and name of a `Work`, such as `"benchmarks.folder_input:Folder"`.
        arguments: Of the work.
    """

    def __init__(self, make: str, arguments: dict[str, Any]):
        module, name = make.split(":")
        self._work: Work = getattr(importlib.import_module(module), name)(**arguments)
        self._resident_before = resident_bytes()
        forget_peak()
        began = time.perf_counter()
        self._work.build()
        built, cpu_before = time.perf_counter(), cpu_seconds()
        self._work.compile()
        first, *others = self._work.parts
        self._work.run(1, first)
        self.start = {
            "build_seconds": built - began,
            "compile_and_first_step_seconds": time.perf_counter() - built,
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
        return {"peak_growth": peak, "device_peak": self._work.device_peak_bytes()}


def main() -> None:
    # Libraries print to the standard output as well: keep it for answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    session = Session(**json.loads(sys.argv[1]))
    answers.write(json.dumps(session.start) + "\n")
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer = getattr(session, command)(*arguments)
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
