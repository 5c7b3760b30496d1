"""Contenders take turns, and are compared within each round."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

Figure = TypeVar("Figure")


def alternate(
    turns: Sequence[Callable[[int], Figure]], rounds: int, steps: int, warm_up: int = 1
) -> list[list[Figure]]:
    """Let contenders take turns, so that all meet the same machine.

    Every other round goes backwards.

    Args:
        turns: Each runs that many steps and says what it took.
        rounds: How often everybody has a turn.
        steps: Steps of a turn that count.
        warm_up: Steps before them, as the caches hold another's values. Defaults to 1.

    Returns:
        For each contender what its turns took, round by round.
    """
    figures: list[list[Figure]] = [[] for _ in turns]
    for number in range(rounds):
        order = range(len(turns))
        for index in reversed(order) if number % 2 else order:
            if warm_up:
                turns[index](warm_up)
            figures[index].append(turns[index](steps))
    return figures


class Ratio(NamedTuple):
    """A median ratio with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


def paired_ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """How many times the figures below the line those above it are.

    The median over rounds of the ratio within a round, where both met the same machine,
    and the percentile bootstrap over rounds (Efron & Tibshirani 1993, chapter 13).
    """
    ratios = np.asarray(above) / np.asarray(below)
    drawn = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))
