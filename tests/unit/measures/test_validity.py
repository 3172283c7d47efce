"""The voiding rules see clocks, steal and the proxy, and nothing of what was measured."""

from dataclasses import replace

import pytest

from harness.measures.clock import Clock
from harness.measures.validity import discard_reason, frequency_moved, overloaded
from harness.model import Limits
from harness.runtimes.base import RawOutput


def output(outer: float, inner: float) -> RawOutput:
    return RawOutput(
        status=0,
        stdout="",
        stderr="",
        begin=100.0,
        end=100.0 + outer,
        inner_begin=5.0,
        inner_end=5.0 + inner,
        user=0.0,
        system=0.0,
        steal=0.0,
        voluntary_switches=0,
        involuntary_switches=0,
        minor_faults=0,
        major_faults=0,
    )


@pytest.mark.parametrize(
    ("outer", "inner", "steal", "proxy", "word"),
    [
        (1.0, 0.99, 0.0, 0.0, ""),
        (1.0, 0.99, 0.10, 0.05, ""),
        (1.0, 0.99, 0.11, 0.0, "steal"),
        (1.0, 0.70, 0.0, 0.0, "clock"),
        (1.0, 1.30, 0.0, 0.0, "clock"),
        (10.0, 9.90, 0.0, 0.0, ""),
        (10.0, 9.80, 0.0, 0.0, "clock"),
        (1.0, 1.0, 0.0, 0.06, "docker-proxy"),
    ],
)
def test_void_reason(outer: float, inner: float, steal: float, proxy: float, word: str) -> None:
    clock = Clock()
    clock.take(output(outer, inner))
    reason = discard_reason(clock, steal, proxy, Limits())
    assert reason.startswith(word) and bool(reason) == bool(word)


def test_a_slow_drift_shows_over_many_iterations_and_its_slope_is_measured() -> None:
    clock, rate = Clock(), 0.99
    assert clock.facts() == {} and clock.wrong() == ""
    reasons = []
    for number in range(30):
        begin = 100.0 + 2 * number
        once = replace(output(1.0, rate), begin=begin, end=begin + 1)
        once = replace(once, inner_begin=begin * rate, inner_end=(begin + 1) * rate)
        clock.take(once)
        reasons.append(clock.wrong())
    assert reasons[0] == "" and reasons[-1].startswith("clock: 59.000 s by the host's clock, 58.410 s")
    assert clock.facts()["slope"] == pytest.approx(rate)


def test_a_busy_host_voids_a_block_before_it_begins() -> None:
    assert overloaded(1.4, 2, Limits()) == ""
    assert overloaded(1.6, 2, Limits()).startswith("host load: 80% of the CPUs were busy (limit 75%)")
    assert overloaded(1.6, 2, Limits(load=1.0)) == ""


def test_a_throttled_arm_voids_a_block() -> None:
    assert frequency_moved([], Limits()) == ""
    assert frequency_moved([3000.0, 2800.0], Limits()) == ""
    assert frequency_moved([3000.0, 2600.0], Limits()).startswith("frequency: from 2600 to 3000 MHz")
