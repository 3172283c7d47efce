"""The workloads and suites as they are shipped."""

import re
import tomllib
from pathlib import Path

import pytest

from harness.definitions.suites import load_suite
from harness.definitions.workloads import load_workloads
from harness.model import RESOURCES
from harness.paths import data
from harness.readers import reader

FOLDER = data("workloads")
GOLDEN = Path(__file__).parent / "golden"
WORKLOADS = load_workloads(FOLDER)
SUITES = ("smoke", "default", "full")
APART = {"density.limit"}
"""Too long for `full`: it has a suite of its own."""
UNITS = re.compile(r"bytes(/s)?|s|1|[a-z]+/s|job/min|instances")
BASIC = ("cpu", "memory", "network", "disk", "boot")
"""What every suite measures."""
COUNTED = {"app.redis": "requests", "app.sqlite": "runs", "app.python-start": "runs", "app.compile": "runs"}
"""What these tools count, since none of them stops by the clock."""
AUTOMATIC = ("--numjobs=0", "--threads=0", "-T0", "--fallocate=native")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.*.toml")), ids=lambda path: path.stem)
def test_file_says_what_every_workload_must(path: Path) -> None:
    parsed = tomllib.loads(path.read_text())
    assert parsed["name"] == path.stem
    assert parsed["title"]
    assert sum(metric.get("primary", False) for metric in parsed["metrics"]) == 1
    for metric in parsed["metrics"]:
        assert {"name", "source", "unit", "direction"} <= set(metric)
        assert UNITS.fullmatch(metric["unit"])


@pytest.mark.parametrize("name", [name for name, one in WORKLOADS.items() if one.measure == "command"])
def test_metrics_are_in_the_tools_real_output(name: str) -> None:
    workload = WORKLOADS[name]
    fields = reader(workload.reader).read((GOLDEN / f"{name}.txt").read_text(), workload.parameters)
    for metric in workload.metrics:
        assert fields[metric.source] >= 0
        assert fields[metric.source] > 0 or metric.scale == "linear"


@pytest.mark.parametrize("name", [name for name, one in WORKLOADS.items() if one.measure == "command"])
def test_duration_is_a_parameter_and_nothing_sizes_itself(name: str) -> None:
    workload = WORKLOADS[name]
    length = COUNTED.get(name, "seconds")
    assert int(workload.parameters[length]) > 1 or (length, workload.parameters[length]) == ("seconds", 1)
    assert any(f"{{{length}}}" in argument for argument in workload.argv)
    assert not set(AUTOMATIC) & set(workload.argv)


def test_disk_files_fit_the_scratch_space() -> None:
    for workload in WORKLOADS.values():
        assert int(workload.parameters.get("size_mib", 0)) <= workload.scratch_mib


def test_servers_have_ports_of_their_own_protocol() -> None:
    protocols = {name: one.server.protocol for name, one in WORKLOADS.items() if one.server and one.reader}
    assert protocols.pop("network.rr-udp") == "udp"
    assert set(protocols.values()) == {"tcp"}


@pytest.mark.parametrize("name", SUITES)
def test_suite_names_workloads_that_there_are(name: str) -> None:
    suite = load_suite(name, FOLDER)
    assert set(suite.workloads) <= set(WORKLOADS)
    assert {*BASIC} <= {WORKLOADS[one].resource for one in suite.workloads} <= set(RESOURCES)
    assert all(variants[0] == "native" for variants in suite.variants.values())
    known = {parameter for one in suite.workloads for parameter in WORKLOADS[one].parameters}
    assert set(suite.parameters) <= known


def test_default_is_short_and_full_is_whole() -> None:
    assert len(load_suite("default", FOLDER).workloads) <= 12
    assert set(load_suite("full", FOLDER).workloads) == set(WORKLOADS) - APART
    assert set(load_suite("density", FOLDER).workloads) == APART
