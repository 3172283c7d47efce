"""The CSV: what is written is read back, and every badness is refused with file, line, column and fix."""

import csv
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import ExitCode, TareError
from harness.record.csv_file import (
    COLUMNS,
    FieldError,
    Row,
    frame,
    parameters_text,
    printable,
    read_csv,
    rows_of,
    write_csv,
)
from harness.record.journal import Journal, read

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


def refused(path: Path) -> TareError:
    with pytest.raises(TareError) as error:
        read_csv(path)
    assert error.value.code == ExitCode.BAD_INPUT and error.value.hint
    assert str(path) in error.value.brief and error.value.brief.isprintable()
    return error.value


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
        assert read_csv(path) == [replace(each, reason=printable(each.reason)) for each in (row, failed)]


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


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("metric", "=1+1"), ("metric", ""), ("metric", "a" * 42), ("workload", "../etc"), ("variant", "docker/a/x"),
        ("unit", "@x"), ("unit", ""), ("run", "-rf"), ("kernel", "6\n1"), ("host", "<b>"), ("instance", "\x1b[2J"),
        ("value", "NaN"), ("value", "inf"), ("value", "1e999"), ("value", "1_000"), ("value", "١٢"), ("value", "1,5"),
        ("value", " 1"), ("value", "0x10"), ("value", "+1"), ("value", ""), ("elapsed", "-1.0"), ("mhz", "=2"),
        ("block", "-1"), ("block", "1_0"), ("block", "٣"), ("block", "1.0"), ("block", ""), ("iteration", "9" * 30),
        ("valid", "True"), ("valid", "1"), ("valid", "false"), ("direction", "up"), ("scale", ""), ("phase", "hot"),
        ("time", "2026-11-23 09:24:44"), ("time", "2026-13-01T00:00:00Z"), ("time", "2026-11-23T09:24:44+01:00"),
        ("parameters", "[]"), ("parameters", '{"a":NaN}'), ("parameters", '{"a":1,"a":2}'), ("parameters", '{"a":[1]}'),
        ("parameters", "{" * 5000), ("parameters", '{"a":1e999}'), ("parameters", '{"a":"<b>"}'),
        ("reason", "=HYPERLINK(1)"), ("reason", "<img>"), ("reason", "\x1b[31m"), ("reason", "x" * 501),
        ("reason", "two\nlines"), ("image", "x" * 201), ("schema", "0"), ("schema", "2"), ("schema", "1_0"),
    ],
)  # fmt: skip
def test_a_bad_field_is_refused_with_line_and_column(tmp_path: Path, column: str, value: str) -> None:
    header, good = csv_text(ROW).splitlines()
    cells = next(csv.reader([good]))
    cells[COLUMNS.index(column)] = value
    path = tmp_path / "bad.csv"
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write(f"{header}\n{good}\n")
        csv.writer(handle, lineterminator="\n").writerow(cells)
    brief = refused(path).brief
    if value == "2" and column == "schema":
        assert "newer" in brief or "is not 1" in brief
    assert (
        f"line 3, {'value' if (column, value) == ('value', '') else column if value != 'false' else 'reason'}" in brief
    )


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: b"", "line 1: is empty"),
        (lambda text: text.encode("utf-16"), "UTF-16"),
        (lambda text: text.encode("utf-16-le"), "NUL"),
        (lambda text: text.encode("utf-8-sig"), "byte-order mark"),
        (lambda text: text.encode() + b"\xff\n", "line 3: byte 1 is not UTF-8"),
        (lambda text: text.replace("docker", "do\0ker", 1).encode(), "line 2: holds a NUL byte"),
        (lambda text: text.encode()[:-20], "line 2: has "),
        (lambda text: text.replace("\n1,", "\n1,,", 1).encode(), "line 2: has 36 fields"),
        (lambda text: text.rstrip("\n").encode() + b",\n", "line 2: has 36 fields"),
        (lambda text: (text + "\n").encode(), "line 3: has 0 fields"),
        (lambda text: text.replace("docker", "d\xe9cker", 1).encode("latin-1"), "is not UTF-8"),
        (lambda text: text.replace(",5f2a,", ',"5f2a,', 1).encode(), "line 2"),
        (lambda text: text.replace(",5f2a,", ',"5f"2a,', 1).encode(), "line 2"),
        (lambda text: text.replace("\n", "\r", 1).encode(), "line 1"),
        (lambda text: text.replace("schema,", "", 1).encode(), "line 1, schema: is missing"),
        (lambda text: text.replace("suite,", "run,", 1).encode(), "'run': stands twice"),
        (lambda text: text.replace("reason\n", "reason,extra\n", 1).encode(), "'extra': is not a column"),
        (lambda text: text.replace("run,suite", "suite,run", 1).encode(), "another order"),
        (lambda text: text.replace("reason\n", "reason,extra\n").replace("\n1,", "\n2,").encode(), "2 is newer than 1"),
        (lambda text: (text + text.partition("\n")[2].replace("1.0", "2.0")).encode(), "line 3, elapsed: contradicts"),
        (lambda text: text.encode() + b"a" * 70000, "line 3: is longer"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, damage: Callable[[str], bytes], says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(damage(csv_text(ROW)))
    assert says in refused(path).brief


@pytest.mark.parametrize(("column", "value"), [("unit", "ms"), ("direction", "lower"), ("scale", "linear")])
def test_a_metric_that_changes_its_meaning_is_refused(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "bad.csv"
    write_csv([ROW, replace(ROW, iteration=2, **{column: value})], path)  # type: ignore[arg-type]
    assert f"line 3, {column}: of events-per-second changes" in refused(path).brief


def test_what_is_no_plain_or_small_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "loop", tmp_path / "absent"):
        refused(path)
    path = tmp_path / "s.csv"
    write_csv([ROW], path)
    with pytest.raises(TareError, match="more than 100"):
        read_csv(path, largest=100)


def test_equal_duplicates_count_once_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    write_csv([ROW, ROW], path)
    assert read_csv(path) == [ROW]
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_csv(path) == [ROW]


def test_a_failure_may_stand_beside_what_was_measured_before_it(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, value=None, valid=False, reason="died")]
    write_csv(rows, tmp_path / "s.csv")
    assert read_csv(tmp_path / "s.csv") == rows


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
