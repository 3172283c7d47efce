"""What the command measure derives from an iteration, and how often it starts a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from harness.deadline import Deadline
from harness.host.cost import Cost
from harness.measures.command import CommandMeasure, host_costs
from harness.model import Case, Metric, Role, Server, Workload
from harness.runtimes.base import Command, Endpoint, Instance, Place
from harness.runtimes.fake.instance import FakeInstance, FakeJob
from tests.environment import Asked, BaseEnvironment

RATE = Metric(name="throughput", source="x", unit="events/s", direction="higher", primary=True)
LATENCY = Metric(name="latency", source="y", unit="s", direction="lower", primary=True)


def cost(cpu: float) -> Cost:
    return Cost(elapsed=2.0, cpu=cpu, steal=0.0, steal_share=0.0, mhz=None)


def test_a_rate_gives_the_cost_per_event() -> None:
    (_, whole), (per, value) = host_costs([(RATE, 100.0)], cost(3.0))
    assert whole == 3.0
    assert (per.name, per.unit, per.direction) == ("host-cpu-per-op", "s/events", "lower")
    assert value == pytest.approx(3.0 / 200)


def test_a_latency_gives_no_cost_per_event() -> None:
    assert [metric.name for metric, _ in host_costs([(LATENCY, 0.1)], cost(3.0))] == ["host-cpu"]


def test_the_primary_rate_is_the_work_else_the_first_that_there_is() -> None:
    other = replace(RATE, name="other", unit="io/s", primary=False)
    assert host_costs([(LATENCY, 0.1), (other, 50.0)], cost(3.0))[1][0].unit == "s/io"
    assert host_costs([(other, 50.0), (RATE, 100.0)], cost(3.0))[1][0].unit == "s/events"


def test_a_cost_below_the_idle_windows_noise_is_left_out() -> None:
    assert host_costs([(RATE, 100.0)], cost(-0.01)) == []


def test_energy_is_a_cost_of_its_own_where_it_is_counted() -> None:
    found = host_costs([(RATE, 100.0)], replace(cost(3.0), joules=50.0))
    assert [(metric.name, metric.unit) for metric, _ in found[2:]] == [
        ("host-energy", "J"),
        ("host-energy-per-op", "J/events"),
    ]
    assert [value for _, value in found[2:]] == [50.0, pytest.approx(50.0 / 200)]
    assert [metric.name for metric, _ in host_costs([(RATE, 100.0)], replace(cost(-0.01), joules=1.0))] == [
        "host-energy",
        "host-energy-per-op",
    ]


class Served(FakeInstance):
    """Notes the servers that are started in it; nothing can reach them."""

    def __init__(self, place: Place, servers: list[Command]) -> None:
        super().__init__(place, 1.0)
        self._servers = servers

    def endpoint(self) -> Endpoint:
        return Endpoint(address="198.18.0.2", port=5201, bind="0.0.0.0")

    def start(self, command: Command, deadline: Deadline) -> FakeJob:
        if command.listen:
            self._servers.append(command)
        return FakeJob(self, {"x": 1.0})


class Environment(BaseEnvironment):
    """Its one workload has a server."""

    def __init__(self, *, one_off: bool) -> None:
        super().__init__()
        self.servers: list[Command] = []
        server = Server(argv=("serve", "{port}"), port=5201, one_off=one_off)
        known = {"title": "t", "measure": "command", "reader": "pairs", "argv": ("ask", "{port}")}
        self.job = Workload(name="n.s", metrics=(RATE,), server=server, warmup=1, iterations=3, **known)  # type: ignore[arg-type]

    def workload(self, name: str) -> Workload:
        return self.job

    @contextmanager
    def opened(self, asked: Asked) -> Iterator[Instance]:
        yield Served(self.nowhere(asked), self.servers)


@pytest.mark.parametrize(("one_off", "starts"), [(False, 1), (True, 4)])
def test_a_server_that_ends_after_one_client_is_started_for_each_iteration(one_off: bool, starts: int) -> None:
    environment = Environment(one_off=one_off)
    cast = {Role.SUBJECT: "native", Role.PEER: "native"}
    case = Case(block=0, position=0, attempt=1, workload="n.s", cast=cast)
    samples = list(CommandMeasure().measure(case, environment, Deadline.after(60)))
    assert len([one for one in samples if one.metric == "throughput"]) == 4
    assert len(environment.servers) == starts
