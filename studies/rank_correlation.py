"""Spearman's rank correlation with its uncertainty."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

_RESAMPLINGS = 2000


def rank_correlation(
    x: Sequence[float], y: Sequence[float], seed: int = 0
) -> tuple[float, float, float]:
    """Spearman's rank correlation with a 95 % bootstrap interval.

    Args:
        x: First measure, one value a run.
        y: Second measure, one value a run.
        seed: Seed of the bootstrap.

    Returns:
        Correlation, lower and upper end of the interval (percentiles over 2,000
        resamplings of the runs; resamplings in which a measure is constant are left
        out). NaN where a measure is constant.
    """
    first, second = np.asarray(x, float), np.asarray(y, float)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(first), (_RESAMPLINGS, len(first)))
    drawn = np.array([_spearman(first[row], second[row]) for row in rows])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return _spearman(first, second), float(low), float(high)


def _spearman(x: Any, y: Any) -> float:
    # scikit-learn's dependency; its spearmanr warns on constant input.
    from scipy.stats import rankdata

    x, y = rankdata(x), rankdata(y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    return float(np.corrcoef(x, y)[0, 1])
