"""Resident memory of this process, and its peak."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def _status_bytes(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])
    return None


def resident_bytes() -> int | None:
    """Memory that is resident now; `None` where the system does not say."""
    return _status_bytes("VmRSS")


def peak_resident_bytes() -> int | None:
    """Most memory that was resident since the start or the last `forget_peak`."""
    return _status_bytes("VmHWM")


def forget_peak() -> None:
    """Let the peak start again from what is resident now."""
    # Writing 5 resets the peak; see proc(5).
    if _STATUS.exists():
        Path("/proc/self/clear_refs").write_text("5")
