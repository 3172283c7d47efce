"""Which rows count, and what a block's value is: in pandas for one run in memory, in DuckDB for any number on disk.

The statements stand on tables that `harness.record.columnar` fills: `series` says in words what each key `k` means,
`cells` has one row per series, block and attempt.
"""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from harness.errors import TareError

if TYPE_CHECKING:
    import duckdb

NATURE = ("unit", "direction", "scale", "summary")
"""What may not change within one metric of one workload."""

IDENTITY = ("workload", "metric", *NATURE, "variant", "runtime", "accelerator", "block")
SERIES = (
    *("run", "workload", "definition", "parameters", "metric", *NATURE),
    *("variant", "runtime", "accelerator"),
)
"""What makes a series: rows that are alike in these are repetitions of each other."""
_SUMMARIES = {"median": "median", "mean": "avg", "min": "min", "max": "max"}
CIRCUMSTANCES = ("host", "host_virtualized", "shape", "kernel", "image")


class Scanned(Protocol):
    """What `harness.record.columnar` opens; its connection has the tables `series` and `cells`."""

    @property
    def connection(self) -> "duckdb.DuckDBPyConnection": ...


def usable(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows that may count: the subject's, measured, valid, with a finite value, of a block's last attempt.

    A case that failed gives none, whatever it measured before: what survives a failure is no fair sample.
    """
    value = pd.to_numeric(samples["value"], errors="coerce").replace([np.inf, -np.inf], np.nan)
    good = (samples["role"] == "subject") & (samples["phase"] == "measured") & _truth(samples["valid"]) & value.notna()
    case = [samples[name] for name in ("workload", "metric", "variant", "block", "attempt", "role")]
    failed = (value.isna() & (samples["phase"] != "warmup")).groupby(case, dropna=False).transform("any")
    rows = samples.assign(value=value)[good & ~failed.astype(bool)]
    attempt = pd.to_numeric(rows["attempt"], errors="coerce").fillna(1)
    last = attempt.groupby([rows[name] for name in ("workload", "metric", "variant", "block")]).transform("max")
    return rows[attempt == last]


def block_values(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per workload, metric, variant and block: the declared `summary` of the usable iterations.

    Columns: those of IDENTITY, `value` and `iterations` (how many entered). Raises TareError when a metric's unit,
    direction, scale or summary changes within the run, or when the summary is not one that we know.
    """
    rows = usable(samples)
    _check_nature(rows)
    parts = []
    for summary, part in rows.groupby("summary", sort=False):
        if summary not in ("median", "mean", "min", "max"):
            raise TareError(f"unknown summary “{summary}” in the samples", hint="use median, mean, min or max")
        grouped = part.groupby(list(IDENTITY), sort=False, dropna=False)["value"]
        parts.append(grouped.agg(value=str(summary), iterations="count").reset_index())
    if not parts:
        return pd.DataFrame(columns=[*IDENTITY, "value", "iterations"])
    return pd.concat(parts, ignore_index=True)


def moments(source: Scanned, baseline: str | None = "native") -> pd.DataFrame:
    """What comparing runs needs of each: one row per series, ordered by its names.

    Columns: SERIES; `host`, `host_virtualized`, `shape`, `kernel`, `image` (where a series has several, the last in
    the alphabet: one that is known before one that is not); `blocks`, how many of its run and workload left any row of
    a subject; `n`, `mean`, `variance` (ddof 1) of d over the blocks in which the series and the baseline of the same
    run have a value; `own_n`, `own_mean`, `own_variance` of the series' own block values.
    d = ±(log value − log baseline), differences on the linear scale; own values are ±log or ±; the sign is such that
    positive costs the user. Where a value is not positive on the log scale there is no ratio: n is 0, `mean` NaN.
    The baseline's own rows have n = 0, and all rows have it where `baseline` is None.
    """
    columns = ", ".join(f"s.{name}" for name in (*SERIES, *CIRCUMSTANCES))
    statement = f"""
        WITH {_PAIRED},
        relative AS ({_moments("k", "d", "least(own, base)")} FROM paired GROUP BY k),
        absolute AS ({_moments("k", "own_d", "own")} FROM own GROUP BY k),
        left_rows AS (
            SELECT arena, count(DISTINCT block) AS blocks FROM cells JOIN keyed USING (k) GROUP BY arena
        )
        SELECT {columns}, coalesce(l.blocks, 0) AS blocks,
            {_fit("r", "")}, {_fit("a", "own_")}
        FROM keyed s LEFT JOIN relative r USING (k) LEFT JOIN absolute a USING (k) LEFT JOIN left_rows l USING (arena)
        WHERE s.accelerator <> '' OR NOT s.proved
        ORDER BY {", ".join(f"s.{name}" for name in ("run", "workload", "metric", "variant", "accelerator", *SERIES))}
    """
    return source.connection.execute(statement, {"baseline": baseline or ""}).df()


def differences(source: Scanned, run: str, baseline: str | None = "native") -> pd.DataFrame:
    """One run's blocks, so that a run on both sides of a comparison can be paired block by block.

    Columns `workload`, `metric`, `variant`, `accelerator`, `block`, `d` and `own`, both as in `moments`, NaN where
    there is no baseline value or no logarithm. One row per series and block that has a value, ordered by them.
    """
    statement = f"""
        WITH {_PAIRED}
        SELECT s.workload, s.metric, s.variant, s.accelerator, o.block, p.d, o.own_d AS own
        FROM own o JOIN keyed s USING (k) LEFT JOIN paired p ON p.k = o.k AND p.block = o.block
        WHERE s.run = $run
        ORDER BY ALL
    """
    return source.connection.execute(statement, {"baseline": baseline or "", "run": run}).df()


def cells_statement(rows: str, key: str, fine: str) -> str:
    """The statement that gives `cells` of `rows` (a relation with the CSV's columns, typed) beside `series`.

    `key` is the expression that `series` has as `k`; `fine` says of a row whether it is as the CSV allows. Columns:
    `k`, `block`, `attempt`, `value` (the declared summary of the good rows), `good` (how many), `failed`, `fine`, and
    `doubtful` where one sample may be there twice: iterations are marked in a mask, which holds 111 measured ones.
    """
    good = "phase = 'measured' AND valid AND isfinite(value)"
    place = "CASE phase WHEN 'warmup' THEN 111 + iteration % 16 ELSE iteration % 111 END"
    # A list and its median take a tenth of the time of median() as an aggregate, and less memory.
    summaries = " ".join(f"WHEN '{word}' THEN list_{name}(found)" for word, name in _SUMMARIES.items())
    return f"""
        SELECT k, block, attempt, CASE summary {summaries} END AS value, coalesce(len(found), 0) AS good, failed, fine,
            valued <> bit_count(mask) OR number - valued > 1 AS doubtful
        FROM (
            SELECT {key} AS k, block, attempt, list(value) FILTER (WHERE {good}) AS found,
                count(*) AS number, count(value) AS valued,
                bit_or(CASE WHEN value IS NULL THEN 0::HUGEINT ELSE 1::HUGEINT << ({place})::HUGEINT END) AS mask,
                bool_or(value IS NULL AND phase <> 'warmup') AS failed,
                bool_and({fine}) AS fine
            FROM {rows} GROUP BY ALL
        ) JOIN series USING (k)
    """


def _moments(key: str, of: str, least: str) -> str:
    return f"SELECT {key}, count({of}) AS n, avg({of}) AS mean, var_samp({of}) AS variance, min({least}) AS least"


def _fit(table: str, prefix: str) -> str:
    """The three columns of one set of moments; none where a logarithm is asked of what is not positive."""
    none = f"{table}.least IS NULL OR s.scale = 'log' AND {table}.least <= 0"
    return (
        f"CASE WHEN {none} THEN 0 ELSE {table}.n END AS {prefix}n, "
        f"CASE WHEN {none} THEN NULL ELSE {table}.mean END AS {prefix}mean, "
        f"CASE WHEN {none} THEN NULL ELSE {table}.variance END AS {prefix}variance"
    )


def _signed(log: str, linear: str, positive: str) -> str:
    amount = f"CASE WHEN scale = 'linear' THEN {linear} WHEN {positive} THEN {log} END"
    return f"(CASE direction WHEN 'higher' THEN -1 ELSE 1 END) * ({amount})"


# An attempt counts where it is the last that gave anything; a failure of the variant discards the attempt in all its
# series, also where it was recorded before the accelerator was known. Both are rare: joins with the few are quicker
# than windows over all.
_PAIRED = f"""
    keyed AS (
        SELECT *, hash(run, workload) AS arena, hash(run, workload, metric) AS contest,
            hash(run, workload, metric, variant) AS entrant,
            bool_or(accelerator <> '') OVER (PARTITION BY run, workload, variant) AS proved
        FROM series WHERE role = 'subject'
    ),
    failures AS (SELECT DISTINCT entrant, block, attempt FROM cells JOIN keyed USING (k) WHERE failed),
    kept AS (
        SELECT k, entrant, contest, direction, scale, variant, block, attempt, value
        FROM cells JOIN keyed USING (k) ANTI JOIN failures USING (entrant, block, attempt) WHERE good > 0
    ),
    again AS (
        SELECT entrant, block, max(attempt) AS last FROM kept
        WHERE attempt > (SELECT min(attempt) FROM cells) GROUP BY entrant, block
    ),
    counted AS (SELECT * FROM kept LEFT JOIN again USING (entrant, block) WHERE attempt >= coalesce(last, attempt)),
    own AS (
        SELECT k, contest, direction, scale, variant, block, value AS own,
            {_signed("ln(value)", "value", "value > 0")} AS own_d
        FROM counted
    ),
    base AS (
        SELECT contest, block, min(own) AS base FROM own WHERE variant = $baseline GROUP BY contest, block
    ),
    paired AS (
        SELECT k, block, own, base, {_signed("ln(own) - ln(base)", "own - base", "own > 0 AND base > 0")} AS d
        FROM own JOIN base USING (contest, block) WHERE variant <> $baseline
    )
"""


def _check_nature(rows: pd.DataFrame) -> None:
    for name in NATURE:
        counts = rows.groupby(["workload", "metric"])[name].nunique()
        for where in counts[counts > 1].index:
            raise TareError(
                f"{' '.join(where)}: {name} changes within the run",
                details="values in different units or directions cannot be compared",
                hint="remove the foreign rows from samples.csv, or run `tare export --csv` again",
            )


def _truth(column: "pd.Series[str]") -> "pd.Series[bool]":
    return column.astype(str).str.lower().eq("true")
