"""A contender's process, seen from the command that starts it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Otherwise they take an accelerator's memory from the others.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


class WorkerError(RuntimeError):
    """A worker ended before it answered; its last words are the message."""


class Worker:
    """A `Session` in a process of its own, compiled and waiting.

    Args:
        make: As `Session` takes it.
        arguments: Of the work.
        backend: Keras' backend there.

    Raises:
        WorkerError: If it ends before its first step is done.
    """

    def __init__(self, make: str, arguments: dict[str, Any], backend: str):
        # Both are open for as long as the process runs; `close` closes them.
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._cache = tempfile.TemporaryDirectory()
        environment = os.environ | _ENVIRONMENT | {"KERAS_BACKEND": backend}
        # What was compiled before is not used: compiling is to be measured.
        environment["TORCHINDUCTOR_CACHE_DIR"] = self._cache.name
        environment.pop("JAX_COMPILATION_CACHE_DIR", None)
        request = json.dumps({"make": make, "arguments": arguments})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.harness.session", request],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.start: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, count: int, part: str = "") -> dict[str, float]:
        """See `Session.run`."""
        return self._ask("run", count, part)

    def memory(self) -> dict[str, int | None]:
        """See `Session.memory`."""
        return self._ask("memory")

    def close(self) -> None:
        """End the process whatever it does."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()
        self._cache.cleanup()

    def _ask(self, *command: Any) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        raise WorkerError(lines[-1] if lines else f"exit {self._process.returncode}")
