"""One contender in a process of its own, which works when it is told to.

Started by `benchmarks.speed.processes`, with a request as its one argument. Answers are
lines of JSON on the standard output; commands come as lines on the standard input:
`run COUNT`, `fit COUNT` and `finish`.
"""

import json
import os
import sys
import time

from benchmarks.speed.contenders import from_request
from benchmarks.speed.memory import forget_peak, peak_resident_bytes, resident_bytes


def main() -> None:
    # Libraries print to the standard output as well: keep it for answers alone.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**values):
        answers.write(json.dumps(values) + "\n")

    contender, task = from_request(json.loads(sys.argv[1]))
    phases = _Phases()
    started = time.perf_counter()
    if contender.engine == "pytorch":
        from benchmarks.speed import torch_steps as engine
    else:
        from benchmarks.speed import keras_steps as engine
    engine.imports(contender)
    imported = time.perf_counter()
    phases.begin()

    steps = engine.Steps(contender, task)
    built = time.perf_counter()
    phases.end("build")
    steps.compile()
    steps.run(1)
    stepped = time.perf_counter()
    phases.end("compile")
    answer(
        import_seconds=imported - started,
        build_seconds=built - imported,
        compile_and_first_step_seconds=stepped - built,
        resident_after_imports=phases.resident_at_first,
        parameters=steps.parameters,
        versions=engine.versions(),
        **steps.details,
    )

    idle_since, used_before = time.perf_counter(), time.process_time()
    idle_seconds = idle_cpu_seconds = 0.0
    for line in sys.stdin:
        idle_seconds += time.perf_counter() - idle_since
        idle_cpu_seconds += time.process_time() - used_before
        command, *arguments = line.split()
        if command == "run":
            start = time.perf_counter()
            count = steps.run(int(arguments[0]))
            answer(steps=count, seconds=time.perf_counter() - start)
        elif command == "fit":
            # Its arrays are no part of what steps take.
            phases.end("steps")
            answer(seconds_per_step=steps.fit(int(arguments[0])))
        else:
            phases.end("steps")
            answer(
                peak_growth=phases.most_growth(),
                peak_growth_by_phase=phases.growth,
                operations_per_step=steps.operations_per_step(),
                device_peak=steps.device_peak_bytes(),
                idle_cpu_share=idle_cpu_seconds / max(idle_seconds, 1e-9),
            )
            break
        idle_since, used_before = time.perf_counter(), time.process_time()


class _Phases:
    """Growth of the peak of resident memory over the imports, phase by phase."""

    def begin(self) -> None:
        self.resident_at_first = resident_bytes()
        self.growth = {}
        forget_peak()

    def end(self, phase: str) -> None:
        """Note the peak of the phase, unless it has ended before."""
        peak = peak_resident_bytes()
        if peak is not None and phase not in self.growth:
            self.growth[phase] = peak - self.resident_at_first
            forget_peak()

    def most_growth(self) -> int | None:
        return max(self.growth.values(), default=None)


if __name__ == "__main__":
    main()
