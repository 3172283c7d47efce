"""Published comparisons: the shipped ones are whole, and bad ones are refused with file, line and field."""

from pathlib import Path

import pytest

from harness.definitions.replications import load_replications
from harness.definitions.suites import load_suite
from harness.definitions.workloads import load_workloads
from harness.errors import ExitCode, TareError
from harness.paths import data

WORKLOADS = load_workloads(data("workloads"))
SHIPPED = load_replications(data("workloads"), WORKLOADS)
GOOD = """\
name = "made-up"
title = "Somebody, some year"
source = "their table"
address = "example.org"

[[rows]]
what = "events"
workload = "cpu.sysbench"
metric = "rate"
unit = "event/s"
against = "native"
published = { native = 100.0, "docker/bridge" = 80.0 }

[[rows]]
what = "something else"
why = "needs two sockets"
"""


def folder(tmp_path: Path, text: str) -> Path:
    (tmp_path / "replications").mkdir()
    (tmp_path / "replications" / "made-up.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_each_comparison_has_a_suite_that_repeats_its_rows() -> None:
    assert {one.name for one in SHIPPED} == {"felter2014", "firecracker-spec", "gvisor-guide", "kata-metrics"}
    for one in SHIPPED:
        suite = load_suite(one.name, data("workloads"))
        assert set(suite.workloads) == {row.workload for row in one.repeated}
        assert set(suite.parameters) <= {name for which in suite.workloads for name in WORKLOADS[which].parameters}


def test_a_ratio_is_taken_to_the_one_it_is_against(tmp_path: Path) -> None:
    (one,) = load_replications(folder(tmp_path, GOOD), WORKLOADS)
    row, open_row = one.rows
    assert row.ratio("docker/bridge") == pytest.approx(0.8)
    assert row.ratio("native") is None
    assert one.repeated == (row,)
    assert open_row.why == "needs two sockets"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"rate"', '"speed"', "rows[0].metric: cpu.sysbench has no metric speed"),
        ('"cpu.sysbench"', '"cpu.sysbend"', "rows[0].workload: there is no workload"),
        ('unit = "event/s"', 'unit = "s"', "rows[0].unit: cpu.sysbench:rate is measured in event/s"),
        ('against = "native"', 'against = "uml"', "rows[0].against: there is no published figure"),
        ('unit = "event/s"\nagainst = "native"', 'unit = "share"', "rows[0].against: is missing"),
        ("100.0", "0.0", "greater than 0"),
        ("100.0", "nan", "rows[0].published.native"),
        ('why = "needs', 'unit = "s"\nwhy = "needs', "rows[1].unit: is given for a row that cannot be repeated"),
        ('why = "needs two sockets"', "", "rows[1].workload: is missing"),
        ('name = "made-up"', 'name = "other"', "other is not the file's name"),
        ("title", "titel", "titel: unknown key"),
    ],
)
def test_a_wrong_row_is_refused_where_it_stands(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(TareError) as caught:
        load_replications(folder(tmp_path, GOOD.replace(old, new, 1)), WORKLOADS)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "made-up.toml" in caught.value.brief
    assert said in str(caught.value.brief) + caught.value.details
