"""Intervals against other ways to the same figure."""

import math

import numpy as np
import pytest
from scipy import stats

from harness.analysis.intervals import (
    bootstrap_t,
    estimate,
    geometric,
    holm,
    is_quantile,
    relative,
    sign_flip,
    simultaneous,
    t_test,
    two_stage,
)

VALUES = [0.021, 0.034, 0.012, 0.029, 0.041, 0.018, 0.025, 0.032, 0.011, 0.027]


def test_students_interval_is_scipys() -> None:
    theirs = stats.ttest_1samp(VALUES, 0.0)
    ours = estimate(VALUES)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))
    assert t_test(VALUES) == pytest.approx(theirs.pvalue)


def test_the_second_stage_has_the_pilots_spread_and_freedom() -> None:
    found = two_stage([*VALUES, 0.025, 0.025], pilot=10)
    half = stats.t.ppf(0.975, 9) * np.std(VALUES, ddof=1) / math.sqrt(12)
    assert found.low is not None
    assert found.value - found.low == pytest.approx(half)
    assert found.n == 12


def test_a_tail_that_the_pilot_missed_widens_the_interval() -> None:
    values = [*VALUES, 0.5, -0.5]
    assert two_stage(values, pilot=10) == estimate(values)


def test_a_pilot_of_one_has_no_interval() -> None:
    assert two_stage(VALUES, pilot=1).low is None


def test_bootstrap_t_follows_the_skew() -> None:
    skewed = [math.exp(value) for value in (0.0, 0.1, 0.2, 0.1, 0.05, 0.15, 0.1, 2.5, 0.0, 0.1)]
    found, plain = bootstrap_t(skewed), estimate(skewed)
    assert found.high is not None
    assert found.low is not None
    assert plain.high is not None
    assert found.high - found.value > found.value - found.low
    assert found.high > plain.high
    assert bootstrap_t(skewed) == found


def test_bootstrap_t_is_students_below_eight() -> None:
    assert bootstrap_t(VALUES[:7]) == estimate(VALUES[:7])


@pytest.mark.parametrize(
    ("metric", "answer"),
    [("latency-p99.9", True), ("rtt-p50", True), ("p95", True), ("rate", False), ("host-cpu-per-op", False)],
)
def test_percentiles_are_known_by_their_name(metric: str, answer: bool) -> None:
    assert is_quantile(metric) is answer


def test_holm_by_hand_leaves_gaps_where_there_is_no_p() -> None:
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
    assert holm([]) == []


def test_no_variation_is_certain_or_nothing() -> None:
    assert t_test([0.1, 0.1, 0.1]) == 0.0
    assert t_test([0.0, 0.0]) == 1.0
    assert t_test([0.1]) is None


def test_an_end_beyond_all_floats_is_infinite() -> None:
    assert relative(1e4) == math.inf
    assert relative(-1e4) == -1.0
    found = geometric([1e-200, 1e200])
    assert found is not None
    assert (found.low, found.high) == (0.0, math.inf)


def test_sign_flip_is_exact_for_few() -> None:
    assert sign_flip([1.0, 1.1, 0.9, 1.2, 0.8, 1.3]) == pytest.approx(2 / 64)


def test_simultaneous_confidence() -> None:
    assert simultaneous(0.95, 10) == pytest.approx(0.995)
    assert simultaneous(0.95, 0) == pytest.approx(0.95)
