"""Checks samples in DuckDB by the rules of `harness.record.row`, and summarises them by block.

Texts that many rows share are checked once per distinct value, in Python. Numbers and texts that differ from row to row
are matched in SQL against the same rules.

Rejected, in CPU seconds. The two scans of a CSV take 2.1 per 10^6 rows. One scan by case that keeps every text takes
2.7. One scan that splits each line at its commas takes about 1.9 with a search for one line per combination, but quoted
fields would still need the two scans. For 10^7 rows of Parquet, a summary that is calculated only when blocks are
compared saves 0.5 of 2.5, but the comparison then takes 0.4 more in total.
"""

import csv
import secrets
from collections.abc import Container, Iterable
from pathlib import Path

import duckdb
import numpy as np

from harness.record.csv_file import LONGEST_LINE
from harness.record.row import (
    COLUMNS,
    FLOATS,
    IDENTITY,
    INTEGERS,
    MEANING,
    RULES,
    SCHEMA,
    FieldError,
    Row,
    check,
    shown,
)

NATURE = (*MEANING, "summary")
SERIES = ("run", "workload", "definition", "parameters", "metric", *NATURE, "variant", "runtime", "accelerator")
"""The columns that make a series: rows that agree in these are repetitions of each other."""
_LEAST = ("run", "workload", "metric", "variant", "role")
_EVERY = (*SERIES, "role")
CIRCUMSTANCES = ("host", "host_virtualized", "shape", "kernel", "image")
_VARIED = ("time", "case", "instance")
"""Texts that differ from case to case or from row to row."""
_TEXTS = ("schema", *(name for name in COLUMNS if name not in INTEGERS | FLOATS and name not in _VARIED))
_FIGURES = ("block", "position", "attempt", "iteration", *sorted(FLOATS))
_LAZY = (*_VARIED, "position", "elapsed", "mhz", "steal")
"""Columns that enter no figure and no name: of a Parquet file they are checked when they are read."""
_SUMMARIES = {"median": "median", "mean": "avg", "min": "min", "max": "max"}
_CHUNK = 2**18
_MOST_BAD = 1000


class Unfit(Exception):
    """Why a file is not what docs/csv.md allows. `column` and the number of the `row` (from 1) where they are known."""

    def __init__(self, problem: str, column: str = "", row: int = 0) -> None:
        super().__init__(problem)
        self.column = column
        self.row = row


def scan_csv(connection: duckdb.DuckDBPyConnection, file: str) -> str:
    """Check a CSV and make `series`, `cells` and `samples`; returns the key of `series`.

    Raises Unfit or duckdb.Error.
    """
    _check_header(file)
    # One column more than the CSV has: DuckDB ignores a comma at a line's end, but here it fills that column. Nobody
    # can foresee the text that means NULL, so a NULL is a field that is missing.
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in (*COLUMNS, "beyond"))
    connection.execute(f"""
        CREATE TEMP VIEW raw AS SELECT * FROM read_csv({quoted(file)}, columns = {{{columns}}}, auto_detect = false,
            header = true, delim = ',', quote = '"', escape = '"', comment = '', strict_mode = true,
            null_padding = true, nullstr = '{secrets.token_hex()}', max_line_size = {LONGEST_LINE},
            encoding = 'utf-8', compression = 'none')
    """)
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT {_FROM_TEXT} FROM raw")
    matched = (*_VARIED, *_FIGURES)
    # One match for all, which takes half of the time. concat_ws skips a field that is missing, but then `reason`, the
    # last field, is missing too, and that is refused.
    texts = f"concat_ws('\x1f', {', '.join(f't_{name}' for name in matched)})"
    pattern = "\x1f".join(f"({RULES[name].pattern})" for name in matched)
    limits = " AND ".join(map(_limits, matched))
    fine = f"beyond IS NULL AND regexp_full_match({texts}, {quoted(pattern)}) AND {limits}"
    raw = ", ".join(f'"{name}" AS t_{name}' for name in matched)
    rows = f"(SELECT {_FROM_TEXT}, {raw}, beyond FROM raw)"
    key, count = _gather(connection, rows, "t_value = ''")
    if count != _lines(file) - 1:
        raise Unfit("has an empty line, or a line break within a field")
    _check_texts(connection, rows, fine)
    _finish(connection, key, rows, fine)
    return key


