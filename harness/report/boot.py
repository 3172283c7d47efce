"""Boot samples: which metric is which mark, and how long each phase between marks took."""

import re

import pandas as pd

from harness.model import Mark
from harness.report.stored import Stored

MARKS = tuple(mark.value for mark in Mark)
NAMED = re.compile(rf"(?:to-|asked-to-|boot-)?({'|'.join(MARKS)})")


def mark_of(stored: Stored, workload: str, metric: str) -> str | None:
    """The mark that a metric counts to, in seconds since asked; None for any other metric.

    By the metric's source in the manifest (`ready-asked`), without one by its name (`ready`, `to-ready`).
    """
    if not workload.startswith("boot."):
        return None
    if source := stored.metric(workload, metric).get("source"):
        last, _, first = str(source).partition("-")
        return last if first == "asked" and last in MARKS else None
    named = NAMED.fullmatch(metric)
    return named[1] if named else None


def boot_values(stored: Stored) -> pd.DataFrame:
    """Block values of the `boot.` workloads' marks in seconds, with a `mark` column, in the marks' order."""
    values = stored.values
    marks = [mark_of(stored, str(workload), str(metric)) for workload, metric in values[["workload", "metric"]].values]
    rows = values.assign(mark=pd.Series(marks, index=values.index, dtype=object))
    rows = rows[rows["mark"].notna() & rows["unit"].isin(["s", "ms"])]
    rows = rows.assign(
        rank=rows["mark"].map(MARKS.index),
        value=rows["value"].astype(float).where(rows["unit"] == "s", rows["value"].astype(float) / 1000),
    )
    return rows.sort_values("rank", kind="stable")


def phases(rows: pd.DataFrame) -> dict[str, float]:
    """Seconds from the mark before to each mark, by median block value, for one variant's rows."""
    medians = rows.groupby("mark", sort=False)["value"].median()
    return dict(zip(medians.index, medians.diff().fillna(medians).tolist(), strict=True))
