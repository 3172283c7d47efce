"""The table of what each measure demands of its workloads, and the messages that are made of it."""

import dataclasses
from pathlib import Path

import pytest

from harness.definitions.demands import MEASURES, RESERVED, Choice, Number
from harness.definitions.workloads import load_workload
from harness.errors import TareError
from harness.model import Workload
from harness.paths import data

SERVER = '[server]\nargv = ["x"]\nport = 5201\n'


def test_every_measure_has_its_entry_and_its_fields_are_a_workloads() -> None:
    known = {one.name for one in dataclasses.fields(Workload)}
    assert {name for one in MEASURES.values() for name in (*one.needs, *one.takes)} <= known
    assert set(RESERVED) <= known


@pytest.mark.parametrize("value", [0, 65, 2.5, "2", float("nan")])
def test_a_whole_number_is_whole_and_between_its_ends(value: object) -> None:
    assert not Number(1, 64).holds(value)
    assert Number(1, 64).holds(1) and Number(1, 64).holds(64)
    assert Number(0.1, 3600, whole=False).holds(0.5) and not Number(0.1, 3600, whole=False).holds(0)


def test_a_choice_says_what_there_is() -> None:
    assert Choice("form", lambda: ("raw", "qcow2")).fix("quow2") == "did you mean qcow2?"
    assert Choice("form", lambda: ("raw", "qcow2")).fix("") == "use one of: qcow2, raw"


@pytest.mark.parametrize(
    ("name", "old", "new", "says", "fix"),
    [
        ("density.launch", "batch = 5\n", "", "parameters.batch: is missing", "give a whole number from 1 to 100"),
        ("density.launch", "batch = 5", "batch = 0", "parameters.batch: 0 is no whole number", "from 1 to 100"),
        ("density.launch", "_share = 0.15", "_share = 1", "floor_share: 1 is no number from 0.05", "give a number"),
        (
            "density.launch",
            'source = "ready-at-20"',
            'source = "ready-at-19"',
            "density has no 'ready-at-19'",
            "a multiple of",
        ),
        ("lifecycle.pause", 'scenario = "pause"\n', "", "parameters.scenario: is missing", "use one of: clone"),
        ("interference.cpu", 'placement = "shared"\n', "", "parameters.placement: is missing", "apart, shared"),
        ("churn.four", "[parameters]", f"{SERVER}[parameters]", ": server: nothing is served", "command, chain"),
    ],
)
def test_what_a_measure_demands_is_said_with_the_field_and_a_fix(
    tmp_path: Path, name: str, old: str, new: str, says: str, fix: str
) -> None:
    text = (data("workloads") / f"{name}.toml").read_text()
    assert old in text
    (tmp_path / f"{name}.toml").write_text(text.replace(old, new, 1))
    with pytest.raises(TareError) as caught:
        load_workload(tmp_path / f"{name}.toml")
    assert says in caught.value.brief and fix in caught.value.hint