def scan_parquet(connection: duckdb.DuckDBPyConnection, file: str) -> str:
    """Check a Parquet file and make `series`, `cells` and `samples`; returns the key of `series`.

    Raises Unfit or duckdb.Error. The columns of `_LAZY` are checked when they are read: they would be most of the work.
    """
    read = f"read_parquet({quoted(file)}, hive_partitioning = false, binary_as_string = false)"
    found = connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()
    for name, (other, kind, *_) in zip(COLUMNS, found, strict=False):
        if (other, kind) != (name, RULES[name].sql):
            raise Unfit(f"has {shown(str(other))} of type {shown(kind)} instead of {name} of type {RULES[name].sql}")
    if len(found) != len(COLUMNS):
        raise Unfit(f"has {len(found)} columns, not {len(COLUMNS)}")
    columns = ", ".join(_guarded(name) if name in _LAZY else f'"{name}"' for name in COLUMNS)
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT {columns} FROM {read}")
    fine = " AND ".join(_allowed(name) for name in _FIGURES if name not in _LAZY)
    key, _ = _gather(connection, "typed", "value IS NULL")
    every = " AND ".join(map(_allowed, (*_VARIED, *_FIGURES)))
    _check_texts(connection, read, every)
    _finish(connection, key, "typed", fine, read)
    return key


def scan_frame(connection: duckdb.DuckDBPyConnection) -> str:
    """Make `series` and `cells` of the view `samples`, whose rows are checked already; returns the key of `series`."""
    key = _key(_EVERY)
    _make_series(connection, "samples", key)
    _summarise(connection, "samples", "true", key)
    return key


def cast(present: Container[str] = COLUMNS) -> str:
    """The CSV's columns, each in its type; those that are not `present` are empty texts or 0."""

    def one(name: str) -> str:
        absent = "''" if RULES[name].sql == "VARCHAR" else "0"
        return f"CAST({_name(name) if name in present else absent} AS {RULES[name].sql}) AS {_name(name)}"

    return ", ".join(map(one, COLUMNS))


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return f'"{column}"'


def _limits(name: str) -> str:
    """The condition for what a column's type and pattern leave open: its length or its least value."""
    rule, column = RULES[name], _name(name)
    if rule.sql == "VARCHAR":
        # strlen counts bytes and takes no time.
        return f"(strlen({column}) <= {rule.longest} OR length({column}) <= {rule.longest})"
    if rule.sql == "BIGINT":
        return f"{column} >= {rule.least}"
    return f"coalesce(isfinite({column}) AND {column} >= '{rule.least}'::DOUBLE, true)"


def _allowed(name: str) -> str:
    """The condition for a column in its type."""
    matches = f"regexp_full_match({_name(name)}, {quoted(RULES[name].pattern)}) AND "
    return (matches if RULES[name].sql == "VARCHAR" else "") + _limits(name)


def _guarded(name: str) -> str:
    problem = f"{name} holds a value that a row must not hold"
    return f'CASE WHEN {_allowed(name)} THEN "{name}" ELSE error(\'{problem}\') END AS "{name}"'


def _gather(connection: duckdb.DuckDBPyConnection, rows: str, empty: str) -> tuple[str, int]:
    """Make the tables `texts`, every combination of texts with its number of rows, and `series`.

    `empty` is the condition for a row without a value. Returns the key of `series` and the number of rows.
    """
    names = ", ".join(map(_name, _TEXTS))
    kept = ", ".join(f'any_value("{name}") AS "{name}"' for name in _TEXTS)
    # Grouped by a hash, so that long texts are not keys; two combinations with one hash would be taken for one.
    connection.execute(f"""
        CREATE TEMP TABLE texts AS SELECT {kept}, bool_or({empty}) AS empty, count(*) AS number
        FROM {rows} GROUP BY hash({names})
    """)
    # The fewest columns that tell the series apart: each one is read of every row.
    (count,) = connection.execute("SELECT coalesce(sum(number), 0) FROM texts").fetchall()[0]
    several = f"SELECT 1 FROM texts GROUP BY {_key(_LEAST)} HAVING min({_key(_EVERY)}) < max({_key(_EVERY)}) LIMIT 1"
    key = _key(_EVERY if connection.execute(several).fetchall() else _LEAST)
    _make_series(connection, "texts", key)
    return key, count


def _make_series(connection: duckdb.DuckDBPyConnection, rows: str, key: str) -> None:
    """Make the table `series`: `k`, the columns of SERIES, `role`, and the last name of each circumstance."""
    circumstances = ", ".join(f"max({name}) AS {name}" for name in CIRCUMSTANCES)
    named = ", ".join(_EVERY)
    connection.execute(f"""
        CREATE TEMP TABLE series AS SELECT {key} AS k, {named}, {circumstances} FROM {rows} GROUP BY {named}
    """)


