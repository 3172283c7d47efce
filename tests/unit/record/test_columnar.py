"""Files of samples: what is refused, with line and column, and the figures by block."""

import csv
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, variance

import duckdb
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.analysis.blocks import block_values, differences, moments
from harness.analysis.overhead import overheads
from harness.cli.main import main
from harness.errors import ExitCode, TareError
from harness.record import checks, columnar
from harness.record.checks import SERIES
from harness.record.columnar import from_frame, open_source, read_samples, write_parquet
from harness.record.csv_file import write_csv
from harness.record.row import COLUMNS, Row, frame
from tests.unit.record.test_csv_file import ROW, csv_text
from tests.unit.record.test_derive import write as write_journal
from tests.unit.report import synthetic

KEY = ["workload", "metric", "variant", "accelerator"]


def refusal(path: Path, **limits: int) -> TareError:
    with pytest.raises(TareError) as error, open_source(path, **limits):
        pass
    assert error.value.code == ExitCode.BAD_INPUT and error.value.hint
    assert str(path) in error.value.brief and error.value.brief.isprintable()
    return error.value


def parquet(folder: Path, rows: list[Row], change: str = "*") -> Path:
    """What anybody may write: the CSV's columns in their types, with a change."""
    with duckdb.connect() as connection:
        connection.register("frame", frame(rows))
        columns = f"SELECT {change} FROM (SELECT {checks.cast()} FROM frame)"
        connection.execute(f"COPY ({columns}) TO '{folder}/made.parquet' (FORMAT parquet)")
    return folder / "made.parquet"


def run_rows(**changes: object) -> list[Row]:
    """Two variants in three blocks of three iterations: the second takes twice the first, and 4 % more per block."""
    rows = []
    for block in (1, 2, 3):
        for variant, factor in (("native", 1.0), ("docker/bridge", 2.0 * 1.04**block)):
            for iteration, spread in enumerate((0.9, 1.0, 1.3), 1):
                row = replace(ROW, block=block, variant=variant, iteration=iteration, direction="lower", unit="s")
                runtime = variant.partition("/")[0]
                rows.append(replace(row, runtime=runtime, value=factor * spread, **changes))  # type: ignore[arg-type]
    return rows


def synthetic_rows(folder: Path) -> list[Row]:
    return read_samples(synthetic.write(folder, synthetic.samples(), None) / "samples.csv")


