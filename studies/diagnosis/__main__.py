"""Runs programs and keeps what the diagnoses said.

    python -m studies.diagnosis [--half tuning|release|real] [--backend torch]
        [--only WORD] [--again] [--killed] [--keep FOLDER]

A run goes on where an earlier one was broken off. `--killed` trains the mutants and
their healthy programs with further seeds and without a diagnosis, for the check that a
mutation does damage. `--keep` writes what our diagnosis saw of each training, for
`python -m studies.diagnosis.thresholds`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

HALVES = ("tuning", "release", "real")


def main() -> None:
    """Parse the command line, choose the backend, run."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--half", choices=HALVES, action="append")
    parser.add_argument("--backend", default=os.environ.get("KERAS_BACKEND", "torch"))
    parser.add_argument("--only", default="", help="a part of names or kinds")
    parser.add_argument("--again", action="store_true", help="forget earlier results")
    parser.add_argument("--killed", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder for what was seen")
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = arguments.backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Programs are so small that threads only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

    from studies.diagnosis import killed, results
    from studies.diagnosis.run import run

    for half in arguments.half or ["tuning"]:
        if arguments.killed:
            killed.measure(half, progress=_say)
            continue
        kept = results.Results(half, arguments.backend)
        wanted = [
            p
            for p in results.programs_of(half)
            if arguments.only in p.name or arguments.only in (p.kind or "")
        ]
        if arguments.again:
            kept.forget(p.name for p in wanted)
        start = time.perf_counter()
        for number, program in enumerate(wanted, 1):
            if program.name in kept:
                continue
            kept.add(program, run(program, keep=arguments.keep))
            said = [f[0] for f in kept.programs[program.name]["findings"]][:3]
            spent = time.perf_counter() - start
            _say(f"{number}/{len(wanted)} {spent:.0f} s {program.name}: {said}")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
