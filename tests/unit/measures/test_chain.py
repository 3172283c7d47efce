"""The chain measure: who is told of whom, in which order, and what is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.deadline import Deadline
from harness.measures.chain import ChainMeasure
from harness.model import Case, Milestone, Role, Shape
from harness.runtimes.base import Command, Endpoint, Instance, RawOutput
from tests.environment import Asked, BaseEnvironment

WRK = (Path(__file__).parent.parent / "readers/golden/app.chain.txt").read_text()
CASE = Case(block=1, position=0, attempt=1, workload="app.chain", cast={Role.SUBJECT: "native", Role.PEER: "native"})


class Member:
    """An instance that notes what it is asked to run, and answers as wrk does."""

    last = Milestone.READY

    def __init__(self, number: int, started: list[tuple[int, Command]]) -> None:
        self.number, self.name, self._started = number, f"tare-{number}", started

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        return 0.0

    def counters(self) -> dict[str, float]:
        return {"workload": 1.0 + len(self._started)}

    def endpoint(self) -> Endpoint:
        return Endpoint(address=f"198.18.0.{self.number}", port=8180, bind="0.0.0.0")

    def start(self, command: Command, deadline: Deadline) -> Any:
        self._started.append((self.number, command))
        output = RawOutput(
            status=0,
            stdout=WRK,
            stderr="",
            begin=1.0,
            end=2.0,
            inner_begin=1.0,
            inner_end=2.0,
            user=0.0,
            system=0.0,
            steal=0.0,
            voluntary_switches=0,
            involuntary_switches=0,
            minor_faults=0,
            major_faults=0,
        )
        return SimpleNamespace(wait=lambda _: output)


class Rig(BaseEnvironment):
    """A environment whose instances are numbered as they are launched."""

    def __init__(self) -> None:
        super().__init__(Shape(cpus=(0,), memory_mib=2048))
        self.launched: list[tuple[Role, Shape | None]] = []
        self.started: list[tuple[int, Command]] = []

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        self.launched.append((asked.role, asked.shape))
        yield cast(Instance, Member(len(self.launched), self.started))


def test_each_is_told_of_the_next_and_the_peer_asks_the_first() -> None:
    rig = Rig()
    samples = list(ChainMeasure().measure(CASE, rig, Deadline.after(10)))
    assert [role for role, _ in rig.launched] == [Role.SUBJECT] * 3 + [Role.PEER]
    assert {shape.memory_mib for _, shape in rig.launched[:3] if shape} == {512}
    servers = [(number, command) for number, command in rig.started if command.listen]
    assert [number for number, _ in servers] == [3, 2, 1]
    told = [command.argv[2] for number, command in rig.started if command.argv[0] == "sh"]
    assert ["server 198.18.0.3:8180" in told[0], "server 198.18.0.3:8180" in told[1]] == [True, True]
    assert "server 198.18.0.2:8180" in told[2]
    asked = [(number, command.argv[-1]) for number, command in rig.started if command.argv[0] == "wrk"]
    assert set(asked) == {(4, "http://198.18.0.1:8180/next/next/")}
    assert {sample.metric for sample in samples} >= {"latency-p50", "latency-p99", "rate"}


def test_what_the_chain_used_is_the_sum_over_its_instances() -> None:
    rig = Rig()
    list(ChainMeasure().measure(CASE, rig, Deadline.after(10)))
    # Each iteration is one command, and every one of the three counts all commands.
    assert all(counters == {"workload": pytest.approx(3.0)} for counters in rig.kept)
