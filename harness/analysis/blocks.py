"""Which samples count, what a block's value is, and which values are pairs: SQL on the tables of one source.

`harness.record.columnar` makes the tables: `series` has the names of each key `k`, `cells` has one row per series,
block and attempt.
"""

import pandas as pd

from harness.errors import TareError
from harness.record.checks import CIRCUMSTANCES, NATURE, SERIES
from harness.record.columnar import Source, from_frame

IDENTITY = ("workload", "metric", *NATURE, "variant", "runtime", "accelerator", "block")
_NEEDED = (*IDENTITY, "role", "phase", "attempt", "iteration", "value", "valid")


def usable(samples: pd.DataFrame) -> pd.DataFrame:
    """The rows that may count: the subject's, measured, valid, with a finite value, of a block's last attempt.

    A case that failed has none, not even what it measured before: what survives a failure is not a fair sample.
    """
    with from_frame(_pooled(samples)) as source:
        places = source.connection.execute(f"WITH {_COUNTED} {_rows(source.key, 'place')} ORDER BY place").fetchall()
    return samples.iloc[[place for (place,) in places]]


def block_values(samples: pd.DataFrame) -> pd.DataFrame:
    """One row per workload, metric, variant and block: the declared `summary` of the usable iterations.

    Columns: those of IDENTITY, `value` and `iterations` (how many entered), by summary and in the samples' order.
    Raises TareError when a metric's unit, direction, scale or summary changes within the run, or a summary is unknown.
    """
    names = ", ".join(f"s.{name}" for name in IDENTITY if name != "block")
    with from_frame(_pooled(samples)) as source:
        found = source.connection.execute(f"""
            WITH {_COUNTED},
            first AS ({_rows(source.key, "k, block, min(place) AS place")} GROUP BY k, block)
            SELECT {names}, c.block, c.value, c.good AS iterations
            FROM counted c JOIN keyed s USING (k) JOIN first USING (k, block)
            ORDER BY min(place) OVER (PARTITION BY s.summary), place
        """).df()
    _check_nature(found)
    return found


def moments(source: Source, baseline: str | None = "native") -> pd.DataFrame:
    """Means and variances that comparisons of runs need: one row per series, ordered by its names.

    Columns: SERIES; CIRCUMSTANCES (the last in the alphabet where a series has several, so a known one before "");
    `blocks`, the number of blocks in which any subject of the run and workload left a row; `n`, `mean`, `variance`
    (ddof 1) of d over the blocks in which the series and the baseline of its run have a value; `own_n`, `own_mean`,
    `own_variance` of the series' own block values.
    d = ±(log value − log baseline), or ±(value − baseline) on the linear scale; own values are ±log or ±value. The sign
    makes a cost positive. Where a value on the log scale is not positive, n is 0 and `mean` NaN.
    The baseline's own rows have n = 0; so have all rows where `baseline` is None.
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


def differences(source: Source, run: str, baseline: str | None = "native") -> pd.DataFrame:
    """One run's block values, for pairing two versions of the run block by block.

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


def _moments(key: str, of: str, least: str) -> str:
    return f"SELECT {key}, count({of}) AS n, avg({of}) AS mean, var_samp({of}) AS variance, min({least}) AS least"


def _fit(table: str, prefix: str) -> str:
    """The three columns of one set of moments; empty where the logarithm of a value does not exist."""
    none = f"{table}.least IS NULL OR s.scale = 'log' AND {table}.least <= 0"
    return (
        f"CASE WHEN {none} THEN 0 ELSE {table}.n END AS {prefix}n, "
        f"CASE WHEN {none} THEN NULL ELSE {table}.mean END AS {prefix}mean, "
        f"CASE WHEN {none} THEN NULL ELSE {table}.variance END AS {prefix}variance"
    )


def _signed(log: str, linear: str, positive: str) -> str:
    amount = f"CASE WHEN scale = 'linear' THEN {linear} WHEN {positive} THEN {log} END"
    return f"(CASE direction WHEN 'higher' THEN -1 ELSE 1 END) * ({amount})"


# An attempt counts where it is the last with a value. A failure of the variant discards the attempt in all its series,
# even where it was recorded before the accelerator was known. Both are rare, so joins are quicker than windows.
_COUNTED = """
    keyed AS (
        SELECT *, hash(run, workload) AS arena, hash(run, workload, metric) AS contest,
            hash(run, workload, metric, variant) AS entrant,
            bool_or(accelerator <> '') OVER (PARTITION BY run, workload, variant) AS proved
        FROM series WHERE role = 'subject'
    ),
    failures AS (SELECT DISTINCT entrant, block, attempt FROM cells JOIN keyed USING (k) WHERE failed),
    kept AS (
        SELECT k, entrant, contest, direction, scale, variant, block, attempt, value, good
        FROM cells JOIN keyed USING (k) ANTI JOIN failures USING (entrant, block, attempt) WHERE good > 0
    ),
    again AS (
        SELECT entrant, block, max(attempt) AS last FROM kept
        WHERE attempt > (SELECT min(attempt) FROM cells) GROUP BY entrant, block
    ),
    counted AS (SELECT * FROM kept LEFT JOIN again USING (entrant, block) WHERE attempt >= coalesce(last, attempt))
"""
_PAIRED = f"""{_COUNTED},
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


def _pooled(samples: pd.DataFrame) -> pd.DataFrame:
    """The columns that decide, without the run and the definition: the samples are those of one run."""
    return samples[list(_NEEDED)]


def _rows(key: str, columns: str) -> str:
    """The statement for the rows that enter a block's value; `place` is a row's position in the frame."""
    good = "phase = 'measured' AND valid AND value IS NOT NULL"
    return f"""
        SELECT {columns} FROM (SELECT *, {key} AS k, row_number() OVER () - 1 AS place FROM samples)
        SEMI JOIN counted USING (k, block, attempt) WHERE {good}
    """


def _check_nature(values: pd.DataFrame) -> None:
    natures = values[["workload", "metric", *NATURE]].drop_duplicates()
    several = natures[natures.duplicated(["workload", "metric"], keep=False)]
    for where, found in several.groupby(["workload", "metric"]):
        name = next(name for name in NATURE if found[name].nunique() > 1)
        raise TareError(
            f"{' '.join(map(str, where))}: {name} changes within the run",
            details="values in different units or directions cannot be compared",
            hint="remove the foreign rows, or export the run again: tare export RUN --csv FILE",
        )
    for summary in set(values["summary"]) - {"median", "mean", "min", "max"}:
        raise TareError(f"unknown summary “{summary}” in the samples", hint="use median, mean, min or max")
