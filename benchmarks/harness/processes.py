"""A contender's process, seen from the command that starts it."""

import contextlib
import multiprocessing
import os
import sys
import tempfile
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.harness.session import Session

_ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "2",
    # Otherwise they take an accelerator's memory from the others.
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
}


class WorkerError(RuntimeError):
    """A worker ended before it answered; its last words are the message."""


class Worker:
    """A `Session` in a process of its own, with Keras on a backend."""

    def __init__(self, make: str, arguments: dict[str, Any], backend: str):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._cache = tempfile.TemporaryDirectory()
        environment = _ENVIRONMENT | {
            "KERAS_BACKEND": backend,
            "TORCHINDUCTOR_CACHE_DIR": self._cache.name,
        }
        self._process = context.Process(
            target=_serve, args=(theirs, environment, make, arguments)
        )
        self._process.start()
        # Or its end would not be seen.
        theirs.close()
        try:
            self.start: dict[str, Any] = self._answer()
        except BaseException:
            self.close()
            raise

    def run(self, count: int, part: str = "") -> dict[str, float]:
        """See `Session.run`."""
        self._pipe.send(("run", count, part))
        return self._answer()

    def memory(self) -> dict[str, int | None]:
        """See `Session.memory`."""
        self._pipe.send(("memory",))
        return self._answer()

    def close(self) -> None:
        """End the process whatever it does."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.kill()
        self._process.join()
        self._cache.cleanup()

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise WorkerError(f"exit {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise WorkerError(answer)
        return answer


def _serve(
    pipe: Connection, environment: dict[str, str], make: str, arguments: dict[str, Any]
) -> None:
    """In the process: answer every command until the other end is closed."""
    # What was compiled before is not used: compiling is to be measured.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    os.environ.update(environment)
    try:
        if "keras" in sys.modules:
            raise RuntimeError("Keras was loaded before its backend was chosen")
        session = Session(make, arguments)
        pipe.send(session.start)
        with contextlib.suppress(EOFError):
            while True:
                command, *values = pipe.recv()
                pipe.send(getattr(session, command)(*values))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        raise
