"""What a contender does in its process."""

from typing import Any


class Work:
    """One contender's work, phase by phase.

    Its arguments come as JSON. The constructor only imports: what it takes is no part
    of the figures.
    """

    # What one process can do in several ways. Each is run once before it is timed.
    parts: tuple[str, ...] = ("",)

    def build(self) -> None:
        """Make the network or the data."""

    def compile(self) -> None:
        """Prepare the steps; with the first of them this is the time of compiling."""

    def run(self, count: int, part: str) -> float:
        """Take steps and wait for the last; how many units of the figures they were."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What the JSON keeps of it, beside figures."""
        return {}

    def device_peak_bytes(self) -> int | None:
        """Most memory that it held on an accelerator."""
        return None
