"""The footprint measure on processes of this host that really hold and free memory."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.deadline import Deadline
from harness.errors import TareError
from harness.measures import held_memory
from harness.measures.footprint import FootprintMeasure
from harness.model import Case, Role, Shape, Workload
from harness.runtimes.base import Command, Instance, Place, Processes, RawOutput
from harness.runtimes.fake.instance import FakeInstance
from tests.environment import Asked, BaseEnvironment

MIB = 2**20
SHAPE = Shape(cpus=(0,), memory_mib=1024)
CASE = Case(block=1, position=0, attempt=1, workload="footprint.loaded", cast={Role.SUBJECT: "fake/baseline"})


class Local(FakeInstance):
    """A sleeping process, beside which commands really run; all of them are its processes."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, 1.0)
        self.first = subprocess.Popen(["sleep", "600"])
        self.started: list[psutil.Process] = []

    def processes(self) -> Processes:
        alive = [one.pid for one in self.started if one.is_running()]
        return {"workload": (self.first.pid, *alive)}

    def start(self, command: Command, deadline: Deadline) -> Any:
        words = [sys.executable if word == "python3" else word for word in command.argv]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=deadline.left)
        if Path(held_memory.FILE).exists():
            self.started.append(psutil.Process(int(Path(held_memory.FILE).read_text())))
        return Done(done)

    def __exit__(self, *_: object) -> None:
        self.first.kill()
        self.first.wait()
        for one in self.started:
            one.kill()


class Done:
    """A job that is over."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.done = done

    def wait(self, deadline: Deadline) -> RawOutput:
        figures = dict.fromkeys(RawOutput.__dataclass_fields__, 0)
        texts = {"status": self.done.returncode, "stdout": self.done.stdout, "stderr": self.done.stderr}
        return RawOutput(**{**figures, **texts})  # type: ignore[arg-type]


class Environment(BaseEnvironment):
    """Instances of a kind, and parameters of the test's choice."""

    def __init__(self, kind: Callable[[Place], FakeInstance], **parameters: Any) -> None:
        super().__init__(SHAPE)
        self.kind, self.parameters = kind, parameters
        self.shapes: list[Shape | None] = []

    def workload(self, name: str) -> Workload:
        found = super().workload(name)
        quick = {"settle_seconds": 1, "watch_seconds": 1, "free_seconds": 1, "instance_mib": 64, "read_mib": 1}
        return replace(found, parameters={**found.parameters, **quick, **self.parameters})

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        self.shapes.append(asked.shape)
        with self.kind(self.nowhere(asked)) as instance:
            yield instance


def measured(environment: Environment, workload: str = "footprint.loaded") -> dict[str, float]:
    case = replace(CASE, workload=workload)
    samples = list(FootprintMeasure().measure(case, environment, Deadline.after(120)))
    assert {(one.phase, one.iteration, one.valid) for one in samples} == {("measured", 0, True)}
    assert environment.kept == [], "nothing is timed"
    return {one.metric: one.value for one in samples if one.value is not None}


def test_memory_that_is_held_is_seen_and_comes_back_when_it_is_freed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(held_memory, "FILE", str(tmp_path / "holder"))
    environment = Environment(Local, instances=1, touch_mib=48)
    found = measured(environment)
    assert found["pss"] >= 48 * MIB
    assert found["returned"] == pytest.approx(1.0, abs=0.1)
    assert "vmm" not in found and "cgroup" not in found, "it has neither, and what is not there is no zero"
    (seen,) = environment.said()
    idle, held, freed = (seen["looks"][name]["resident"]["pss"] for name in ("idle", "held", "freed"))
    assert held - idle >= 48 * MIB
    assert held - freed >= 0.9 * 48 * MIB
    assert seen["curve"] and not (tmp_path / "holder").exists()


def test_instances_get_the_cases_own_memory_and_an_idle_one_costs_no_cpu_time() -> None:
    environment = Environment(Local, instances=2)
    found = measured(environment, "footprint.idle")
    assert environment.shapes == [Shape(cpus=(0,), memory_mib=64)] * 2
    assert 0.0 <= found["idle-cpu"] < 0.01
    assert "daemons" not in found, "it has none"


def test_of_what_the_host_cannot_see_there_is_only_the_hosts_own_view() -> None:
    environment = Environment(lambda place: FakeInstance(place, 1.0), instances=1)
    assert set(measured(environment, "footprint.idle")) == {"available"}


def test_more_memory_than_the_host_has_is_refused_before_anything_is_launched() -> None:
    environment = Environment(Local, instances=100, instance_mib=10**6)
    with pytest.raises(TareError, match="too little memory"):
        measured(environment)
    assert environment.shapes == []


def test_a_holder_that_cannot_hold_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(held_memory, "FILE", str(tmp_path / "missing" / "holder"))
    with pytest.raises(TareError, match="python3 exited with 1"):
        measured(Environment(Local, instances=1, touch_mib=1))
