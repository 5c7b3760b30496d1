"""Runs the cells of the study one after the other, in the background.

    setsid python -m studies.queue --data-dir DATA --results RESULTS --cores 0 1

Each run is a process of its own, pinned to one core with one thread. A finished run is
skipped, an interrupted one goes on from its last epoch, one that fails is told and does
not end the others. Start the same command again after an interruption.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import threading
import time

from studies.cells import Cell, runs

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ONE_THREAD = dict.fromkeys(_THREADS, "1")


def main(arguments: list[str] | None = None) -> int:
    """Works through the table with one worker a core."""
    parser = argparse.ArgumentParser(prog="python -m studies.queue")
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--results", required=True, type=pathlib.Path)
    parser.add_argument("--cores", type=int, nargs="+", default=[0])
    options = parser.parse_args(arguments)
    options.results.mkdir(parents=True, exist_ok=True)
    _lower_session()
    waiting = iter(runs())
    lock = threading.Lock()
    workers = [
        threading.Thread(target=_work, args=(core, waiting, lock, options))
        for core in options.cores
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return 0


def _work(core, waiting, lock, options) -> None:
    while True:
        with lock:
            cell, seed = next(waiting, (None, None))
        if cell is None:
            return
        _run(core, cell, seed, options)


def _run(core: int, cell: Cell, seed: int, options: argparse.Namespace) -> None:
    name = cell.name(seed)
    if (options.results / f"{name}.json").exists():
        return
    start = time.monotonic()
    _tell(f"start    {name} on core {core}")
    command = _command(core, name, options)
    environment = {**os.environ, **_ONE_THREAD}
    log_path = options.results / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with open(log_path, "a", encoding="utf-8") as log:
        code = subprocess.run(
            command, stdout=log, stderr=log, env=environment, check=False
        ).returncode
    minutes = (time.monotonic() - start) / 60
    told = "finished" if code == 0 else f"FAILED ({code})"
    _tell(f"{told} {name} after {minutes:.1f} minutes")


def _command(core: int, name: str, options: argparse.Namespace) -> list[str]:
    # Whoever else works on the machine comes first.
    command = [*_idle(), "taskset", "-c", str(core), sys.executable]
    command += ["-m", "studies.one_run", "--data-dir", options.data_dir]
    return [*command, "--results", str(options.results), name]


def _idle() -> list[str]:
    idle = ["chrt", "--idle", "0"]
    try:
        subprocess.run([*idle, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return ["nice", "-n", "19"]
    return ["nice", "-n", "19", *idle]


def _lower_session() -> None:
    """Give this session the lowest weight among those that share the processor.

    Linux weighs sessions first and processes inside them second: the idle class and a
    nice value count within a session only (sched(7), "The autogroup feature"). A
    session that a terminal has started is left alone: whoever works in it comes too.
    """
    if os.getsid(0) != os.getpid():
        return
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/autogroup").write_text("19", encoding="ascii")


def _tell(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
