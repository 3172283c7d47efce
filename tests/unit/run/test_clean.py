"""Cleaning goes on past what it cannot remove, and says what that was."""

import threading
import time
from collections.abc import Iterable

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Leftover
from harness.run.clean import LANES, clean


class Shelf:
    """A sweeper over a list."""

    def __init__(self, *names: str, blind: bool = False) -> None:
        self.names = list(names)
        self.blind = blind

    def leftovers(self) -> Iterable[Leftover]:
        if self.blind:
            raise TareError("nobody answers", hint="start it")
        return [Leftover(kind="thing", name=name) for name in self.names]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        if leftover.name == "stuck":
            raise TareError("it is held", hint="let go")
        self.names.remove(leftover.name)


def test_what_can_be_removed_is_and_the_rest_is_listed() -> None:
    shelf, other = Shelf("a", "stuck", "b"), Shelf("c")
    done = clean([("shelf", shelf), ("blind", Shelf(blind=True)), ("other", other)], Deadline.after(5))
    assert [one.name for one in done.removed] == ["a", "b", "c"]
    assert shelf.names == ["stuck"]
    assert [(one.what, one.fix) for one in done.stuck] == [("thing stuck", "let go"), ("blind", "start it")]


class IdleInstances:
    """A sweeper over what may go beside each other, then over what may not; each kind's most at a time is counted."""

    def __init__(self, count: int) -> None:
        self.left = [Leftover(kind="box", name=f"box{number}", run="r1", beside=True) for number in range(count)]
        self.left += [Leftover(kind="lid", name=f"lid{number}", run="r1") for number in range(3)]
        self.under_way = {"box": 0, "lid": 0}
        self.most = {"box": 0, "lid": 0}
        self.full = threading.Barrier(LANES)
        self._lock = threading.Lock()

    def leftovers(self) -> Iterable[Leftover]:
        return [*self.left, Leftover(kind="box", name="another run's", run="r2", beside=True)]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        with self._lock:
            assert leftover.kind == "box" or self.under_way["box"] == 0, "its kind is not begun yet"
            self.under_way[leftover.kind] += 1
            self.most[leftover.kind] = max(self.most[leftover.kind], self.under_way[leftover.kind])
        if leftover.kind == "box":
            self.full.wait(20)
        with self._lock:
            self.under_way[leftover.kind] -= 1
            if int(leftover.name[3:]) % 5 == 0:
                raise TareError("it is held")
            self.left.remove(leftover)


def test_what_may_go_beside_others_goes_eight_at_a_time_and_what_is_held_stops_none_of_them() -> None:
    idle_instances = IdleInstances(5 * LANES)
    done = clean([("idle_instances", idle_instances)], Deadline.after(60), "r1")
    assert idle_instances.most == {"box": LANES, "lid": 1} and LANES == 8
    held = [f"box{number}" for number in range(0, 5 * LANES, 5)] + ["lid0"]
    assert [one.name for one in idle_instances.left] == held
    assert [one.what.split()[1] for one in done.stuck] == held, "in the order in which they were found"
    assert len(done.removed) == 4 * LANES + 2 and {one.run for one in done.removed} == {"r1"}


def test_what_may_not_go_beside_others_is_removed_in_the_thread_that_asks() -> None:
    threads: list[int] = []

    class Single(IdleInstances):
        def remove(self, leftover: Leftover, deadline: Deadline) -> None:
            threads.append(threading.get_ident())

    clean([("single", Single(0))], Deadline.after(5), "r1")
    assert threads == [threading.get_ident()] * 3


def test_once_time_is_up_all_that_is_left_is_said() -> None:
    class Slow(IdleInstances):
        def remove(self, leftover: Leftover, deadline: Deadline) -> None:
            deadline.check(f"removing {leftover.name}")
            time.sleep(0.1)

    done = clean([("slow", Slow(5 * LANES))], Deadline.after(0.25), "r1")
    assert done.removed and done.stuck and len(done.removed) + len(done.stuck) == 5 * LANES + 3
    assert all("in time" in one.reason for one in done.stuck)


def test_an_interrupt_waits_for_those_under_way_and_begins_no_more() -> None:
    begun: list[str] = []

    class Interrupted(IdleInstances):
        def remove(self, leftover: Leftover, deadline: Deadline) -> None:
            begun.append(leftover.name)
            time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clean([("interrupted", Interrupted(100 * LANES))], Deadline.after(60))
    count = len(begun)
    time.sleep(0.2)
    assert count == len(begun) < 10 * LANES
