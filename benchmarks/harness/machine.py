"""What machine a benchmark ran on."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("keras", "jax", "jaxlib", "tensorflow", "torch", "keras-hub", "numpy")
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "TF_XLA_FLAGS")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, accelerator, versions and settings, as plain data."""
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory_gib": _memory_gib(),
        "accelerator": _accelerator(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": _versions(),
        "settings": {
            name: os.environ[name] for name in _THREAD_SETTINGS if name in os.environ
        },
        "load_before": os.getloadavg()[0],
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The same on one line."""
    versions = ", ".join(
        f"{name} {number}" for name, number in machine["versions"].items()
    )
    accelerator = machine["accelerator"] or "no accelerator"
    return (
        f"{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']:.0f} GiB, {accelerator}; {versions}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine()
    fields = dict(
        (part.strip() for part in line.split(":", 1))
        for line in information.read_text().split("\n\n")[0].splitlines()
        if ":" in line
    )
    name = fields.get("model name", platform.machine())
    details = [
        f"{field} {fields[field]}"
        for field in ("cpu family", "model")
        if field in fields
    ]
    units = [u for u in ("avx2", "avx512f", "amx_tile") if u in fields.get("flags", "")]
    return f"{name} ({', '.join(details + units)})"


def _cores() -> int:
    # Those that this process may use, where the system says so.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _accelerator() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return "; ".join(found.stdout.strip().splitlines()) or None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
