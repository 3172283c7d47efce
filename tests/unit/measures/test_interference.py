"""What the interference measure does: alone and beside adjacent, who is the cause, aggressors that were not at work."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.measures import interference
from harness.measures.interference import InterferenceMeasure, placed, slowdown
from harness.model import Aggressor, Case, Metric, Role, Sample, Shape, Workload
from harness.runtimes.base import Command, Counters, Instance, Place, RawOutput
from harness.runtimes.fake.instance import FakeInstance, FakeJob
from tests.environment import Asked, BaseEnvironment

SHAPE = Shape(cpus=(1,), memory_mib=64)
OTHERS = ("native", "docker/bridge")
ALONE, BESIDE = 120.0, {"native": 60.0, "docker/bridge": 40.0}


def metric(name: str, source: str, direction: Any = "lower") -> Metric:
    return Metric(name=name, source=source, unit="1", direction=direction)


WORKLOAD = Workload(
    name="interference.cpu",
    title="t",
    measure="interference",
    reader="pairs",
    argv=("fake", "rate=1"),
    aggressor=Aggressor(argv=("fake", "rate=9")),
    metrics=(
        metric("alone", "rate", "higher"),
        *(metric(f"slowdown.{i}", f"beside {v}") for i, v in enumerate(OTHERS)),
    ),
    parameters={"placement": "apart", "settle": 0.0},
    warmup=1,
    iterations=2,
)


class Ended(FakeJob):
    """A aggressor's job, whose exit status is the test's choice."""

    status = -signal.SIGKILL

    def stop(self, deadline: Deadline) -> RawOutput:
        return replace(super().stop(deadline), status=self.status)


class Tenant(FakeInstance):
    """Its rate is what the aggressor of the moment leaves it; at work, it uses CPU time."""

    def __init__(self, place: Place, environment: "Environment", busy: float) -> None:
        super().__init__(place, 1.0)
        self.environment, self.busy, self.seconds = environment, busy, 0.0

    def start(self, command: Command, deadline: Deadline) -> FakeJob:
        if command.argv[1] == "rate=9":
            return self.environment.job(self, {})
        self.environment.windows.append(self.environment.beside)
        return FakeJob(self, {"rate": BESIDE.get(self.environment.beside, ALONE)})

    def counters(self) -> Counters:
        self.seconds += self.busy
        return {"workload": self.seconds, "dockerd": 100 * self.seconds}


class Environment(BaseEnvironment):
    """It knows whose aggressor there is at the moment."""

    def __init__(self, busy: float = 1.0, job: type[FakeJob] = Ended) -> None:
        super().__init__(SHAPE)
        self.busy, self.job = busy, job
        self.beside = ""
        self.windows: list[str] = []
        self.shapes: list[Shape | None] = []

    def workload(self, name: str) -> Workload:
        return WORKLOAD

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        tenant = Tenant(self.nowhere(asked), self, self.busy)
        if asked.role is not Role.AGGRESSOR:
            yield tenant
            return
        self.beside = asked.case.cast[asked.role]
        self.shapes.append(asked.shape)
        yield tenant
        self.beside = ""


@pytest.fixture(autouse=True)
def harness_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interference, "outside", lambda: frozenset({0}))


def measured(environment: Environment, block: int = 1) -> list[Sample]:
    cast = {Role.SUBJECT: "native"}
    case = Case(block=block, position=0, attempt=1, workload=WORKLOAD.name, cast=cast, seed=7)
    return list(InterferenceMeasure().measure(case, environment, Deadline.after(60)))


def test_each_neighbour_has_its_slowdown_and_windows_alone_beside_it() -> None:
    environment = Environment()
    samples = [one for one in measured(environment) if one.phase == "measured"]
    found = {name: [one.value for one in samples if one.metric == name] for name in ("slowdown.0", "slowdown.1")}
    assert found["slowdown.0"] == pytest.approx([2.0, 2.0])
    assert found["slowdown.1"] == pytest.approx([3.0, 3.0])
    assert len([one for one in samples if one.metric == "alone"]) == 4
    assert all(one.valid for one in samples)
    assert environment.windows.count("native") == environment.windows.count("docker/bridge") == 3, (
        "warm-up beside it too"
    )
    assert len({(one.metric, one.iteration) for one in samples}) == len(samples)
    for one in OTHERS:
        at = environment.windows.index(one)
        assert (
            environment.windows[max(at - 2, 0) : at].count("") == 2
            or environment.windows[at + 3 : at + 5].count("") == 2
        )
    assert {str(one["aggressor"]) for one in environment.said()} == set(OTHERS)


def test_the_seed_decides_the_order_and_blocks_differ() -> None:
    orders = []
    for block in range(8):
        first, again = Environment(), Environment()
        measured(first, block)
        measured(again, block)
        assert first.windows == again.windows
        orders.append(tuple(first.windows))
    assert len(set(orders)) > 3


def test_a_neighbour_that_was_not_at_work_voids_its_windows_and_no_other() -> None:
    class Failed(Ended):
        status = 0

    for environment, reason in (
        (Environment(job=Failed), "aggressor: its command ended by itself"),
        (Environment(busy=1e-9), "aggressor: it used 0.0% of a CPU in the window (at least 2% is needed)"),
    ):
        samples = measured(environment)
        assert {one.reason for one in samples if one.metric != "alone"} == {reason}
        assert all(one.valid for one in samples if one.metric == "alone")


def test_a_neighbour_is_apart_only_where_there_is_room() -> None:
    assert placed(SHAPE, (0,), "apart") == (replace(SHAPE, cpus=(0,)), "apart")
    assert placed(SHAPE, (1,), "apart") == (SHAPE, "shared"), "harness and peer share the shape's own"
    assert placed(SHAPE, (0,), "shared") == (SHAPE, "shared")
    two = Shape(cpus=(2, 3), memory_mib=64)
    assert placed(two, (0,), "apart") == (two, "shared")
    environment = Environment()
    measured(environment)
    assert environment.shapes == [replace(SHAPE, cpus=(0,))] * 2


def test_a_slowdown_is_above_one_where_the_victim_suffers() -> None:
    assert slowdown(10.0, 5.0, "higher") == slowdown(5.0, 10.0, "lower") == 2.0