def _key(columns: Iterable[str]) -> str:
    return f"hash({', '.join(columns)})"


def _check_texts(connection: duckdb.DuckDBPyConnection, rows: str, fine: str) -> None:
    """Raise Unfit when a text breaks its column's rule, a reason is missing, or a metric changes its meaning."""
    bad: list[tuple[str, str | None]] = []
    texts = ", ".join(f'"{name}"::VARCHAR' for name in _TEXTS)
    distinct = connection.execute(f"SELECT DISTINCT unnest({list(_TEXTS)}), unnest([{texts}]) FROM texts")
    while len(bad) < _MOST_BAD and (found := distinct.fetchmany(_MOST_BAD)):
        bad += [(name, text) for name, text in found if not _is_allowed(name, text)]
    unexplained = "empty AND (valid OR reason = '') OR NOT valid AND reason = ''"
    if bad or connection.execute(f"SELECT 1 FROM texts WHERE {unexplained} LIMIT 1").fetchall():
        unfit = " OR ".join(f'"{name}"::VARCHAR IS NOT DISTINCT FROM {_literal(text)}' for name, text in bad)
        raise _first_bad(connection, rows, f"{fine} AND NOT ({unfit or 'false'})")
    several = ", ".join(f"min({name}) < max({name})" for name in MEANING)
    changes = f"SELECT * FROM (SELECT workload, metric, [{several}] AS several FROM texts GROUP BY ALL)"
    for *where, found in connection.execute(f"{changes} WHERE list_contains(several, true) LIMIT 1").fetchall():
        name = MEANING[found.index(True)]
        _number(connection, rows)
        (_, before), (row, after) = connection.execute(
            f"SELECT min(n), {name} FROM numbered WHERE (workload, metric) = (?, ?) GROUP BY {name} ORDER BY ALL", where
        ).fetchmany(2)
        raise Unfit(f"of {where[1]} changes from {before} to {after}", name, row)


def _is_allowed(name: str, text: str | None) -> bool:
    return text is not None and RULES[name].allows(text) and (name != "schema" or text == str(SCHEMA))


def _first_bad(connection: duckdb.DuckDBPyConnection, rows: str, fine: str) -> Unfit:
    """The first row that is not `fine` or not explained, with its column and problem."""
    _number(connection, rows)
    explained = "CASE WHEN valid THEN value IS NOT NULL ELSE reason <> '' END"
    found = connection.execute(f"""
        SELECT n, {", ".join(map(_name, COLUMNS))} FROM numbered
        WHERE NOT coalesce(({fine}) AND {explained}, false) ORDER BY n LIMIT 1
    """).fetchall()
    if not found:
        return Unfit("has a row that docs/csv.md does not allow")
    row, *values = found[0]
    try:
        check(Row(**dict(zip(COLUMNS, values, strict=True))))
    except FieldError as error:
        return Unfit(error.problem, error.column, row)
    return Unfit("has a field that docs/csv.md does not allow, or too few or too many fields", "", row)


