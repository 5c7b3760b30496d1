"""Spearman's rank correlation with its uncertainty."""

import math
from collections.abc import Sequence

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
    drawn = _spearman(first[rows], second[rows])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return math.nan, math.nan, math.nan
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(_spearman(first[None], second[None])[0]), float(low), float(high)


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation of each row's ranks, NaN where a row is constant."""
    # scikit-learn's dependency; its spearmanr warns on constant input.
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    x, y = (rankdata(values, axis=1) for values in (x, y))
    x, y = (ranks - ranks.mean(1, keepdims=True) for ranks in (x, y))
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    varies = scale > 0
    found = np.full(len(x), np.nan)
    np.divide((x * y).sum(1), scale, out=found, where=varies)
    return found
