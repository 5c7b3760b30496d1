"""How much memory this process holds."""

import sys
from pathlib import Path


def resident_memory() -> float:
    """Bytes in memory now; on systems that only tell the most there was, that."""
    counts = Path("/proc/self/statm")
    if counts.exists():
        import os

        return int(counts.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:
        return 0.0
    # macOS counts bytes, other systems KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
