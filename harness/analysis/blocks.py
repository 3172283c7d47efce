"""Which rows count, and what a block's value is."""

import numpy as np
import pandas as pd

from harness.errors import TareError

NATURE = ("unit", "direction", "scale", "summary")
"""What may not change within one metric of one workload."""

IDENTITY = ("workload", "metric", *NATURE, "variant", "runtime", "accelerator", "block")


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
