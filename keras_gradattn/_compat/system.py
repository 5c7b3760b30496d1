"""What only some operating systems have: locks, core counts, memory that is given back.

Linux was run; macOS and Windows are written from their documentation.
"""

import contextlib
import ctypes
import importlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class InUseError(RuntimeError):
    """Another process holds the lock."""


@contextlib.contextmanager
def lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a file for this process alone.

    Linux and macOS lock with `fcntl`, Windows with `msvcrt`; both let go when the
    process ends, however it ends. Where there is neither, nothing is locked.

    Args:
        path: A file, made where there is none.

    Raises:
        InUseError: If another process holds it.
    """
    with open(path, "a+b") as file:
        try:
            _take(file.fileno())
        except OSError:
            raise InUseError(f"{Path(path)} is held by another process.") from None
        yield


def _take(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:
        pass
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    with contextlib.suppress(ImportError):
        # Its types are there on Windows alone.
        msvcrt: Any = importlib.import_module("msvcrt")
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)


def cpu_cores() -> int:
    """Cores that this process may use; where the system does not say, all of them."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_return() -> Callable[[], object] | None:
    """A function that gives free memory back to the system, `None` without glibc."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        # Another C library; on Windows there is no such handle at all.
        return None
    return lambda: trim(0)
