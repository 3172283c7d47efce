"""Clocks of the host against a process that really burns CPU."""

import os
import subprocess
import sys

import pytest

from harness.host import cost

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass"


def test_a_meter_sees_a_process_that_burns() -> None:
    meter = cost.HostMeter(cpus=range(os.cpu_count() or 1), idle=0.0)
    subprocess.run([sys.executable, "-c", BURN], check=True)
    found = meter.read()
    assert found.cpu >= 0.25
    assert found.cpu <= found.elapsed * (os.cpu_count() or 1) + 0.1
    assert 0.0 <= found.steal_share <= 1.0


def test_the_idle_window_is_taken_off() -> None:
    busy = cost.HostMeter(cpus=[0], idle=0.0).read().cpu
    assert cost.HostMeter(cpus=[0], idle=1000.0).read().cpu < busy


def test_an_idle_window_measures_a_rate() -> None:
    assert 0.0 <= cost.idle_rate(0.1) <= (os.cpu_count() or 1) + 0.5


def test_one_cpu_is_part_of_all() -> None:
    assert len(cost.reading([0]).busy) == 1
    assert sum(cost.reading([0]).busy) <= sum(cost.reading().busy)


def test_usage_from_given_readings() -> None:
    before = cost.Reading(at=10.0, busy=(5.0, 7.0), steal=(0.0, 1.0))
    after = cost.Reading(at=12.0, busy=(6.0, 6.99), steal=(0.5, 1.5))
    usage = cost.between(before, after)
    assert usage.busy == pytest.approx(1.0)
    assert (usage.elapsed, usage.steal) == (2.0, 1.0)


def test_a_frequency_is_known_or_none() -> None:
    assert (found := cost.mhz([0])) is None or found > 0
    assert cost.mhz([100000]) is None
