"""What machine a benchmark ran on."""

import contextlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("keras", "jax", "jaxlib", "tensorflow", "torch", "numpy")
_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "XLA_FLAGS", "TF_XLA_FLAGS")
_UNITS = ("avx2", "avx512f", "amx_tile")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, accelerator, versions and settings, as plain data."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    # Those that this process may use, where the system says so.
    usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
    return {
        "processor": _processor(),
        "cores": len(usable),
        "accelerator": _accelerator(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "settings": {n: os.environ[n] for n in _SETTINGS if n in os.environ},
        "load_before": os.getloadavg()[0],
    }


def machine_line(machine: dict[str, Any]) -> str:
    """The same on one line."""
    versions = [f"{name} {number}" for name, number in machine["versions"].items()]
    accelerator = machine["accelerator"] or "no accelerator"
    where = f"{machine['processor']}, {machine['cores']} cores, {accelerator}"
    return f"{where}; {', '.join(versions)}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if not information.exists():
        return platform.processor() or platform.machine()
    pairs = (
        line.split(":", 1)
        for line in information.read_text().split("\n\n")[0].splitlines()
        if ":" in line
    )
    fields = {name.strip(): value.strip() for name, value in pairs}
    kinds = ("cpu family", "model")
    details = [f"{kind} {fields[kind]}" for kind in kinds if kind in fields]
    details += [unit for unit in _UNITS if unit in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(details)})"


def _accelerator() -> str | None:
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return "; ".join(found.stdout.strip().splitlines()) or None
