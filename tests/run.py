"""Run the test suite on every backend, one process each, and add up what happened.

python tests/run.py [--backends jax,tensorflow,torch] [--fast] [--outside]
                    [--coverage] [pytest arguments ...]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The first also runs what is the same on every backend, and it compiles nothing.
BACKENDS = ("torch", "jax", "tensorflow")
OUTCOMES = ("passed", "failed", "skipped", "xfailed", "xpassed", "errors")
ROOT = Path(__file__).parents[1]


# Rooms whose lines the tests must run, nearly all of them, on one backend or another.
COVERED = ("layers", "models", "gradients")
SHARE = 90  # per cent

# Workers that have run out of tests take over those that another has not begun.
TWO_WORKERS = ("-n", "2", "--dist", "worksteal")


class Coverage:
    """Which lines the tests of all backends ran, together.

    Args:
        folder: Where what was seen is kept between backends.
    """

    arguments = (
        *(f"--cov=keras_gradattn/{room}" for room in COVERED),
        "--cov-append",
        "--cov-report=",
    )

    def __init__(self, folder: str):
        self.environment = {"COVERAGE_FILE": str(Path(folder, "coverage"))}

    def report(self) -> bool:
        """Print the share of each file that misses lines; whether it is enough."""
        command = [sys.executable, "-m", "coverage", "report", "--skip-covered"]
        finished = subprocess.run(
            [*command, f"--fail-under={SHARE}"],
            cwd=ROOT,
            env=os.environ | self.environment,
            check=False,
        )
        return not finished.returncode


def run(
    backend: str, arguments: list[str], python: str = sys.executable
) -> dict[str, int]:
    """Run pytest under one backend and count the outcomes it closes with."""
    print(f"=== {backend} ===", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(
        [python, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=os.environ | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
    )
    closing = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if re.search(r"\d+ (passed|failed|error)", line):
            closing = line
    status = process.wait()
    counts = {
        outcome: int(match.group(1))
        if (match := re.search(rf"(\d+) {outcome.rstrip('s')}", closing))
        else 0
        for outcome in OUTCOMES
    }
    if status and not counts["failed"] and not counts["errors"]:
        # It ended badly without a failed test: a crash, or nothing collected.
        counts["errors"] += 1
    print(f"{backend}: {time.monotonic() - started:.0f} s", flush=True)
    return counts


def selection(first: bool, fast: bool, outside: bool) -> tuple[str, ...]:
    """Which marks keep a test out of the run of a backend."""
    marks = [] if first else ["any_backend"]
    marks += [] if outside else ["outside"]
    marks += ["slow"] if fast else []
    return ("-m", " and ".join(f"not {mark}" for mark in marks)) if marks else ()


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return run_all(Coverage(folder))


def run_all(coverage: Coverage) -> int:
    """Run what the command line asks for; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument(
        "--fast", action="store_true", help="one backend, without its slowest tests"
    )
    parser.add_argument(
        "--outside",
        action="store_true",
        help="also what needs Chromium, W&B, MLflow or TensorBoard",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help=f"fail under {SHARE} %% of the lines of {COVERED}",
    )
    chosen, arguments = parser.parse_known_args()
    backends = chosen.backends.split(",")
    if unknown := set(backends) - set(BACKENDS):
        parser.error(f"--backends takes some of {BACKENDS}. Received: {unknown}")
    if chosen.fast and chosen.backends == ",".join(BACKENDS):
        backends = [BACKENDS[0]]
    if chosen.coverage:
        os.environ.update(coverage.environment)
        arguments += coverage.arguments
    totals = dict.fromkeys(OUTCOMES, 0)
    for index, backend in enumerate(backends):
        selected = selection(not index, chosen.fast, chosen.outside)
        counts = run(backend, [*TWO_WORKERS, *selected, *arguments])
        for outcome, count in counts.items():
            totals[outcome] += count
    if not chosen.outside:
        print("Left out: tests marked `outside` (run them with --outside)")
    failed = totals["failed"] + totals["errors"] + totals["xpassed"]
    skipped = totals["skipped"] + totals["xfailed"]
    print(f"{totals['passed']} passed, {failed} failed, {skipped} skipped")
    enough = not chosen.coverage or coverage.report()
    return 0 if enough and totals["passed"] and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