BAD_CELLS = [
    ("metric", "=1+1"), ("metric", ""), ("metric", "a" * 42), ("workload", "../etc"), ("variant", "docker/a/x"),
    ("unit", "@x"), ("unit", ""), ("run", "-rf"), ("kernel", "6\n1"), ("host", "<b>"), ("instance", "\x1b[2J"),
    ("instance", "=1"), ("instance", "a" * 201), ("case", ""), ("case", "+cmd"), ("case", "<b>"), ("image", "x" * 201),
    ("suite", "@SUM(A1)"), ("cpus", "\x1b]0;t\x07"), ("shape", "<b>"), ("accelerator", "=x"), ("definition", "-1"),
    ("value", "NaN"), ("value", "nan"), ("value", "inf"), ("value", "-Infinity"), ("value", "1e999"),
    ("value", "1_000"), ("value", "١٢"), ("value", "1,5"), ("value", " 1"), ("value", "1 "), ("value", "0x10"),
    ("value", "+1"), ("value", ""), ("value", ".5"), ("value", "5."), ("value", "01"), ("value", "true"),
    ("value", "1e1000"), ("value", "1\x1f2"),
    ("elapsed", "-1.0"), ("elapsed", "1e999"), ("mhz", "=2"), ("mhz", "NaN"), ("steal", "-0.1"), ("steal", "1_0"),
    ("block", "-1"), ("block", "1_0"), ("block", "٣"), ("block", "1.0"), ("block", ""), ("block", "01"),
    ("block", "1e1"), ("iteration", "9" * 30), ("iteration", "+1"), ("attempt", "0x1"), ("attempt", "1 "),
    ("position", "-0"),
    ("valid", "True"), ("valid", "1"), ("valid", "false"), ("valid", ""), ("direction", "up"), ("scale", ""),
    ("phase", "hot"), ("summary", "p99"), ("role", ""), ("runtime", "Docker"), ("host_virtualized", "<b>"),
    ("time", "2026-11-23 09:24:44"), ("time", "2026-13-01T00:00:00Z"), ("time", "2026-02-29T00:00:00Z"),
    ("time", "2026-11-23T24:00:00Z"), ("time", "0000-01-01T00:00:00Z"), ("time", "2026-11-23T09:24:44+01:00"),
    ("parameters", "[]"), ("parameters", '{"a":NaN}'), ("parameters", '{"a":1,"a":2}'), ("parameters", '{"a":[1]}'),
    ("parameters", "{" * 5000), ("parameters", '{"a":1e999}'), ("parameters", '{"a":"<b>"}'),
    ("reason", "=HYPERLINK(1)"), ("reason", "<img>"), ("reason", "\x1b[31m"), ("reason", "x" * 501),
    ("reason", "two\nlines"), ("reason", "a\0b"), ("schema", "0"), ("schema", "2"), ("schema", "1_0"), ("schema", ""),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value"), BAD_CELLS)
def test_a_bad_cell_is_refused(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "bad.csv"
    header, good = csv_text(ROW).splitlines()
    cells = next(csv.reader([good]))
    cells[COLUMNS.index(column)] = value
    with path.open("w", encoding="utf-8", newline="") as handle:
        handle.write(f"{header}\n{good}\n")
        csv.writer(handle, lineterminator="\n").writerow(cells)
    column = "reason" if value == "false" else column
    assert ("line 3: holds a NUL" if "\0" in value else f"line 3, {column}: ") in refusal(path).brief


DAMAGES: list[tuple[Callable[[str], bytes], str]] = [
    (lambda text: b"", "line 1: is empty"),
    (lambda text: text.encode("utf-16"), "UTF-16"),
    (lambda text: text.encode("utf-16-le"), "NUL"),
    (lambda text: text.encode("utf-8-sig"), "byte-order mark"),
    (lambda text: text.encode() + b"\xff\n", "line 3: byte 1 is not UTF-8"),
    (lambda text: text.replace("docker", "d\xe9cker", 1).encode("latin-1"), "is not UTF-8"),
    (lambda text: text.replace("docker", "do\0ker", 1).encode(), "line 2: holds a NUL byte"),
    (lambda text: (text + text.splitlines(keepends=True)[0]).encode(), "line 3: the header is repeated"),
    (lambda text: text.encode()[:-20], "line 2: has "),
    (lambda text: text.replace("\n1,", "\n1,,", 1).encode(), "line 2: has 36 fields"),
    (lambda text: text.rstrip("\n").encode() + b",\n", "line 2: has 36 fields"),
    (lambda text: text.rstrip("\n").encode() + b",,\n", "line 2: has 37 fields"),
    (lambda text: text.rstrip("\n").removesuffix(",").encode() + b"\n", "line 2: has 34 fields"),
    (lambda text: (text + "\n").encode(), "line 3: has 0 fields"),
    (lambda text: text.replace("\n", "\n\n", 1).encode(), "line 2: has 0 fields"),
    (lambda text: (text + ",\n").encode(), "line 3: has 2 fields"),
    (lambda text: text.replace(",5f2a,", ',"5f2a,', 1).encode(), "line 2"),
    (lambda text: text.replace(",5f2a,", ',"5f"2a,', 1).encode(), "line 2"),
    (lambda text: text.replace(",5f2a,", ',"5f\n2a",', 1).encode(), "host: "),
    (lambda text: text.replace("\n", "\r", 1).encode(), "line 1"),
    (lambda text: text.replace(",5f2a,", ",5f\r2a,", 1).encode(), "line 2"),
    (lambda text: text.replace("schema,", "", 1).encode(), "line 1: the column schema is missing"),
    (lambda text: text.partition("\n")[2].encode(), "line 1"),
    (lambda text: text.replace("suite,", "run,", 1).encode(), "'run': occurs twice"),
    (lambda text: text.replace("reason\n", "reason,extra\n", 1).encode(), "'extra': is not a column"),
    (lambda text: text.replace("run,suite", "suite,run", 1).encode(), "another order"),
    (lambda text: text.replace("reason\n", "reason,extra\n").replace("\n1,", "\n2,").encode(), "2 is newer than 1"),
    (lambda text: (text + text.partition("\n")[2].replace("1.0", "2.0")).encode(), "line 3, elapsed: contradicts"),
    (lambda text: text.encode() + b"a" * 70000, "line 3: is longer"),
    (lambda text: text.encode() + b'"' + b"a" * 200000, "line 3: is longer"),
    (lambda text: b"PK\x03\x04" + text.encode(), "line 1"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "says"), DAMAGES)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: Callable[[str], bytes], says: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(damage(csv_text(ROW)))
    assert says in refusal(path).brief


@pytest.mark.parametrize(("column", "value"), [("unit", "ms"), ("direction", "lower"), ("scale", "linear")])
def test_a_metric_that_changes_its_meaning_is_refused(tmp_path: Path, column: str, value: str) -> None:
    path = tmp_path / "bad.csv"
    rows = [ROW, replace(ROW, iteration=2, **{column: value})]  # type: ignore[arg-type]
    write_csv(rows, path)
    assert f"line 3, {column}" in refusal(path).brief
    assert f"{column}: of events-per-second changes" in refusal(parquet(tmp_path, rows)).brief


def test_what_is_no_plain_or_small_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("fifo.csv", "loop.csv", "folder.csv", "absent.csv", "absent.parquet", "samples.json"):
        refusal(tmp_path / name)
    write_csv([ROW], tmp_path / "s.csv")
    assert "more than 100" in refusal(tmp_path / "s.csv", largest=100).brief


def test_beyond_the_limit_of_the_search_duckdb_names_the_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "LARGEST_SEARCH", 100)
    path = tmp_path / "bad[0].csv"
    path.write_text(csv_text(ROW).replace("docker,", "=docker,"))
    assert "runtime: '=docker' is not a name" in refusal(path).brief
    path.write_text(csv_text(ROW) + '1,"x\n')
    refusal(path)
    path.write_text(csv_text(ROW, replace(ROW, value=3.0)).replace("3.0", "NaN"))
    assert "line 3, value: 'NaN'" in refusal(path).brief


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("* EXCLUDE reason", "34 columns"), ("*, 1 AS extra", "36 columns"), ("suite, * EXCLUDE suite", "'suite'"),
        ("* REPLACE (1 AS value)", "INTEGER"), ("* REPLACE ('1' AS block)", "VARCHAR"),
        ("* REPLACE ([workload] AS workload)", "VARCHAR[]"),
        ("* REPLACE (-1::BIGINT AS block)", "row 1, block: -1 is not"),
        ("* REPLACE ('NaN'::DOUBLE AS value)", "row 1, value: nan"),
        ("* REPLACE ('inf'::DOUBLE AS value)", "row 1, value: inf"),
        ("* REPLACE (NULL::BIGINT AS iteration)", "row 1, iteration: None"),
        ("* REPLACE ('<b>' AS variant)", "variant: '<b>'"),
        ("* REPLACE ('=1+1' AS unit)", "unit: '=1+1'"), ("* REPLACE (chr(27) || '[2J' AS kernel)", "kernel: "),
        ("* REPLACE (NULL::VARCHAR AS run)", "run: is NoneType"), ("* REPLACE (2::BIGINT AS schema)", "schema: 2"),
        ("* REPLACE (NULL::BOOLEAN AS valid)", "valid: "), ("* REPLACE (NULL::DOUBLE AS value)", "value: is empty"),
        ("* REPLACE (false AS valid)", "reason: is empty"), ("* REPLACE (repeat('x', 201) AS image)", "image: "),
    ],
)  # fmt: skip
def test_a_hostile_parquet_is_refused(tmp_path: Path, change: str, says: str) -> None:
    assert says in refusal(parquet(tmp_path, [ROW], change)).brief


