"""Where a training step's time goes: by depth, forward against backward, the update.

The network is cut off after each depth, and the forward pass and the gradient of every
prefix are timed in turn. What a depth costs is what a prefix costs more than the one
before.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.speed.turns import alternate

STEP, UPDATE = "step", "update"


def forward(depth: str) -> str:
    """Name of the forward pass up to a depth."""
    return f"forward to {depth}"


def gradient(depth: str) -> str:
    """Name of the gradient of what stands at a depth."""
    return f"gradient to {depth}"


def time_pieces(
    pieces: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of each piece, round by round, in turns.

    Args:
        pieces: Compiled functions that wait for their own end, by name.
        rounds: How often each has a turn.
    """

    def turn(piece):
        def run(count):
            start = time.perf_counter()
            for _ in range(count):
                piece()
            return (time.perf_counter() - start) / count

        return run

    for piece in pieces.values():
        piece()
    seconds = alternate([turn(piece) for piece in pieces.values()], rounds, 1)
    return dict(zip(pieces, seconds, strict=True))


def milliseconds_by_part(
    seconds: Mapping[str, Sequence[float]], depths: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Medians over rounds of what each part adds.

    Args:
        seconds: As `time_pieces` returns them: the step, the update, and for every
            depth its forward pass and its gradient.
        depths: Shallow to deep.

    Returns:
        By depth `{"forward", "backward"}`, then `update` and `rest` as `{"all"}`, in
        milliseconds: the rest of a step is what neither gradient nor update explains.
    """
    times = {name: np.asarray(values) for name, values in seconds.items()}
    forward_before = backward_before = np.zeros(1)
    parts = {}
    for depth in depths:
        forward_here = times[forward(depth)]
        backward_here = times[gradient(depth)] - forward_here
        parts[depth] = {
            "forward": _milliseconds(forward_here - forward_before),
            "backward": _milliseconds(backward_here - backward_before),
        }
        forward_before, backward_before = forward_here, backward_here
    parts[UPDATE] = {"all": _milliseconds(times[UPDATE])}
    explained = times[gradient(depths[-1])] + times[UPDATE]
    parts["rest"] = {"all": _milliseconds(times[STEP] - explained)}
    parts[STEP] = {"all": _milliseconds(times[STEP])}
    return parts


def _milliseconds(seconds: np.ndarray) -> float:
    return 1e3 * float(np.median(seconds))
