"""What the boot measure does with marks: a span for each that an instance has, and a full system's own account once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.config import load_workloads
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cost import HostMeter
from harness.measures.boot import ACCOUNT, BootMeasure
from harness.model import Accelerator, Case, Limits, Mark, Role, Shape, Workload
from harness.paths import data
from harness.runtimes.base import BESIDE, Command, Counters, Entry, Instance, Place, RawOutput
from harness.runtimes.fake import FakeInstance

FULL = {mark: float(number) for number, mark in enumerate(Mark)}
BARE = {mark: FULL[mark] for mark in (Mark.ASKED, Mark.CREATED, Mark.READY)}
SHAPE = Shape(cpus=(0,), memory_mib=64)
BESIDE_SECONDS = 1000.0


class Booted(FakeInstance):
    """A fake instance with marks of the test's choice."""

    def __init__(self, place: Place, marks: Mapping[Mark, float], accelerator: Accelerator) -> None:
        super().__init__(place, 1.0)
        self.accelerator = accelerator
        self._marks = dict(marks)
        self.last = Mark.SERVICE if Mark.SERVICE in marks else Mark.READY
        self.jobs: list[Command] = []

    def counters(self) -> Counters:
        return {BESIDE: BESIDE_SECONDS}

    def start(self, command: Command, deadline: Deadline) -> Any:
        self.jobs.append(command)
        raise TareError("no systemd here")


class Stage:
    """What a measure finds, without a host."""

    shape, limits = SHAPE, Limits()

    def __init__(self, marks: Mapping[Mark, float], accelerator: Accelerator = Accelerator.NONE) -> None:
        self.marks, self.accelerator = marks, accelerator
        self.entries: list[Entry] = []
        self.events: list[tuple[str, dict[str, object]]] = []

    def workload(self, name: str) -> Workload:
        return load_workloads(data("workloads"))[name]

    @contextmanager
    def launch(self, case: Case, role: Role, entry: Entry, deadline: Deadline) -> Iterator[Instance]:
        self.entries.append(entry)
        yield Booted(Place(name="x", directory=Path(), entry=entry, shape=SHAPE), self.marks, self.accelerator)

    def meter(self) -> HostMeter:
        return HostMeter(SHAPE.cpus, 0.0)

    def record(self, case: Case, event: str, **fields: object) -> None:
        self.events.append((event, fields))

    def keep(self, case: Case, iteration: int, output: RawOutput, counters: Mapping[str, float]) -> None:
        raise AssertionError("there is no output")


def case(block: int = 3) -> Case:
    return Case(block=block, position=0, attempt=1, workload="boot.ready", cast={Role.SUBJECT: "libvirt/tcg-system"})


def test_a_mark_that_an_instance_has_not_makes_no_sample() -> None:
    stage = Stage(BARE)
    samples = list(BootMeasure().measure(case(), stage, Deadline.after(60)))
    assert {one.metric for one in samples} - {"host-cpu"} == {"created", "ready"}
    assert {one.elapsed for one in samples} == {FULL[Mark.READY]}
    assert set(stage.entries) == {"beacon"}


@pytest.mark.parametrize(("accelerator", "counted"), [(Accelerator.XEN_PV, True), (Accelerator.KVM, False)])
def test_what_a_hypervisor_spent_beside_the_host_is_its_cost_too(accelerator: Accelerator, counted: bool) -> None:
    samples = list(BootMeasure().measure(case(), Stage(BARE, accelerator), Deadline.after(60)))
    costs = [one.value for one in samples if one.metric == "host-cpu" and one.value is not None]
    assert any(value >= BESIDE_SECONDS for value in costs) == counted


def test_a_full_systems_marks_are_spans_and_it_is_asked_for_its_account_once() -> None:
    stage, measure = Stage(FULL), BootMeasure()
    samples = list(measure.measure(case(), stage, Deadline.after(60)))
    values = {one.metric: one.value for one in samples if one.metric != "host-cpu"}
    assert values == {mark.value: FULL[mark] for mark in Mark if mark is not Mark.ASKED}
    list(measure.measure(case(4), stage, Deadline.after(60)))
    assert stage.entries.count("agent") == 1
    facts = [fields["facts"] for event, fields in stage.events if event == "facts"]
    assert facts == [{"systemd_analyze": "could not be asked: no systemd here"}], "what was measured stands"
    assert "systemd-analyze blame" in ACCOUNT.argv[-1]
