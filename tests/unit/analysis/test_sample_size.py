"""Numbers of blocks: from spreads alone, and never more than fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.intervals import two_stage
from harness.analysis.sample_size import MOST_BLOCKS, Noise, allocate, blocks_for, blocks_to_detect, look_levels

PILOT = [0.02, -0.01, 0.03, 0.0, 0.01, 0.025, -0.015, 0.005, 0.02, -0.005]


def test_as_many_blocks_as_the_pilots_interval_needs() -> None:
    wanted = blocks_for(0.01, PILOT)
    half = stats.t.ppf(0.975, 9) * np.std(PILOT, ddof=1)
    assert wanted == int(np.ceil((half / np.log1p(0.01)) ** 2))
    found = two_stage([*PILOT, *[0.0] * (wanted - 10)], pilot=10)
    assert found.low is not None
    assert found.value - found.low <= np.log1p(0.01)


def test_a_quiet_pilot_is_enough_and_a_wild_one_is_capped() -> None:
    assert blocks_for(0.2, PILOT) == 10
    assert blocks_for(0.0001, PILOT) == MOST_BLOCKS


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=12), st.floats(-1.0, 1.0))
def test_the_number_does_not_depend_on_the_effect(pilot: list[float], effect: float) -> None:
    moved = blocks_for(0.01, [d + effect for d in pilot])
    # Up to rounding of the spread by the shift.
    assert abs(moved - blocks_for(0.01, pilot)) <= 1


def test_looks_spend_the_whole_error_and_no_more() -> None:
    levels = look_levels((10, 20, 40))
    assert sum(1 - level for level in levels) == pytest.approx(0.05)
    assert levels == pytest.approx((0.9875, 0.9875, 0.975))


def test_time_goes_to_the_widest_interval() -> None:
    noises = {
        "quiet": Noise(differences={"a": [0.01 * d for d in PILOT]}, seconds=1.0),
        "noisy": Noise(differences={"a": [0.1 * d for d in PILOT], "b": PILOT}, seconds=2.0),
    }
    found = allocate(noises, {"quiet": 10, "noisy": 10}, seconds=40.9)
    assert found == {"quiet": 10, "noisy": 30}


def test_without_a_comparison_time_is_left_over() -> None:
    assert allocate({"alone": Noise(differences={}, seconds=1.0)}, {"alone": 3}, seconds=99.0) == {"alone": 3}


@given(st.floats(0, 300), st.floats(0.5, 20), st.floats(0.5, 20))
def test_no_more_time_is_given_out_than_there_is(left: float, first: float, second: float) -> None:
    noises = {"x": Noise(differences={"a": PILOT}, seconds=first), "y": Noise(differences={"a": PILOT}, seconds=second)}
    found = allocate(noises, {"x": 10, "y": 10}, left)
    assert (found["x"] - 10) * first + (found["y"] - 10) * second <= left + 1e-6


def test_blocks_to_detect_three_percent() -> None:
    """The figures of a table made by simulation: sd 1 % → 4, 2 % → 6, 3 % → 11, 5 % → 25 blocks."""
    assert [blocks_to_detect(0.03, sd) for sd in (0.01, 0.02, 0.03, 0.05)] == [4, 6, 11, 25]
