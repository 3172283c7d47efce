"""Vets samples inside DuckDB by the rules of `harness.record.row`, and sums them up by block.

What many rows share is checked once per distinct value, by the very functions that the reader in Python uses; what
differs from row to row is matched against the same rules as a pattern.
"""

import csv
import secrets
from dataclasses import replace
from pathlib import Path

import duckdb

from harness.analysis.blocks import CIRCUMSTANCES, SERIES, cells_statement
from harness.record import row as rules
from harness.record.csv_file import LONGEST_LINE
from harness.record.row import COLUMNS, FLOATS, INTEGERS, FieldError, Row

_VARIED = ("time", "case", "instance")
"""Texts that differ from case to case or row to row: checked by pattern, the others by their distinct values."""
_TEXTS = ("schema", *(name for name in COLUMNS if name not in INTEGERS | FLOATS and name not in _VARIED))
_FIGURES = ("block", "position", "attempt", "iteration", "value", "elapsed", "mhz", "steal")
_TYPES = dict.fromkeys(COLUMNS, "VARCHAR") | dict.fromkeys(INTEGERS, "BIGINT") | dict.fromkeys(FLOATS, "DOUBLE")
_TYPES["valid"] = "BOOLEAN"
_PLAIN = "([A-Za-z0-9µ%(][A-Za-z0-9 ._/+:@,=()%µ²^~#-]*)"
_PATTERNS = {
    "time": "[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z",
    "case": _PLAIN,
    "instance": f"{_PLAIN}?",
    **dict.fromkeys(INTEGERS, "(0|[1-9][0-9]{0,14})"),
    **dict.fromkeys(FLOATS, "(-?(0|[1-9][0-9]{0,30})([.][0-9]{1,30})?([eE][+-]?[0-9]{1,3})?)?"),
}
_LENGTH = f"<= {rules.LONGEST_TEXT}"
_PLAUSIBLE = {
    "time": "time >= '0001' AND TRY_CAST(time[:10] AS DATE) IS NOT NULL",
    "case": f'length("case") {_LENGTH}',
    "instance": f"length(instance) {_LENGTH}",
    **{name: f"coalesce({name} >= 0 AND isfinite({name}), true)" for name in ("elapsed", "mhz", "steal")},
    "value": "coalesce(isfinite(value), true)",
}
"""What a column's pattern leaves open: a date that exists, the length, finite figures that are not negative."""
_IDENTITY = ("run", "workload", "variant", "block", "attempt", "instance", "role", "metric", "phase", "iteration")
_CHUNK = 2**20


class Unfit(Exception):
    """Why a file as a whole is not what docs/csv.md allows."""


def scan_csv(connection: duckdb.DuckDBPyConnection, file: str) -> None:
    """Vet a CSV: `series`, `cells` and `samples` in `connection`. Raises Unfit, FieldError or duckdb.Error."""
    _check_header(file)
    # One column more than there is: DuckDB lets a comma at a line's end pass, but here it fills that column. What
    # stands for NULL cannot be foreseen, so that NULL means a field that is not there.
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in (*COLUMNS, "beyond"))
    connection.execute(f"""
        CREATE TEMP VIEW raw AS SELECT * FROM read_csv({quoted(file)}, columns = {{{columns}}}, auto_detect = false,
            header = true, delim = ',', quote = '"', escape = '"', comment = '', strict_mode = true,
            null_padding = true, nullstr = '{secrets.token_hex()}', max_line_size = {LONGEST_LINE},
            encoding = 'utf-8', compression = 'none')
    """)
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT {cast(text=True)} FROM raw")
    pattern = "\x1f".join(f"{_PATTERNS[name]}" for name in (*_VARIED, *_FIGURES))
    # A field that is not there is skipped, but then `reason`, the last, is missing too, which is refused before.
    cells = f"concat_ws('\x1f', {', '.join(f't_{name}' for name in (*_VARIED, *_FIGURES))})"
    raw = ", ".join(f'"{name}" AS t_{name}' for name in (*_VARIED, *_FIGURES))
    both = f"(SELECT {cast(text=True)}, {raw}, beyond FROM raw)"
    plausible = " AND ".join(_PLAUSIBLE.values())
    fine = f"beyond IS NULL AND regexp_full_match({cells}, {quoted(pattern)}) AND {plausible}"
    key = _gather(connection, "raw", "value = ''")
    _check_texts(connection)
    if connection.execute("SELECT coalesce(sum(number), 0) FROM texts").fetchall()[0][0] != _lines(file) - 1:
        raise Unfit("has an empty line, or a line break within a field")
    _finish(connection, key, both, f"coalesce({fine}, false)")


