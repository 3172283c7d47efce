"""What measures declare of their workloads, and the messages that come of it."""

import dataclasses
from pathlib import Path

import pytest

from harness.definitions.declaration import Choice, Declaration, Number, measures
from harness.definitions.workloads import load_workload
from harness.errors import ExitCode, TareError
from harness.model import Workload
from harness.paths import data

SERVER = '[server]\nargv = ["x"]\nport = 5201\n'


def test_every_measure_can_be_used_and_its_fields_are_a_workloads() -> None:
    known = {one.name for one in dataclasses.fields(Workload)}
    found = measures()
    assert not found.broken and set(found.found) >= {"command", "boot", "lifecycle"}
    assert {name for one in found.found.values() for name in (*one.needs, *one.takes)} <= known


@pytest.mark.parametrize("value", [0, 65, 2.5, "2", float("nan")])
def test_a_whole_number_is_whole_and_between_its_ends(value: object) -> None:
    assert not Number("n", 1, 64).accepts(value)
    assert Number("n", 1, 64).accepts(1) and Number("n", 1, 64).accepts(64)
    assert Number("n", 0.1, 3600, whole=False).accepts(0.5) and not Number("n", 0.1, 3600, whole=False).accepts(0)


def test_a_choice_lists_its_words() -> None:
    assert Choice("form", lambda: ("raw", "qcow2")).fix("quow2") == "did you mean qcow2?"
    assert Choice("form", lambda: ("raw", "qcow2")).fix("") == "use one of: qcow2, raw"


def test_the_defaults_are_those_of_a_command() -> None:
    workload = load_workload(data("workloads") / "cpu.sysbench.toml")
    own = Declaration()
    workload = dataclasses.replace(workload, warmup=1, iterations=3, parameters={"seconds": 2}, scratch_mib=10)
    assert own.case_seconds(workload, 0.5) == 8.5
    assert own.case_seconds(dataclasses.replace(workload, prepare=("x",), parameters={}), 0.5) == 5.5
    assert (own.at_once(workload), own.disk_mib(workload)) == (1, 20)


@pytest.mark.parametrize(
    ("name", "changes", "seconds", "at_once", "disk_mib"),
    [
        ("boot.ready", {"warmup": 1, "iterations": 2}, 6.0, 1, 0),
        ("density.launch", {"warmup": 0, "iterations": 1}, 40.0, 1, 0),
        ("churn.four", {"warmup": 0, "iterations": 2}, 22.0, 4, 0),
        ("footprint.idle", {"warmup": 0, "iterations": 1}, 17.0, 1, 0),
        ("image.size", {"warmup": 0, "iterations": 1}, 10.0, 1, 3072),
    ],
)
def test_a_measure_estimates_its_own_cases(
    name: str, changes: dict[str, int], seconds: float, at_once: int, disk_mib: int
) -> None:
    workload = dataclasses.replace(load_workload(data("workloads") / f"{name}.toml"), **changes)  # type: ignore[arg-type]
    own = measures().found[workload.measure]
    assert own.case_seconds(workload, 2.0) == pytest.approx(seconds)
    assert (own.at_once(workload), own.disk_mib(workload)) == (at_once, disk_mib)


@pytest.mark.parametrize(
    ("name", "old", "new", "says", "fix"),
    [
        ("density.launch", "batch = 5\n", "", "parameters.batch: is missing", "give a whole number from 1 to 100"),
        ("density.launch", "batch = 5", "batch = 0", "parameters.batch: 0 is not a whole number", "from 1 to 100"),
        ("density.launch", "_share = 0.15", "_share = 1", "floor_share: 1 is not a number from 0.05", "give a number"),
        (
            "density.launch",
            'source = "ready-at-20"',
            'source = "ready-at-19"',
            "19 is not a multiple of batch",
            "a multiple of 5",
        ),
        (
            "density.launch",
            'source = "ready-at-20"',
            'source = "redy-at-20"',
            "the measure density has no source 'redy-at-20'",
            "ready-at-N",
        ),
        ("lifecycle.pause", 'scenario = "pause"\n', "", "parameters.scenario: is missing", "use one of: clone"),
        ("interference.cpu", 'placement = "shared"\n', "", "parameters.placement: is missing", "apart, shared"),
        ("churn.four", "[parameters]", f"{SERVER}[parameters]", ": server: the measure churn does", "chain, command"),
        ("cpu.sysbench", 'r = "sysbench"', 'r = "sysbnch"', ": reader: there is no reader 'sysbnch'", "mean sysbench?"),
        (
            "cpu.sysbench",
            '"events_per',
            '"event_per',
            "reader sysbench has no field 'event_per",
            "mean events_per_second?",
        ),
        (
            "cpu.fork",
            '"operations_per',
            '"operation_per',
            "stress-ng has no field 'operation_per",
            "or write seconds-per-N",
        ),
        ("app.redis", '"set_per_second"', '"set_per_secnd"', "has no field 'set_per_secnd'", "write TEST_per_second"),
    ],
)
def test_a_wrong_workload_is_refused_with_the_field_and_a_fix(
    tmp_path: Path, name: str, old: str, new: str, says: str, fix: str
) -> None:
    text = (data("workloads") / f"{name}.toml").read_text()
    assert old in text
    (tmp_path / f"{name}.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        load_workload(tmp_path / f"{name}.toml")
    assert caught.value.code is ExitCode.BAD_INPUT
    assert says in caught.value.brief and fix in caught.value.hint
