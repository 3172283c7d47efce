"""The density measure: one admission rule, the limit that ended it by name, and no instance left behind."""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.ceilings import Ceiling, ceilings, many_open_files, met
from harness.measures import density
from harness.measures.density import DensityMeasure, Point, fields_of, is_step
from harness.measures.idle_instances import IdleInstances
from harness.model import Case, Milestone, Role, Shape, Workload
from harness.runtimes.base import Command, Instance, Place, RawOutput
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import Asked, BaseEnvironment

SHAPE = Shape(cpus=(0,), memory_mib=64)
CASE = Case(block=1, position=0, attempt=1, workload="density.launch", cast={Role.SUBJECT: "fake/baseline"})
GOLDEN = Path(__file__).parents[1] / "readers" / "golden" / "cpu.sysbench.txt"


class Busy(FakeInstance):
    """A fake instance whose every command prints what sysbench did once."""

    def __init__(self, place: Place, slow: Mapping[str, float]) -> None:
        super().__init__(place, 1.0)
        self._milestones[Milestone.READY] = self._milestones[Milestone.REQUESTED] + slow.get(place.name, 0.1)

    def start(self, command: Command, deadline: Deadline) -> Any:
        return self

    def stop(self, deadline: Deadline) -> RawOutput:
        raise AssertionError("it ends by itself")

    def wait(self, milestone: Any, deadline: Deadline | None = None) -> Any:
        if isinstance(milestone, Deadline):
            output = super().run({}, 0.0, milestone)
            return replace(output, stdout=GOLDEN.read_text())
        assert deadline is not None
        return super().wait(milestone, deadline)


class Environment(BaseEnvironment):
    """It counts its instances; `refuse` may raise for the number of one."""

    def __init__(self, refuse: Callable[[int], None] = lambda _: None, **parameters: float) -> None:
        super().__init__(SHAPE)
        self.parameters = parameters
        self.refuse = refuse
        self.slow: dict[str, float] = {}
        self.lock = threading.Lock()
        self.launched = 0
        self.living: set[str] = set()
        self.shapes: set[Shape | None] = set()

    def workload(self, name: str) -> Workload:
        found = super().workload(name)
        return replace(found, parameters={**found.parameters, **self.parameters})

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        assert not asked.connected
        self.shapes.add(asked.shape)
        with self.lock:
            name, self.launched = f"x-{self.launched}", self.launched + 1
        if asked.entry == "beacon":
            self.refuse(int(name.removeprefix("x-")))
        self.living.add(name)
        try:
            yield Busy(self.nowhere(asked, name), self.slow)
        finally:
            self.living.remove(name)

    def told(self) -> dict[str, Any]:
        (found,) = self.said()
        return found


def run(environment: Environment) -> dict[str, float | None]:
    samples = list(DensityMeasure().measure(CASE, environment, Deadline.after(1800)))
    assert not environment.living and not environment.kept
    assert {shape.memory_mib for shape in environment.shapes if shape} == {128}
    return {one.metric: one.value for one in samples}


def test_it_ends_at_the_workloads_own_number_and_all_are_removed() -> None:
    environment = Environment()
    values = run(environment)
    told = environment.told()
    assert told["limit"]["kind"] == "most"
    assert [point[0] for point in told["points"]] == [0, 5, 10, 15, 20]
    assert values["ready-at-5"] == values["ready-at-20"] == pytest.approx(0.1)
    assert values["probe-at-20"] and values["probe-at-20"] > 0
    assert values["teardown-per-instance"] == told["teardown"] / 20
    assert [bool(point[4]) for point in told["points"]] == [True, True, True, False, True], "the probe runs at steps"


def test_a_slow_batch_is_the_last_one() -> None:
    environment = Environment(latency_seconds=1)
    environment.slow = {f"x-{number}": 2.0 for number in range(6, 12)}
    values = run(environment)
    assert environment.told()["limit"]["kind"] == "latency"
    assert environment.told()["points"][-1][0] == 10
    assert "ready-at-20" not in values, "a count that was not reached makes no sample"