def scan_parquet(connection: duckdb.DuckDBPyConnection, file: str) -> None:
    """Vet a Parquet: `series`, `cells` and `samples` in `connection`. Raises Unfit, FieldError or duckdb.Error.

    Of columns that enter no figure and no name a bad field is refused when it is read: they are most of the work.
    """
    read = f"read_parquet({quoted(file)}, hive_partitioning = false, binary_as_string = false)"
    found = connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()
    for name, (other, kind, *_) in zip(COLUMNS, found, strict=False):
        if (other, kind) != (name, _TYPES[name]):
            raise Unfit(f"has {rules.shown(str(other))} as {rules.shown(kind)} where {name} {_TYPES[name]} belongs")
    if len(found) != len(COLUMNS):
        raise Unfit(f"has {len(found)} columns, not {len(COLUMNS)}")
    guards = {**_PLAUSIBLE, "position": "position >= 0"}
    for name in _VARIED:
        guards[name] = f'regexp_full_match("{name}", {quoted(_PATTERNS[name])}) AND {_PLAUSIBLE[name]}'
    del guards["value"]
    columns = ", ".join(_guarded(name, guards.get(name)) for name in COLUMNS)
    connection.execute(f"CREATE TEMP VIEW typed AS SELECT {columns} FROM {read}")
    key = _gather(connection, "typed", "value IS NULL")
    _check_texts(connection)
    counts = " AND ".join(f'"{name}" >= 0' for name in ("block", "attempt", "iteration"))
    _finish(connection, key, "typed", f"coalesce({counts} AND coalesce(isfinite(value), true), false)")


def _guarded(name: str, guard: str | None) -> str:
    column = f'"{name}"'
    if guard is None:
        return column
    return f"CASE WHEN {guard} THEN {column} ELSE error('{name} holds what a row may not') END AS {column}"


