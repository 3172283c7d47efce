"""The daemons' events of a container's start, and the wall clock that they carry."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.model import Milestone
from harness.runtimes.docker.daemon_events import STEP_NS, ContainerdEvents, WallClock, has_socket, obstacle, parse

ONE, OTHER = "1" * 64, "2" * 64
LINES = [
    f'2026-11-26 03:00:01.123456789 +0000 UTC moby /containers/create {{"id":"{ONE}","runtime":{{"name":"runc"}}}}',
    f'2026-11-26 03:00:01.2 +0000 UTC moby /tasks/create {{"container_id":"{ONE}","pid":7}}',
    f'2026-11-26 03:00:02 +0000 UTC moby /tasks/start {{"container_id":"{OTHER}","pid":8}}',
    f'2026-11-26 03:00:03 +0000 UTC moby /tasks/exit {{"container_id":"{ONE}","pid":7}}',
    f'2026-11-26 03:00:04 +0000 UTC k8s.io /containers/create {{"id":"{OTHER}","labels":{{"of":"{ONE}"}}}}',
    f'2026-11-26 03:00:05 +0000 UTC moby /tasks/create {{"container_id":"{ONE}","pid":9}}',
    f'2026-11-26 03:00:06 +0000 UTC moby /tasks/start {{"container_id":"{ONE}","half":{{}}',
    f'time="2026-11-26T03:00:00Z" level=warning msg="cannot unmarshal an event of {ONE}"',
]
SECOND = int(datetime(2026, 11, 26, 3, 0, 1, tzinfo=UTC).timestamp()) * 10**9


def test_the_first_event_of_each_kind_counts_for_that_container_alone() -> None:
    assert parse(LINES, ONE) == {Milestone.CONTAINER: SECOND + 123456789, Milestone.TASK: SECOND + 200000000}
    assert parse(LINES, OTHER) == {Milestone.CONTAINER: SECOND + 3 * 10**9, Milestone.STARTED: SECOND + 10**9}
    assert parse(LINES, "3" * 64) == {}


def test_the_wall_clock_becomes_the_monotonic_one() -> None:
    before, clock, wall = time.monotonic(), WallClock.now(), time.time_ns()
    assert before <= clock.monotonic(wall) + 1e-3 and clock.monotonic(wall) <= time.monotonic() + 1e-3
    assert clock.monotonic(wall + 10**9) - clock.monotonic(wall) == pytest.approx(1.0, abs=1e-6)


def test_a_wall_clock_that_was_set_is_noticed() -> None:
    clock = WallClock(10**18)
    assert clock.agrees(WallClock(10**18 + STEP_NS)) and clock.agrees(WallClock(10**18 - STEP_NS))
    assert not clock.agrees(WallClock(10**18 + STEP_NS + 1))
    assert not clock.agrees(WallClock(10**18 - 3600 * 10**9))


def test_without_containerd_nothing_is_recorded_and_there_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = ContainerdEvents(None)
    assert events.reason and events.of(ONE) == {}
    events.close()
    (tmp_path / "containerd.sock").touch(mode=0o000)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert obstacle(tmp_path / "containerd.sock") == "not installed: ctr, setpriv"


def test_a_process_without_a_socket_is_not_connected() -> None:
    assert not has_socket(2**22 + 1)
