"""The CSV: what is written is read back, and what docs/csv.md does not allow is not written."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, TareError
from harness.record.columnar import read_samples
from harness.record.csv_file import rows_of, write_csv
from harness.record.journal import Journal, read
from harness.record.row import COLUMNS, FieldError, Row, frame, parameters_text, printable

ROW = Row(
    run="20261123T092444Z-host-ab12",
    suite="smoke",
    host="5f2a",
    host_virtualized="kvm",
    time="2026-11-23T09:24:44.123456Z",
    workload="cpu.sysbench",
    definition="sha256:00ff",
    parameters=parameters_text({"max-prime": 10000, "mode": "<x>"}),
    block=1,
    position=0,
    case="cpu.sysbench_docker+bridge_b001_a1",
    attempt=1,
    instance="tare-x-1",
    role="subject",
    variant="docker/bridge",
    runtime="docker",
    accelerator="none",
    image="sha256:1234",
    kernel="6.18.0",
    shape="1vcpu-1024MiB@1",
    cpus="1",
    metric="events-per-second",
    unit="1/s",
    direction="higher",
    scale="log",
    summary="median",
    iteration=1,
    phase="measured",
    value=0.1 + 0.2,
    elapsed=1.0,
    mhz=None,
    steal=0.0,
    valid=True,
    reason="",
)
DESIGN = (
    "schema, run, suite, host, host_virtualized, time, workload, definition, parameters, block, position, case, "
    "attempt, instance, role, variant, runtime, accelerator, image, kernel, shape, cpus, metric, unit, direction, "
    "scale, summary, iteration, phase, value, elapsed, mhz, steal, valid, reason"
)


def csv_text(*rows: Row) -> str:
    with tempfile.TemporaryDirectory() as name:
        write_csv(rows, Path(name) / "s.csv")
        return (Path(name) / "s.csv").read_text(encoding="utf-8")


def test_columns_are_the_promised_ones() -> None:
    assert ", ".join(COLUMNS) == DESIGN
    assert csv_text() == DESIGN.replace(" ", "") + "\n"


@settings(max_examples=60, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.floats(min_value=0, allow_infinity=False),
    st.text(),
    st.dictionaries(
        st.text(), st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False), max_size=3
    ),
)
@example(1e22, 5e-324, "=cmd|' /C calc'!A0", {"<script>": "&\u2028\x00"})
def test_what_is_written_is_read_back(value: float, mhz: float | None, reason: str, parameters: dict[str, str]) -> None:
    row = replace(ROW, value=value, mhz=mhz, reason=reason, parameters=parameters_text(parameters))
    failed = replace(row, value=None, valid=False, reason=f"failed {reason}", iteration=2)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "samples.csv"
        write_csv([row, failed], path)
        assert read_samples(path) == [replace(each, reason=printable(each.reason)) for each in (row, failed)]


@given(st.text())
@example("\x1b[31mred\x1b]0;title\x07")
@example("\t=1+1")
@example("@SUM(A1)")
def test_free_text_becomes_harmless_and_stays_so(text: str) -> None:
    clean = printable(text)
    assert printable(clean) == clean and clean.isprintable() and len(clean) <= 500
    assert not clean.startswith(("=", "+", "-", "@")) and not set(clean) & set("<>\x1b")


def test_journal_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, iteration=2, value=None, valid=False, reason="OOM <stdin>")]
    with Journal.create(tmp_path) as journal:
        journal.append("run-opened")
        for row in rows:
            journal.append("sample", **row.as_data())
    assert rows_of(read(tmp_path)) == [rows[0], replace(rows[1], reason="OOM ‹stdin›")]


def test_a_forged_sample_in_a_journal_is_refused(tmp_path: Path) -> None:
    with Journal.create(tmp_path) as journal:
        journal.append("sample", **{**ROW.as_data(), "metric": "=1+1"})
    with pytest.raises(TareError, match=r"line 1, metric") as error:
        rows_of(read(tmp_path))
    assert error.value.code == ExitCode.BAD_INPUT


def test_a_failure_may_stand_beside_what_was_measured_before_it(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, value=None, valid=False, reason="died")]
    write_csv(rows, tmp_path / "s.csv")
    assert read_samples(tmp_path / "s.csv") == rows


@pytest.mark.parametrize("change", [{"metric": "=x"}, {"value": math.nan}, {"value": None}, {"block": True}])
def test_what_could_not_be_read_is_not_written(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(TareError, match="row 1"):
        write_csv([replace(ROW, **change)], tmp_path / "s.csv")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_data_of_a_sample_event_is_checked() -> None:
    assert Row.from_data({**ROW.as_data(), "value": 5}).value == 5.0
    for change in ({"value": "5"}, {"block": 1.0}, {"valid": 1}, {"run": None}, {"extra": 1}):
        with pytest.raises(FieldError) as error:
            Row.from_data({**ROW.as_data(), **change})
        assert error.value.column == next(iter(change))
    with pytest.raises(FieldError, match="missing"):
        Row.from_data({"schema": 1})


def test_frame_keeps_types() -> None:
    table = frame([ROW, replace(ROW, value=None, valid=False, reason="x")])
    assert list(table.columns) == list(COLUMNS)
    assert table["value"].isna().tolist() == [False, True] and str(table["block"].dtype) == "int64"
    assert str(frame([])["valid"].dtype) == "bool"