def take(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `series` and `cells` of the view `samples`, whose rows were checked elsewhere."""
    key = _gather(connection, "samples", "value IS NULL")
    _sum_up(connection, "samples", "true", key)


def _gather(connection: duckdb.DuckDBPyConnection, rows: str, empty: str) -> str:
    """The tables `texts`, every combination of texts with its number of rows, and `series`; returns the key of it."""
    names = ", ".join(f'"{name}"' for name in _TEXTS)
    kept = ", ".join(f'any_value("{name}")::VARCHAR AS "{name}"' for name in _TEXTS)
    # By a hash, so that long texts are no keys; two combinations of one hash would be taken for one.
    connection.execute(f"""
        CREATE TEMP TABLE texts AS SELECT {kept}, bool_or({empty}) AS empty, count(*) AS number
        FROM {rows} GROUP BY hash({names})
    """)
    circumstances = ", ".join(f"max({name}) AS {name}" for name in CIRCUMSTANCES)
    key, named = _key(connection), ", ".join((*SERIES, "role"))
    connection.execute(f"""
        CREATE TEMP TABLE series AS SELECT {key} AS k, {named}, {circumstances} FROM texts GROUP BY {named}
    """)
    return key


def _key(connection: duckdb.DuckDBPyConnection) -> str:
    """The hash that tells the series apart, of as few columns as do: each one more has to be read of every row."""
    least = ("run", "workload", "metric", "variant", "role")
    more = [name for name in SERIES if name not in least]
    counts = ", ".join(f"count(DISTINCT hash({', '.join((*least, *extra))}))" for extra in ((), *((n,) for n in more)))
    first, *others = connection.execute(f"SELECT {counts} FROM texts").fetchall()[0]
    return f"hash({', '.join((*least, *(name for name, count in zip(more, others, strict=True) if count > first)))})"


def _check_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Raise FieldError for what no row may hold, by the same rules as the reader in Python."""
    for name in _TEXTS:
        distinct = connection.execute(f'SELECT DISTINCT "{name}" FROM texts')
        while found := distinct.fetchmany(10_000):
            for (text,) in found:
                value = rules.number(name, text) if name in ("schema", "valid") and text is not None else text
                rules.check(replace(_FINE, **{name: value}))  # type: ignore[arg-type]
    unexplained = "empty AND (valid = 'true' OR reason = '') OR valid = 'false' AND reason = ''"
    if connection.execute(f"SELECT 1 FROM texts WHERE {unexplained} LIMIT 1").fetchall():
        raise FieldError("reason", "is empty though the row has no value or is not valid", "say why it is not valid")
    for name in ("unit", "direction", "scale"):
        changes = f"SELECT metric FROM texts GROUP BY workload, metric HAVING count(DISTINCT {name}) > 1 LIMIT 1"
        if found := connection.execute(changes).fetchall():
            raise FieldError(name, f"of {found[0][0]} changes", "give every row of a metric the same")


def _sum_up(connection: duckdb.DuckDBPyConnection, rows: str, fine: str, key: str) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE cells AS {cells_statement(rows, key, fine)}")


def _finish(connection: duckdb.DuckDBPyConnection, key: str, rows: str, fine: str) -> None:
    """The table `cells` and the view `samples`, once no figure is unfit and no sample contradicts another."""
    _sum_up(connection, rows, fine, key)
    if connection.execute("SELECT 1 FROM cells WHERE NOT fine LIMIT 1").fetchall():
        raise Unfit("has a figure, time, case or instance that a row may not hold, or a row of more or fewer fields")
    samples = "typed"
    if connection.execute("SELECT 1 FROM cells WHERE doubtful LIMIT 1").fetchall() and _doubled(connection, key):
        samples = "(SELECT DISTINCT * FROM typed)"
        _sum_up(connection, samples, "true", key)
    connection.execute(f"CREATE TEMP VIEW samples AS SELECT * FROM {samples}")


def _doubled(connection: duckdb.DuckDBPyConnection, key: str) -> bool:
    """Whether any sample is there twice. Raises Unfit when two rows of one sample differ."""
    identity, whole = (", ".join(f'"{name}"' for name in names) for names in (_IDENTITY, COLUMNS))
    connection.execute("CREATE OR REPLACE TEMP TABLE doubts AS SELECT k, block, attempt FROM cells WHERE doubtful")
    twice, differing = connection.execute(f"""
        SELECT count(*), count(*) FILTER (WHERE least <> most) FROM (
            SELECT min(all_of_it) AS least, max(all_of_it) AS most FROM (
                SELECT {key} AS k, block, attempt, hash({identity}, value IS NULL) AS sample, hash({whole}) AS all_of_it
                FROM typed
            ) SEMI JOIN doubts USING (k, block, attempt) GROUP BY sample HAVING count(*) > 1
        )
    """).fetchall()[0]
    if differing:
        raise Unfit("has rows that contradict an earlier row of the same sample")
    return bool(twice)


def cast(text: bool = False) -> str:
    """The CSV's columns in their types; of `text` cells what is no number becomes NULL, and is found by its text."""

    def one(name: str) -> str:
        if not text or _TYPES[name] == "VARCHAR":
            return f'CAST("{name}" AS {_TYPES[name]}) AS "{name}"'
        if name == "valid":
            return '"valid" = \'true\' AS "valid"'
        return f'TRY_CAST("{name}" AS {_TYPES[name]}) AS "{name}"'

    return ", ".join(map(one, COLUMNS))


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
    """How many lines a file has; a last one without an end is one."""
    count, last, piece = 0, b"\n", bytearray(_CHUNK)
    with Path(file).open("rb", buffering=0) as handle:
        while size := handle.readinto(piece):
            count += piece.count(b"\n", 0, size)
            last = bytes(piece[size - 1 : size])
    return count + (last != b"\n")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_FINE = Row(
    **dict.fromkeys(COLUMNS, "x")  # type: ignore[arg-type]
    | dict.fromkeys(INTEGERS, 0)
    | dict.fromkeys(FLOATS, 0.0)
    | {"schema": rules.SCHEMA, "time": "2026-01-31T12:00:00Z", "parameters": "{}", "direction": "lower", "scale": "log"}
    | {"summary": "median", "phase": "measured", "valid": True}
)
"""A row that is fine; any one text that is put into it is fine, or the reason why it is not."""
