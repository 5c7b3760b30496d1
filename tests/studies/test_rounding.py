"""Means, deviations and rounding, against decimals by hand and NumPy."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.rounding import mean, percent, with_deviation, written

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        # As floats these lie below or above the half that they are written as.
        (2.675, 2, "2.68"),
        (2.665, 2, "2.66"),
        (1.005, 2, "1.00"),
        (1.015, 2, "1.02"),
        (0.5, 0, "0"),
        (1.5, 0, "2"),
        (89.759, 2, "89.76"),
        (1e-9, 2, "0.00"),
        (-1e-9, 2, "0.00"),
        (1234.5, 3, "1234.500"),
    ],
)
def test_halves_go_to_the_even_digit_of_the_decimal(value, digits, text):
    assert written(value, digits) == text


def test_a_sign_before_what_is_positive():
    assert [written(v, 1, sign=True) for v in (0.25, -0.25, 0.0)] == [
        "+0.2", "-0.2", "+0.0",
    ]  # fmt: skip


def test_the_figure_that_once_was_wrong():
    accuracies = percent([0.8980952380952381, 0.8970476190476191, 0.8976190476190476])
    assert with_deviation(accuracies) == "89.76 ± 0.05"
    assert with_deviation([89.70, 89.76, 89.81]) == "89.76 ± 0.06"


def test_percent_brings_no_error():
    assert written(percent([0.28999])[0], 3) == "28.999"
    assert percent([0.07]) == [7]


def test_one_value_has_no_deviation():
    assert with_deviation([85.125]) == "85.12"


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=6))
def test_statistics_are_those_of_others(counts):
    values = [count / 10**4 for count in counts]
    assert float(mean(values)) == pytest.approx(statistics.fmean(values))
    _, _, deviation = with_deviation(values, 8).partition(" ± ")
    assert float(deviation) == pytest.approx(
        np.std(values, ddof=1), abs=6e-9, rel=1e-12
    )
