"""Locks, cores and memory, with and without what Linux offers."""

import subprocess
import sys

import pytest

from keras_gradattn._compat import system

pytestmark = pytest.mark.any_backend


def test_a_lock_is_held_once(tmp_path):
    path = tmp_path / "lock"
    with (
        system.lock(path),
        pytest.raises(system.InUseError, match="another process"),
        system.lock(path),
    ):
        pass

    with system.lock(path):
        pass


def test_a_lock_ends_with_its_process(tmp_path):
    path = tmp_path / "lock"
    script = (
        "import os; from keras_gradattn._compat import system\n"
        f"system.lock({str(path)!r}).__enter__()\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)

    with system.lock(path):
        pass


def test_nothing_is_locked_where_the_system_cannot(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", None)

    with system.lock(tmp_path / "lock"), system.lock(tmp_path / "lock"):
        pass


def test_cores_are_counted_where_affinity_is_unknown(monkeypatch):
    assert system.cpu_cores() >= 1
    monkeypatch.delattr(system.os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(system.os, "cpu_count", lambda: None)
    assert system.cpu_cores() == 1


def test_no_memory_is_returned_without_glibc(monkeypatch):
    def no_such_library(name):
        raise OSError(name)

    monkeypatch.setattr(system.ctypes, "CDLL", no_such_library)

    assert system.memory_return() is None
