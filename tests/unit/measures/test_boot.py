"""The boot measure: a span for each milestone less signalling overhead; a full system's account; cold launches."""

import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.measures.boot import ACCOUNT, BootMeasure, span
from harness.model import Accelerator, Case, Milestone, Role
from harness.runtimes.base import (
    BESIDE,
    Command,
    Counters,
    Entry,
    Instance,
    Place,
    SignallingOverhead,
)
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import Asked, BaseEnvironment

FULL = {milestone: float(number) for number, milestone in enumerate(Milestone)}
BARE = {milestone: FULL[milestone] for milestone in (Milestone.REQUESTED, Milestone.CREATED, Milestone.READY)}
COSTS = {
    milestone: SignallingOverhead(seconds=0.25, low=0.2, high=0.5, readings=5, method="interval")
    for milestone in (Milestone.READY,)
}
BESIDE_SECONDS = 1000.0


class Booted(FakeInstance):
    """A fake instance with milestones of the test's choice."""

    def __init__(self, place: Place, milestones: Mapping[Milestone, float], accelerator: Accelerator) -> None:
        super().__init__(place, 1.0)
        self.accelerator = accelerator
        self._milestones = dict(milestones)
        self.last = Milestone.SERVICE if Milestone.SERVICE in milestones else Milestone.READY
        self.jobs: list[Command] = []

    def counters(self) -> Counters:
        return {BESIDE: BESIDE_SECONDS}

    def start(self, command: Command, deadline: Deadline) -> Any:
        self.jobs.append(command)
        raise TareError("no systemd here")

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        return COSTS


class Mute(Booted):
    """One whose agent cannot tell."""

    def signalling_overheads(self, deadline: Deadline) -> Mapping[Milestone, SignallingOverhead]:
        raise TareError("its lines did not come")


class Environment(BaseEnvironment):
    """Instances with milestones of the test's choice, which read its files."""

    def __init__(
        self,
        milestones: Mapping[Milestone, float],
        kind: type[Booted] = Booted,
        files: Iterable[Path] = (),
        accelerator: Accelerator = Accelerator.NONE,
    ) -> None:
        super().__init__()
        self.milestones, self.accelerator = milestones, accelerator
        self.kind, self.read = kind, files
        self.entries: list[Entry] = []

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        self.entries.append(asked.entry)
        yield self.kind(self.nowhere(asked), self.milestones, self.accelerator)

    def files(self, case: Case, deadline: Deadline) -> Iterable[Path]:
        return self.read


def case(block: int = 3, workload: str = "boot.ready") -> Case:
    return Case(block=block, position=0, attempt=1, workload=workload, cast={Role.SUBJECT: "libvirt/tcg-system"})


def test_a_mark_that_an_instance_has_not_makes_no_sample() -> None:
    environment = Environment(BARE)
    samples = list(BootMeasure().measure(case(), environment, Deadline.after(60)))
    assert {one.metric for one in samples} - {"host-cpu"} == {"created", "ready"}
    assert {one.elapsed for one in samples} == {FULL[Milestone.READY]}
    assert environment.entries == ["agent", *["beacon"] * 4], "it is asked once, before the first launch"
    assert environment.kept == [], "there is no output"


def test_the_beacons_own_cost_is_subtracted_and_the_marks_stay_as_they_were_stamped() -> None:
    environment, measure = Environment(BARE), BootMeasure()
    samples = list(measure.measure(case(), environment, Deadline.after(60)))
    values = {one.metric: one.value for one in samples if one.metric != "host-cpu"}
    assert values == {"created": FULL[Milestone.CREATED], "ready": FULL[Milestone.READY] - 0.25}
    assert environment.said("milestones")[0]["milestones"] == {milestone.value: at for milestone, at in BARE.items()}
    told = {"seconds": 0.25, "low": 0.2, "high": 0.5, "readings": 5, "method": "interval"}
    assert environment.said("beacon") == [{"costs": {"ready": told}, "failed": ""}]


def test_a_cost_that_cannot_be_measured_is_said_and_not_subtracted() -> None:
    environment, measure = Environment(BARE, Mute), BootMeasure()
    for block in (1, 2):
        samples = list(measure.measure(case(block), environment, Deadline.after(60)))
        assert {one.value for one in samples if one.metric == "ready"} == {FULL[Milestone.READY]}
    assert environment.said("beacon") == [{"costs": {}, "failed": "its lines did not come"}], "for the whole run alike"


def test_no_span_is_zero_or_less() -> None:
    milestones = {Milestone.REQUESTED: 1.0, Milestone.USERSPACE: 1.1, Milestone.READY: 1.2}
    assert span("ready-requested", milestones, COSTS) == milestones[Milestone.READY] - 1.0, (
        "a cost as large as the span is none"
    )
    assert span("ready-requested", {**milestones, Milestone.READY: 2.0}, COSTS) == 0.75
    assert (
        span(
            "ready-userspace",
            {**milestones, Milestone.READY: 2.1},
            {**COSTS, Milestone.USERSPACE: COSTS[Milestone.READY]},
        )
        == 1.0
    )
    assert span("service-requested", milestones, COSTS) is None


def test_before_each_cold_launch_the_files_are_dropped_and_what_stayed_voids_it(tmp_path: Path) -> None:
    path = tmp_path / "root"
    path.write_bytes(b"x" * 2**20)
    environment = Environment(BARE, files=[tmp_path])
    samples = list(BootMeasure().measure(case(workload="boot.cold"), environment, Deadline.after(60)))
    assert environment.entries == ["agent", "beacon"]
    (cold,) = environment.said("cache")
    assert cold["before"] == 2**20
    if not cold["stayed"]:  # a file system in memory keeps what it has
        assert all(one.valid for one in samples)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[:: mmap.PAGESIZE]) > 0
        samples = list(BootMeasure().measure(case(workload="boot.cold"), environment, Deadline.after(60)))
    assert {one.reason for one in samples} == {"cache: 100% of the variant's cached files stayed in memory (limit 5%)"}


@pytest.mark.parametrize(("accelerator", "counted"), [(Accelerator.XEN_PV, True), (Accelerator.KVM, False)])
def test_what_a_hypervisor_spent_beside_the_host_is_its_cost_too(accelerator: Accelerator, counted: bool) -> None:
    samples = list(BootMeasure().measure(case(), Environment(BARE, accelerator=accelerator), Deadline.after(60)))
    costs = [one.value for one in samples if one.metric == "host-cpu" and one.value is not None]
    assert any(value >= BESIDE_SECONDS for value in costs) == counted


def test_a_full_systems_marks_are_spans_and_it_is_asked_for_its_account_once() -> None:
    environment, measure = Environment(FULL), BootMeasure()
    samples = list(measure.measure(case(), environment, Deadline.after(60)))
    values = {one.metric: one.value for one in samples if one.metric not in ("host-cpu", "ready")}
    assert values == {
        milestone.value: FULL[milestone]
        for milestone in Milestone
        if milestone not in (Milestone.REQUESTED, Milestone.READY)
    }
    list(measure.measure(case(4), environment, Deadline.after(60)))
    assert environment.entries.count("agent") == 1
    (facts,) = (fields["facts"] for fields in environment.said("facts"))
    assert isinstance(facts, dict) and facts["runtime"] == "fake"
    assert facts["systemd_analyze"] == "not available: no systemd here", "what was measured stands"
    assert "systemd-analyze blame" in ACCOUNT.argv[-1]
