"""Which rows count, by the statements for DuckDB: attempts, failures, discards, and the declared summaries."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd
import pytest

from harness.analysis.blocks import differences, moments
from harness.record.checks import CIRCUMSTANCES, SERIES
from harness.record.columnar import from_frame
from harness.record.row import Row, frame
from tests.unit.record.test_csv_file import ROW

NATIVE = replace(ROW, variant="native", runtime="native", direction="lower", scale="linear", unit="s", value=1.0)
BRIDGE = replace(NATIVE, variant="docker/bridge", runtime="docker", value=3.0)


def own(*rows: Row) -> Mapping[tuple[str, int], float]:
    """Every block's value, by variant and block."""
    with from_frame(frame(rows)) as source:
        table = differences(source, ROW.run)
    names = zip(table["variant"].astype(str), table["block"].astype(int), strict=True)
    return dict(zip(names, table["own"].astype(float), strict=True))


def failed(row: Row) -> Row:
    return replace(row, value=None, valid=False, reason="died")


@pytest.mark.parametrize(("summary", "value"), [("median", 2.5), ("mean", 4.0), ("min", 1.0), ("max", 10.0)])
def test_a_block_s_value_is_the_declared_summary(summary: str, value: float) -> None:
    found = (1.0, 2.0, 3.0, 10.0)
    rows = [replace(NATIVE, summary=summary, iteration=place, value=one) for place, one in enumerate(found)]
    assert own(*rows) == {("native", 1): value}


@pytest.mark.parametrize(
    "other",
    [
        replace(NATIVE, iteration=0, phase="warmup", value=9.0),
        replace(NATIVE, iteration=2, role="peer", value=9.0),
        replace(NATIVE, iteration=2, valid=False, reason="discarded", value=9.0),
        failed(replace(NATIVE, phase="warmup")),
        failed(replace(NATIVE, role="peer")),
        failed(replace(NATIVE, attempt=2)),
    ],
)
def test_rows_that_do_not_count_change_nothing(other: Row) -> None:
    assert own(NATIVE, other) == {("native", 1): 1.0}


def test_the_last_attempt_counts_and_a_failed_case_does_not() -> None:
    again = replace(NATIVE, attempt=2, value=7.0)
    assert own(NATIVE, again) == {("native", 1): 7.0}
    assert own(NATIVE, again, failed(replace(again, iteration=2))) == {("native", 1): 1.0}
    # The accelerator is not known of a case that failed early.
    assert own(NATIVE, failed(replace(NATIVE, accelerator="", instance=""))) == {}


def test_pairs_are_of_one_run_and_one_block() -> None:
    later = [replace(row, block=2, value=(row.value or 0) + 1) for row in (NATIVE, BRIDGE)]
    elsewhere = replace(NATIVE, run="other", block=3)
    lonely = replace(BRIDGE, block=3)
    with from_frame(frame([NATIVE, BRIDGE, *later, lonely, elsewhere])) as source:
        table = moments(source)
        swapped = moments(source, "docker/bridge")
    assert table.columns.tolist()[: len(SERIES) + len(CIRCUMSTANCES)] == [*SERIES, *CIRCUMSTANCES]
    by_name = table.set_index(["run", "variant"])
    assert by_name["n"].to_dict() == {(ROW.run, "docker/bridge"): 2, (ROW.run, "native"): 0, ("other", "native"): 0}
    assert by_name["mean"].dropna().tolist() == [2.0] and by_name["variance"].dropna().tolist()[0] == 0.0
    assert by_name["own_n"].tolist() == [3, 2, 1] and by_name["blocks"].tolist() == [3, 3, 1]
    assert swapped["mean"].dropna().tolist() == [-2.0]


def test_higher_is_better_turns_the_sign() -> None:
    rows = [replace(row, direction="higher") for row in (NATIVE, BRIDGE)]
    with from_frame(frame(rows)) as source:
        assert moments(source)["mean"].dropna().tolist() == [-2.0]
        assert differences(source, ROW.run)["own"].tolist() == [-3.0, -1.0]


def test_a_case_that_failed_before_its_accelerator_was_known_is_no_series_of_its_own() -> None:
    early = failed(replace(BRIDGE, block=2, accelerator="", kernel=""))
    with from_frame(frame([NATIVE, BRIDGE, early])) as source:
        table = moments(source)
    assert table["accelerator"].tolist() == ["none", "none"] and table["blocks"].tolist() == [2, 2]
    with from_frame(frame([NATIVE, early])) as source:
        table = moments(source)
    assert table["accelerator"].tolist() == ["", "none"] and table["n"].tolist() == [0, 0]


def test_no_rows_have_no_moments() -> None:
    with from_frame(frame([])) as source:
        assert moments(source).empty and differences(source, "any").empty
        assert isinstance(moments(source), pd.DataFrame)
