"""Clocks of the host against a process that really burns CPU."""

import os
import subprocess
import sys
import time

import pytest

from harness.host import cost

BURN = "import time\nend = time.process_time() + 0.15\nwhile time.process_time() < end: pass\ninput()"


def test_busy_time_of_the_host_holds_a_process_that_burns() -> None:
    clock = cost.HostClock()
    before = clock.read()
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 20
        while cost.process_cpu([child.pid]) < 0.15 and time.monotonic() < until:
            time.sleep(0.02)
        spent = cost.process_cpu([child.pid, child.pid])
        usage = cost.between(before, clock.read())
        child.communicate(b"\n")
    assert 0.15 <= spent < 2.0
    assert usage.busy >= 0.1
    assert usage.busy <= usage.elapsed * (os.cpu_count() or 1) + 0.1
    assert usage.steal >= 0.0
    assert usage.above(0.0) == usage.busy


def test_descendants_count_with_their_parent() -> None:
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN!r}])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        until = time.monotonic() + 20
        while cost.process_cpu([child.pid]) < 0.15 and time.monotonic() < until:
            time.sleep(0.02)
        tree, alone = cost.process_cpu([child.pid]), cost.process_cpu([child.pid], tree=False)
        child.communicate(b"\n")
    assert tree >= 0.15
    assert alone < tree
    assert cost.process_cpu([child.pid]) == 0.0


def test_an_idle_window_measures_a_rate() -> None:
    usage = cost.HostClock().idle_window(0.1)
    assert 0.1 <= usage.elapsed < 5.0
    assert 0.0 <= usage.rate <= (os.cpu_count() or 1) + 0.5
    assert 0.0 <= usage.steal_share <= 1.0


def test_one_cpu_is_part_of_all() -> None:
    assert len(cost.HostClock([0]).read().busy) == 1
    assert cost.HostClock([0]).busy() <= cost.HostClock().busy()


def test_usage_from_given_readings() -> None:
    before = cost.Reading(at=10.0, busy=(5.0, 7.0), steal=(0.0, 1.0))
    after = cost.Reading(at=12.0, busy=(6.0, 6.99), steal=(0.5, 1.5))
    usage = cost.between(before, after)
    assert (usage.elapsed, usage.busy, usage.steal) == (2.0, 1.0, 1.0)
    assert usage.above(0.25) == pytest.approx(0.5)
    assert usage.steal_share == pytest.approx(0.5)


def test_names_frequencies_and_throttling() -> None:
    name = os.path.basename(os.readlink("/proc/self/exe"))  # noqa: PTH115, PTH119
    assert set(cost.pids_named([name, "surely-not-there"])) == {name, "surely-not-there"}
    assert cost.pids_named(["surely-not-there"]) == {"surely-not-there": []}
    assert (found := cost.mhz([0])) is None or found > 0
    assert cost.mhz([100000]) is None
    assert (count := cost.throttled()) is None or count >= 0
