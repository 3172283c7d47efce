"""What the command measure derives from an iteration: the host's cost per unit of work."""

from dataclasses import replace

import pytest

from harness.host.cost import Cost
from harness.measures.command import host_costs
from harness.model import Metric

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