def test_memory_below_the_floor_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([100, 100, 40, 40, 10] + [10] * 9)
    memory = type("Memory", (), {"total": 200, "available": property(lambda _: next(left))})
    monkeypatch.setattr(psutil, "virtual_memory", memory)
    environment = Environment(floor_share=0.1)
    run(environment)
    assert environment.told()["limit"]["kind"] == "memory"
    assert environment.told()["points"][-1][0] == 5, "one more batch would go below the floor"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "open files: "),
        (TareError("cannot start bwrap", details="[Errno 11] Resource temporarily unavailable"), "processes: "),
        (TareError("Docker did not start", details="adding interface: exchange full"), "bridge ports: "),
    ],
)
def test_what_the_kernel_refuses_is_a_limit_and_is_named(error: Exception, words: str) -> None:
    def refuse(number: int) -> None:
        if number > 12:
            raise error

    environment = Environment(refuse)
    run(environment)
    assert environment.told()["limit"]["kind"] == "kernel"
    assert environment.told()["limit"]["words"].startswith(words)
    assert environment.told()["points"][-1][0] == 10


def test_any_other_failure_fails_the_case_and_keeps_the_curve() -> None:
    def refuse(number: int) -> None:
        if number > 12:
            raise TareError("its image is gone")

    environment = Environment(refuse)
    with pytest.raises(TareError, match="failed beside 10 other instances: its image is gone"):
        run(environment)
    assert not environment.living
    assert [point[0] for point in environment.told()["points"]] == [0, 5, 10]
    assert environment.told()["limit"]["kind"] == "interrupted"


def test_a_shared_limit_of_the_kernel_is_not_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([100, 400, 700, 1000])
    monkeypatch.setattr(density, "ceilings", lambda: [Ceiling(name="threads", used=next(used), most=1000)])
    environment = Environment()
    run(environment)
    assert environment.told()["limit"] == {"kind": "kernel", "words": "threads: 700 of 1,000 are in use"}


def test_memory_each_is_the_slope_that_one_neighbour_does_not_bend() -> None:
    points = [Point(count=count, used=1000 * count + (500_000 if count == 30 else 0)) for count in range(0, 60, 5)]
    assert fields_of(points, 2.2)["memory-per-instance"] == pytest.approx(1000, rel=0.1)
    assert fields_of(points, 2.2)["count"] == 55


def test_the_probe_runs_at_steps_of_one_two_and_five() -> None:
    assert [count for count in range(1, 1001) if is_step(count)] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


def test_a_crowd_that_is_interrupted_is_removed_with_those_that_were_still_coming() -> None:
    gone = threading.Semaphore(0)

    class Never(Busy):
        def wait(self, milestone: Any, deadline: Deadline | None = None) -> Any:
            raise DeadlineExceeded("not yet")

    @contextmanager
    def launch(deadline: Deadline) -> Iterator[Instance]:
        yield Never(Place(name="x-1", directory=Path(), entry="beacon", shape=SHAPE), {})
        gone.release()

    with contextlib.suppress(KeyboardInterrupt), IdleInstances(launch, 3) as idle_instances:
        threading.Thread(target=idle_instances.add, args=(3, Deadline.after(60)), daemon=True).start()
        while len(idle_instances._held) < 3:
            pass
        raise KeyboardInterrupt
    assert all(gone.acquire(blocking=False) for _ in range(3))


def test_one_that_cannot_be_removed_does_not_keep_the_others_and_is_said() -> None:
    ended: list[int] = []

    @contextmanager
    def launch(deadline: Deadline) -> Iterator[Instance]:
        number = len(ended) + 1
        yield Busy(Place(name=f"x-{number}", directory=Path(), entry="beacon", shape=SHAPE), {})
        ended.append(number)
        if len(ended) == 2:
            raise TareError("it is held")

    idle_instances = IdleInstances(launch, 4)
    assert len(idle_instances.add(4, Deadline.after(5)).ready) == 4
    with pytest.raises(TareError, match="1 of 4 instances could not be removed"):
        idle_instances.remove()
    assert len(ended) == 4


def test_the_hosts_limits_can_be_read_and_open_files_are_put_back() -> None:
    before = {one.name: one.most for one in ceilings()}
    assert {"process ids", "threads", "open files"} <= before.keys()
    assert all(0 < one.used < one.most for one in ceilings())
    with many_open_files():
        assert {one.name: one.most for one in ceilings()}["open files"] >= before["open files"]
    assert {one.name: one.most for one in ceilings()} == before
    assert met(TareError("its image is gone")) == ""
