"""What the report says of crowds: a curve for each filling, emulated guests apart, the limit by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.report import plots, style
from harness.report.chapters.density import Density, curves
from harness.report.stored_run import Stored, load
from tests.unit.report import synthetic

VARIANTS = {"native": ("most", 100), "docker/bridge": ("memory", 60), "libvirt/tcg": ("latency", 20)}


def observed(variant: str, block: int, kind: str, last: int) -> dict[str, Any]:
    points: list[list[Any]] = [[0, None, None, 0, {"events_per_second": 900.0}]]
    points += [[count, 0.1, 0.2, count * 2**20, {"events_per_second": 500.0}] for count in range(5, last + 1, 5)]
    limit = {"kind": kind, "words": f"{kind} it was"}
    known = {"what": "density", "workload": "density.limit", "variant": variant, "block": block}
    return {**known, "limit": limit, "teardown": 3.0, "points": points}


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    rows = []
    for variant, (_, last) in VARIANTS.items():
        case = synthetic.row("density.limit", variant, 1, 1)
        rows += [
            case | synthetic.measured("count", "instances", "higher", float(last), 0, "measured", False),
            case | synthetic.measured("memory-per-instance", "bytes", "lower", 2.0**20, 0, "measured", False),
        ]
    told = [observed(variant, 1, kind, last) for variant, (kind, last) in VARIANTS.items()]
    hostile: list[Any] = [
        {**told[0], "points": [["x"], 3, [0, "a", [], float(2**60), "p"], [-5, 1, 1, 1, {}], [True, 1, 1, 1, {}]]},
        {**told[0], "points": "none", "limit": "none"},
        {**told[0], "variant": "no/such"},
        {**told[0], "discarded": "host load"},
    ]
    manifest = {**synthetic.manifest(), "observed": json.loads(json.dumps([*told, *hostile]))}
    return load(synthetic.write(tmp_path / "run", rows, manifest))


def test_each_filling_is_a_row_with_what_ended_it_and_emulated_guests_are_apart(stored: Stored) -> None:
    (table,) = Density().tables(stored)
    shown = {row[0]: row for group in table.groups for section in group.sections for row in section.rows}
    assert [group.emulated for group in table.groups] == [False, True]
    assert shown["native"][1:4] == ("≥ 100", "most", "1.000 MiB")
    assert shown["docker/bridge"][1:4] == ("60", "memory", "1.000 MiB")
    assert shown["libvirt/tcg"][1:3] == ("20", "latency")
    assert "libvirt/tcg (latency it was)" in " ".join(Density().notes(stored))


def test_there_is_one_picture_that_names_every_limit(stored: Stored) -> None:
    with style.drawing():
        (drawn,) = Density().drawings(stored)
        assert "docker/bridge: 60 instances, ended by memory" in drawn.alt
        text = plots.svg(drawn.figure)
    assert style.APART in text and "the probe" in text


def test_what_is_no_point_is_left_out(stored: Stored) -> None:
    assert [(one.variant, one.points[-1].count) for one in curves(stored)] == [
        ("native", 100),
        ("docker/bridge", 60),
        ("libvirt/tcg", 20),
    ]