@pytest.mark.parametrize("change", ["'=1' AS instance", "'<b>' AS \"case\"", "'now' AS time", "-1.0::DOUBLE AS mhz"])
def test_of_a_parquet_what_enters_no_figure_is_refused_when_it_is_read(tmp_path: Path, change: str) -> None:
    made = parquet(tmp_path, [ROW], f"* REPLACE ({change})")
    with open_source(made) as source, pytest.raises(duckdb.Error, match="a row must not"):
        source.relation.fetchall()


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"a,b\n1,2\n", b"\xff" * 1000])
def test_what_is_no_parquet_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "s.parquet").write_bytes(data)
    refusal(tmp_path / "s.parquet")


def test_a_contradiction_in_a_parquet_is_refused(tmp_path: Path) -> None:
    assert "contradict" in refusal(parquet(tmp_path, [ROW, replace(ROW, elapsed=2.0)])).brief


def test_equal_duplicates_count_once_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = run_rows()
    path.write_text(csv_text(*rows, *rows[:4]))
    with open_source(path) as source:
        assert source.relation.count("*").fetchall() == [(len(rows),)]
        assert len(read_samples(path)) == len(rows)
        doubled = moments(source)
    path.write_bytes(csv_text(*rows).replace("\n", "\r\n").encode())
    with open_source(path) as source:
        pd.testing.assert_frame_equal(moments(source), doubled)


