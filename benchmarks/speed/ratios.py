"""Medians, and ratios of contenders that took turns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Ratio(NamedTuple):
    """How many times as fast as the reference, with its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


def speed_ratio(
    reference: Sequence[float],
    seconds: Sequence[float],
    resamples: int = 2000,
    seed: int = 0,
) -> Ratio:
    """How many times as fast as a reference a contender is: above 1 is faster.

    The median over rounds of the ratio within a round, where both met the same machine,
    and the percentile bootstrap over rounds (Efron & Tibshirani 1993, chapter 13).

    Args:
        reference: Seconds per step of the reference, round by round.
        seconds: The contender's, of the same rounds.
        resamples: Bootstrap samples. Defaults to 2000.
        seed: Of the resampling. Defaults to 0.

    Returns:
        The ratio and its interval.
    """
    ratios = np.asarray(reference) / np.asarray(seconds)
    drawn = np.random.default_rng(seed).integers(
        0, len(ratios), (resamples, len(ratios))
    )
    low, high = np.quantile(np.median(ratios[drawn], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def fastest(seconds_by_name: dict[str, Sequence[float]]) -> str:
    """Name of the contender with the smallest median."""
    return min(seconds_by_name, key=lambda name: np.median(seconds_by_name[name]))