def _number(connection: duckdb.DuckDBPyConnection, rows: str) -> None:
    """Make the view `numbered`: the rows of the file in order, counted in `n` from 1."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW numbered AS SELECT row_number() OVER () AS n, * FROM {rows}")


def _summarise(connection: duckdb.DuckDBPyConnection, rows: str, fine: str, key: str) -> None:
    """Make the table `cells`: one row per series, block and attempt.

    Columns: `k`, the key of `series`; `block`; `attempt`; `value`, the declared summary of the good rows; `good`, how
    many they are; `failed`; `fine`; `doubtful` where one sample may occur twice. Iterations are marked in a mask, which
    holds 111 measured ones.
    """
    good = "phase = 'measured' AND valid AND isfinite(value)"
    place = "CASE phase WHEN 'warmup' THEN 111 + iteration % 16 ELSE iteration % 111 END"
    # list_median takes a tenth of the time of the aggregate median(), and less memory.
    summaries = " ".join(f"WHEN '{word}' THEN list_{name}(found)" for word, name in _SUMMARIES.items())
    connection.execute(f"""
        CREATE OR REPLACE TEMP TABLE cells AS
        SELECT k, block, attempt, CASE summary {summaries} END AS value, coalesce(len(found), 0) AS good, failed, fine,
            valued <> bit_count(mask) OR number - valued > 1 AS doubtful
        FROM (
            SELECT {key} AS k, block, attempt, list(value) FILTER (WHERE {good}) AS found,
                count(*) AS number, count(value) AS valued,
                bit_or(CASE WHEN value IS NULL THEN 0::HUGEINT ELSE 1::HUGEINT << ({place})::HUGEINT END) AS mask,
                bool_or(value IS NULL AND phase <> 'warmup') AS failed,
                bool_and(coalesce({fine}, false)) AS fine
            FROM {rows} GROUP BY ALL
        ) JOIN series USING (k)
    """)


def _finish(connection: duckdb.DuckDBPyConnection, key: str, rows: str, fine: str, file: str = "") -> None:
    """Make `cells` and the view `samples`. Raises Unfit for a row that is not fine and for samples that differ."""
    _summarise(connection, rows, fine, key)
    verdict = "SELECT coalesce(bool_and(fine), true), coalesce(bool_or(doubtful), false) FROM cells"
    all_fine, doubtful = connection.execute(verdict).fetchall()[0]
    if not all_fine:
        raise _first_bad(connection, file or rows, fine)
    samples = "typed"
    if doubtful and _has_doubles(connection, key):
        samples = "(SELECT DISTINCT * FROM typed)"
        _summarise(connection, samples, "true", key)
    connection.execute(f"CREATE TEMP VIEW samples AS SELECT * FROM {samples}")


def _has_doubles(connection: duckdb.DuckDBPyConnection, key: str) -> bool:
    """Whether any sample occurs twice. Raises Unfit when two rows of one sample differ."""
    identity, whole = (", ".join(map(_name, names)) for names in (IDENTITY, COLUMNS))
    connection.execute("CREATE OR REPLACE TEMP TABLE doubts AS SELECT k, block, attempt FROM cells WHERE doubtful")
    _number(connection, f"(SELECT *, {key} AS k FROM typed)")
    connection.execute(f"""
        CREATE TEMP TABLE doubles AS SELECT list(n ORDER BY n) AS places, count(DISTINCT alike) > 1 AS differ
        FROM (
            SELECT n, hash({identity}, value IS NULL) AS sample, hash({whole}) AS alike
            FROM numbered SEMI JOIN doubts USING (k, block, attempt)
        ) GROUP BY sample HAVING count(*) > 1
    """)
    for (places,) in connection.execute("SELECT places FROM doubles WHERE differ ORDER BY ALL LIMIT 1").fetchall():
        columns = ", ".join(map(_name, COLUMNS))
        statement = f"SELECT n, {columns} FROM numbered WHERE n IN {tuple(places)} ORDER BY n"
        found = connection.execute(statement).fetchall()
        (_, *first), (row, *other) = found[0], next(one for one in found if one[1:] != found[0][1:])
        column = next(name for name, a, b in zip(COLUMNS, first, other, strict=True) if a != b)
        raise Unfit("contradicts an earlier row of the same sample", column, row)
    return bool(connection.execute("SELECT 1 FROM doubles LIMIT 1").fetchall())


def _check_header(file: str) -> None:
    with Path(file).open("rb") as handle:
        header = handle.readline(LONGEST_LINE).decode("utf-8", "replace")
    try:
        found = tuple(next(csv.reader([header], strict=True), ()))
    except csv.Error:
        found = ()
    if found != COLUMNS:
        raise Unfit("has other columns, or in another order")


def _lines(file: str) -> int:
    """The number of lines of a file; a last line without a line feed counts."""
    count, last, piece = 0, True, np.empty(_CHUNK, np.uint8)
    with Path(file).open("rb", buffering=0) as handle:
        while size := handle.readinto(piece.data):
            ends = piece[:size] == ord("\n")
            count, last = count + int(np.count_nonzero(ends)), bool(ends[-1])
    return count + (not last)


def _literal(text: str | None) -> str:
    return "NULL" if text is None else quoted(text)


def _typed_from_text(name: str) -> str:
    """A column of `raw` in its type. A text that is not of the type becomes NULL, which no rule allows."""
    match name:
        case "valid":
            return "CASE valid WHEN 'true' THEN true WHEN 'false' THEN false END AS valid"
        case "schema":
            return f"CASE WHEN schema = '{SCHEMA}' THEN {SCHEMA}::BIGINT END AS schema"
        case _:
            kind = RULES[name].sql
            return f'"{name}"' if kind == "VARCHAR" else f'TRY_CAST("{name}" AS {kind}) AS "{name}"'


_FROM_TEXT = ", ".join(map(_typed_from_text, COLUMNS))
