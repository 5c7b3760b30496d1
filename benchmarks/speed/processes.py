"""Worker processes, seen from the command that starts them and lets them take turns."""

import concurrent.futures
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.contenders import Contender, Task, as_request

ROOT = Path(__file__).parents[2]


class WorkerError(RuntimeError):
    """A worker ended before it answered; its last words are the message."""


class Worker:
    """One contender, compiled and waiting.

    Args:
        contender: What to run.
        task: On what.
        environment: Added to the process' environment.

    Raises:
        WorkerError: If it ends before its first step is done.
    """

    def __init__(
        self,
        contender: Contender,
        task: Task,
        environment: dict[str, str] | None = None,
    ):
        self.contender = contender
        # Open for as long as the process runs; `close` closes it.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "benchmarks.speed.worker",
                json.dumps(as_request(contender, task)),
            ],
            cwd=ROOT,
            env=os.environ
            | {
                "KERAS_BACKEND": contender.backend,
                "TF_CPP_MIN_LOG_LEVEL": "2",
                # Otherwise JAX takes most of an accelerator from the others.
                "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            }
            | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.start: dict[str, Any] = self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        raise WorkerError(lines[-1] if lines else f"exit {self._process.returncode}")

    def _ask(self, command: str) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{command}\n")
            self._process.stdin.flush()
        return self._answer()

    def seconds_per_step(self, count: int) -> float:
        """Run at least `count` steps; the average of their seconds."""
        answer = self._ask(f"run {count}")
        return answer["seconds"] / answer["steps"]

    def seconds_per_step_of_fit(self, count: int) -> list[float]:
        """The same in epochs of `fit` itself; ends the worker's own steps."""
        return self._ask(f"fit {count}")["seconds_per_step"]

    def finish(self) -> dict[str, Any]:
        """End the process; memory it took and what it used while others worked."""
        answer = self._ask("finish")
        self.close()
        return answer

    def close(self) -> None:
        """End the process whatever it does."""
        end(self._process)
        self._errors.close()


def end(process: subprocess.Popen) -> None:
    """End a process that reads until its input closes, whatever it does."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


@contextlib.contextmanager
def workers(
    contenders: Sequence[Contender],
    task: Task,
    report: Callable[[str], None],
    start: Callable[..., Worker] = Worker,
    together: bool = False,
) -> Iterator[tuple[list[Worker], dict[str, str]]]:
    """Start workers one after another, so that each compiles alone.

    Args:
        contenders: What to run.
        task: On what.
        report: Told of each one's progress.
        start: Makes a worker.
        together: Whether they start and compile side by side, which is over sooner
            where there are many cores, and tells nothing of how long compiling takes.

    Yields:
        The workers that stand ready, and the others' last words by name.
    """
    ready, failed = {}, {}

    def begin(number: int) -> None:
        contender = contenders[number]
        # `torch.compile` keeps its results; compilation is to be measured.
        environment = {"TORCHINDUCTOR_CACHE_DIR": f"{caches}/{number}"}
        try:
            worker = start(contender, task, environment)
        except WorkerError as error:
            failed[contender.name] = str(error)
            report(f"{contender.name}: not measured: {error}")
            return
        ready[number] = worker
        seconds = worker.start["compile_and_first_step_seconds"]
        report(f"{contender.name}: compiled, first step after {seconds:.1f} s")

    at_once = len(contenders) if together else 1
    with tempfile.TemporaryDirectory() as caches:
        try:
            with concurrent.futures.ThreadPoolExecutor(max(1, at_once)) as pool:
                list(pool.map(begin, range(len(contenders))))
            yield [ready[number] for number in sorted(ready)], failed
        finally:
            for worker in ready.values():
                worker.close()
