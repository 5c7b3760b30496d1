"""Differences of means: Welch's interval, and the words for it."""

import math

import numpy as np
import pytest
from scipy import stats

from studies.comparisons import difference

pytestmark = pytest.mark.any_backend


def test_interval_is_welchs():
    first, second = [31.0, 30.2, 32.1], [28.5, 28.9, 27.7]
    found = difference(first, second, comparisons=5, seeds=3)

    # By hand (Welch 1947): standard error, Welch-Satterthwaite degrees of freedom.
    a, b = (np.var(values, ddof=1) / 3 for values in (first, second))
    freedom = (a + b) ** 2 / (a**2 / 2 + b**2 / 2)
    half = stats.t.ppf(1 - 0.05 / 5 / 2, freedom) * math.sqrt(a + b)
    mean = np.mean(first) - np.mean(second)
    np.testing.assert_allclose(
        (found.mean, found.low, found.high), (mean, mean - half, mean + half)
    )


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ([30.0, 30.1, 30.2], [20.0, 20.1, 20.2], "better"),
        ([20.0, 20.1, 20.2], [30.0, 30.1, 30.2], "worse"),
        ([20.0, 20.01, 20.02], [20.0, 20.01, 20.02], "alike"),
        ([20.0, 22.0, 24.0], [20.0, 22.0, 24.0], "open"),
        ([30.0, 30.1], [20.0, 20.1], "not decided"),
        ([30.0], [20.0, 20.1], "not decided"),
        ([], [20.0], "not decided"),
    ],
)
def test_verdicts(first, second, verdict):
    assert difference(first, second, comparisons=1, seeds=3).verdict == verdict


def test_more_comparisons_widen_the_interval():
    values = [20.0, 22.0, 24.0], [10.0, 11.0, 12.0]
    one, many = (difference(*values, comparisons=n, seeds=3) for n in (1, 10))
    assert many.low < one.low < one.high < many.high