def test_more_iterations_than_the_mask_holds_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = [replace(ROW, iteration=number, value=float(number)) for number in range(1, 400)]
    write_csv(rows, path)
    with open_source(path) as source:
        assert source.connection.table("cells").fetchall()[0][3] == 200.0
    path.write_text(csv_text(*rows, replace(rows[0], value=5.0)))


def test_one_export_is_the_same_in_all_forms(tmp_path: Path) -> None:
    rows = synthetic_rows(tmp_path)
    path = tmp_path / "again.csv"
    write_csv(rows, path)
    assert write_parquet(rows, tmp_path / "s.parquet") == len(rows)
    with from_frame(frame(rows)) as memory, open_source(path) as text, open_source(tmp_path / "s.parquet") as columns:
        expected = sorted(map(str, memory.relation.fetchall()))
        for source in (text, columns):
            assert sorted(map(str, source.relation.fetchall())) == expected
            assert source.relation.columns == list(COLUMNS)
            pd.testing.assert_frame_equal(moments(source), moments(memory))
            pd.testing.assert_frame_equal(differences(source, "made-up"), differences(memory, "made-up"))
        assert write_parquet(text, tmp_path / "copy.parquet") == len(rows)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["again.csv", "copy.parquet", "s.parquet", "samples.csv"]


def test_what_a_csv_may_not_hold_becomes_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(TareError, match="row 2, metric"):
        write_parquet([ROW, replace(ROW, metric="=x")], tmp_path / "s.parquet")
    with pytest.raises(TareError, match="cannot write"):
        write_parquet([ROW], tmp_path / "absent" / "s.parquet")
    assert list(tmp_path.iterdir()) == []


def test_export_writes_both_forms_of_a_stored_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_journal(tmp_path / "results" / "a-run")
    text, columns = tmp_path / "s.csv", tmp_path / "s.parquet"
    words = ["export", "a-run", "--out", str(run.parent)]
    assert main([*words, "--csv", str(text), "--parquet", str(columns)]) == ExitCode.FINE
    assert capsys.readouterr().out.splitlines() == [f"2 samples written to {path}" for path in (text, columns)]
    with open_source(text) as source, open_source(columns) as other:
        assert sorted(map(str, source.relation.fetchall())) == sorted(map(str, other.relation.fetchall()))
    assert main([*words, "--parquet", str(tmp_path / "absent" / "s.parquet")]) == ExitCode.BAD_INPUT
    assert main(words) == ExitCode.BAD_INPUT
    assert "--parquet FILE" in capsys.readouterr().err


