"""The lifecycle measure on instances of the test's choice, with a real state probe and a real client on loopback."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.inside.agent import wait_open
from harness.measures.lifecycle import LifecycleMeasure
from harness.measures.lifecycle.scene import Seen
from harness.model import Case, Role, Sample, Shape, Workload
from harness.runtimes.base import Command, Endpoint, Instance, Job, Place, RawOutput
from harness.runtimes.capabilities import Pausable, Persistent, Stoppable, T, Unsupported, choose
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import Asked, BaseEnvironment

SHAPE = Shape(cpus=(0,), memory_mib=64)
OUTPUT = {name: 0 for name in RawOutput.__dataclass_fields__ if name not in ("status", "stdout", "stderr")}


class Process:
    """A job that is a process of this host."""

    def __init__(self, command: Command) -> None:
        argv = [sys.executable, *command.argv[1:]]
        self.child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def wait(self, deadline: Deadline) -> RawOutput:
        out, err = self.child.communicate(timeout=deadline.left)
        return RawOutput(status=self.child.returncode, stdout=out.decode(), stderr=err.decode(), **OUTPUT)

    def stop(self, deadline: Deadline) -> RawOutput:
        self.child.kill()
        return self.wait(deadline)


class Living(FakeInstance):
    """Its jobs are processes; what it can do is the test's choice."""

    def __init__(self, place: Place, port: int, folder: Path, offers: Mapping[type, object]) -> None:
        super().__init__(place, 1.0)
        self.port, self.folder, self.offers = port, folder, offers
        self.served: list[Process] = []

    def start(self, command: Command, deadline: Deadline) -> Job:  # type: ignore[override]
        job = Process(replace(command, argv=tuple(word.replace("/var/tmp", str(self.folder)) for word in command.argv)))
        if command.listen is not None:
            self.served.append(job)
            wait_open(job.child, command.listen)
        return job

    def endpoint(self) -> Endpoint:
        return Endpoint(address="127.0.0.1", port=self.port, bind="127.0.0.1")

    def capability(self, kind: type[T]) -> T | Unsupported:
        return choose(self.offers, kind, self.name)

    def signal(self, number: int) -> None:
        self.served[-1].child.send_signal(number)


class Environment(BaseEnvironment):
    """One instance, for the subject and for the peer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(SHAPE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = Place(name="x", directory=folder, entry="agent", shape=SHAPE)
        self.offers: dict[type, object] = {}
        self.subject = Living(place, port, folder, self.offers)

    def workload(self, name: str) -> Workload:
        found = super().workload(name)
        return replace(found, iterations=1, parameters={**found.parameters, "held_mib": 1, "file_mib": 1})

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        yield self.subject

    def measured(self, workload: str) -> dict[str, float | None]:
        cast = {Role.SUBJECT: "fake", Role.PEER: "fake"}
        case = Case(block=0, position=0, attempt=1, workload=workload, cast=cast)
        samples: list[Sample] = list(LifecycleMeasure().measure(case, self, Deadline.after(60)))
        assert self.kept == []
        return {one.metric: one.value for one in samples}


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    made = Environment(tmp_path)
    yield made
    for job in made.subject.served:
        with contextlib.suppress(ProcessLookupError):
            job.child.kill()
        job.child.wait()


def pausable(subject: Living, pause: int, resume: int) -> Pausable:
    return Pausable(how="signals", pause=lambda _: subject.signal(pause), resume=lambda _: subject.signal(resume))


def test_what_cannot_be_done_is_no_sample_but_a_reason(environment: Environment) -> None:
    environment.offers[Pausable] = Unsupported(reason="it never rests")
    assert environment.measured("lifecycle.pause") == {}
    assert environment.said() == [{"what": "unsupported", "operation": "pausable", "reason": "it never rests"}]
    environment.offers.clear()
    assert environment.measured("lifecycle.pause") == {}
    assert "does not offer" in str(environment.said()[-1]["reason"])


def test_a_pause_is_felt_outside_and_nothing_is_lost(environment: Environment) -> None:
    environment.offers[Pausable] = pausable(environment.subject, 19, 18)
    values = environment.measured("lifecycle.pause")
    assert set(values) == {"pause", "resume", "downtime"} and all(value and value > 0 for value in values.values())
    (found,) = environment.said()
    assert found["steps"] == {"pause and resume": {"process": True, "its memory": True}}


def test_a_pause_that_does_not_pause_is_an_error(environment: Environment) -> None:
    environment.offers[Pausable] = pausable(environment.subject, 0, 0)
    with pytest.raises(TareError, match="answered while it was paused"):
        environment.measured("lifecycle.pause")


def test_a_process_that_did_not_survive_a_pause_is_an_error(environment: Environment) -> None:
    environment.offers[Pausable] = pausable(environment.subject, 9, 0)
    with pytest.raises(TareError, match=r"no answers before and after|did not survive"):
        environment.measured("lifecycle.pause")


def test_what_a_recreation_loses_is_noted(environment: Environment, tmp_path: Path) -> None:
    def nothing(_: Deadline) -> None: ...

    def lose(_: Deadline) -> None:
        (tmp_path / "tare-kept").unlink()

    environment.offers[Stoppable] = Stoppable(how="", stop=nothing, kill=nothing, start=nothing)
    environment.offers[Persistent] = Persistent(storages={"layer": "/var/tmp"}, recreate=lose)
    values = environment.measured("lifecycle.persist")
    assert {"write", "read", "recreate"} <= set(values)
    (found,) = environment.said()
    layer = {step: things["file: layer"] for step, things in found["steps"].items()}
    assert layer == {"stop and start": True, "kill and start": True, "recreation": False}


def test_a_gap_needs_answers_on_both_sides() -> None:
    seen = Seen([1.0, 1.1, 3.0, 3.1])
    assert seen.gap(1.2, 2.9) == pytest.approx(1.9)
    assert seen.gap(1.05, 1.06) == pytest.approx(0.1)
    for begin, end in ((0.5, 2.0), (2.0, 3.5)):
        with pytest.raises(TareError, match="no answers before and after"):
            seen.gap(begin, end)
