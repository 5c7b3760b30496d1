"""Turns, ratios and intervals, against what one finds by hand."""

import numpy as np
import pytest

from benchmarks.harness.paired import alternate, paired_ratio

pytestmark = pytest.mark.any_backend


def test_turns_go_forth_and_back_and_each_begins_with_a_step_that_does_not_count():
    calls = []

    def turn(name, seconds):
        def run(count):
            calls.append((name, count))
            return seconds * len(calls) if count == 5 else 1000.0

        return run

    seconds = alternate([turn("a", 1.0), turn("b", 10.0)], rounds=2, steps=5)

    assert calls == [
        *(("a", 1), ("a", 5), ("b", 1), ("b", 5)),
        *(("b", 1), ("b", 5), ("a", 1), ("a", 5)),
    ]
    assert seconds == [[2.0, 8.0], [40.0, 60.0]]


def test_turns_of_what_shares_its_caches_need_no_warm_up():
    calls = []

    alternate([lambda count: calls.append(count)], rounds=2, steps=3, warm_up=0)

    assert calls == [3, 3]


def test_ratio_is_the_median_of_ratios_within_rounds():
    # 10 / 5, 30 / 10 and 20 / 20; the ratio of the medians would be 2 by other rounds.
    ratio = paired_ratio([10.0, 30.0, 20.0], [5.0, 10.0, 20.0])

    assert ratio.median == 2.0
    # Of the 27 samples of three, 7 have the median 1 and 7 the median 3: over 2.5 %.
    assert (ratio.low, ratio.high) == (1.0, 3.0)


def test_interval_of_a_constant_ratio_is_a_point():
    figures = np.random.default_rng(0).uniform(1, 2, 20)

    assert paired_ratio(figures, figures / 4) == (4.0, 4.0, 4.0)


def test_interval_narrows_with_the_rounds():
    random = np.random.default_rng(0)

    def width(rounds):
        ratio = paired_ratio(random.normal(1, 0.1, rounds), np.ones(rounds))
        return ratio.high - ratio.low

    assert width(400) < width(25) / 2
