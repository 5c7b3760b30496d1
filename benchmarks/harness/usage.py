"""Memory and processor time of this process and of those that it has started."""

import contextlib
import os
import time
from pathlib import Path

_STATUS = Path("/proc/self/status")


def resident_bytes() -> int | None:
    """Memory that is resident now; `None` where the system does not say."""
    return _bytes(_STATUS, "VmRSS")


def peak_resident_bytes() -> int | None:
    """Most memory that was resident since the start or the last `forget_peak`."""
    return _bytes(_STATUS, "VmHWM")


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    # Writing 5 resets the peak; see proc(5).
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")


def bytes_of_children() -> int:
    """Memory that the processes started from here have for themselves."""
    rollups = (Path(f"/proc/{child}/smaps_rollup") for child in _children())
    return sum(_bytes(rollup, "Private_Dirty") or 0 for rollup in rollups)


def cpu_seconds() -> float:
    """Processor time of this process and of those that it has started and still run."""
    ticks = 0
    for child in _children():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + (ticks / os.sysconf("SC_CLK_TCK") if ticks else 0)


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        return [int(number) for number in listed.split()]
    return []


def _bytes(file: Path, field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{field}:"):
                return 1024 * int(line.split()[1])
    return None