def test_moments_are_those_of_a_calculation_by_hand() -> None:
    with from_frame(frame(run_rows())) as source:
        table, blocks = moments(source), differences(source, ROW.run)
        alone = moments(source, None)
    d = [math.log(2 * 1.04**block) for block in (1, 2, 3)]
    bridge, native = (table[table["variant"] == name].iloc[0] for name in ("docker/bridge", "native"))
    assert (bridge["n"], bridge["blocks"], bridge["own_n"], native["n"], native["own_n"]) == (3, 3, 3, 0, 3)
    assert bridge["mean"] == pytest.approx(mean(d)) and bridge["variance"] == pytest.approx(variance(d))
    assert bridge["own_mean"] == pytest.approx(mean(d)) and native["own_mean"] == pytest.approx(0.0)
    assert math.isnan(native["mean"]) and math.isnan(native["variance"])
    assert blocks[blocks["variant"] == "docker/bridge"]["d"].tolist() == pytest.approx(d)
    assert alone["n"].tolist() == [0, 0] and alone["own_mean"].tolist() == table["own_mean"].tolist()
    assert list(table.columns[: len(SERIES)]) == list(SERIES)


@pytest.mark.parametrize(("scale", "factor", "count"), [("log", 0.0, 0), ("log", -1.0, 0), ("linear", -1.0, 3)])
def test_without_a_positive_value_there_is_no_ratio(scale: str, factor: float, count: int) -> None:
    rows = [replace(row, scale=scale) for row in run_rows()]
    bad = [replace(row, value=factor * (row.value or 0)) if row.block == 2 else row for row in rows]
    with from_frame(frame(bad)) as source:
        table = moments(source)
    assert table["n"].tolist() == [count, 0] and table["mean"].isna().tolist() == [count == 0, True]


def agrees_with_the_analysis(rows: list[Row]) -> None:
    samples = frame(rows)
    with from_frame(samples) as source:
        table = moments(source)
        blocks = differences(source, rows[0].run)
    found = overheads(samples)
    for one in found:
        key = [one.workload, one.metric, one.variant, one.accelerator]
        row = table[(table[KEY] == key).all(axis=1)].iloc[0]
        chosen = blocks[(blocks[KEY] == key).all(axis=1)]
        assert chosen["d"].dropna().tolist() == pytest.approx(list(one.differences)) or not one.differences
        assert row["n"] == len(one.differences)
        if one.differences:
            assert row["mean"] == pytest.approx(mean(one.differences), abs=1e-12)
        if len(one.differences) > 1:
            assert row["variance"] == pytest.approx(variance(one.differences), abs=1e-12)
    values = block_values(samples)
    assert len(values) == len(blocks)


def test_moments_agree_with_the_overheads_of_a_run(tmp_path: Path) -> None:
    agrees_with_the_analysis(synthetic_rows(tmp_path))


PARTS = st.fixed_dictionaries(
    {
        "block": st.integers(1, 3), "attempt": st.integers(1, 2), "iteration": st.integers(0, 3),
        "variant": st.sampled_from(["native", "docker/bridge", "docker/host"]),
        "role": st.sampled_from(["subject", "subject", "peer"]),
        "phase": st.sampled_from(["measured", "measured", "warmup"]), "valid": st.sampled_from([True, True, False]),
        "value": st.none() | st.floats(0.001, 1e6), "metric": st.sampled_from(["one", "two"]),
        "reason": st.just("why"),
    }
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=40))
@example([{"value": None, "variant": "native"}])
def test_any_samples_give_the_same_figures_as_the_analysis(parts: list[dict[str, object]]) -> None:
    rows = [replace(ROW, **part) for part in parts]  # type: ignore[arg-type]
    rows = [row if row.value is not None else replace(row, valid=False, reason="died") for row in rows]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "s.csv"
        write_csv(rows, path)
        try:
            good = read_samples(path)
        except TareError:
            return
        agrees_with_the_analysis(good)
        with open_source(path) as source, from_frame(frame(good)) as memory:
            pd.testing.assert_frame_equal(moments(source), moments(memory))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_file_is_read_afresh_though_it_looks_like_the_one_before(tmp_path: Path, suffix: str) -> None:
    for value in (1.5, 2.5):
        path = tmp_path / f"{value}.{suffix}"
        rows = [replace(ROW, value=value)]
        if suffix == "csv":
            write_csv(rows, path)
        else:
            write_parquet(rows, path)
        os.utime(path, (1e9, 1e9))
        assert [row.value for row in read_samples(path)] == [value]
