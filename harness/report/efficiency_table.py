"""Efficiency: work for one CPU second of the whole host, and for one joule where that is counted."""

from collections.abc import Iterator

import pandas as pd

from harness.analysis.intervals import Estimate, geometric
from harness.model import HOST_COSTS
from harness.report import number_format, variants
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped

COSTS = {"host-cpu-per-op": "work per CPU second", "host-energy-per-op": "work per joule"}
"""Costs of a unit of work, and what their inverse is called."""


def efficiency_table(stored: Stored) -> Table:
    """The inverse of the host's cost per unit of work, most work first: the geometric mean of the blocks and its
    interval. Emulated guests are a group of their own."""
    values = _costs(stored.values)
    known = [name for name in COSTS if name in set(values["metric"])]
    columns = ("variant", *(f"{COSTS[name]} [{100 * stored.confidence:g} %]" for name in known), "n")
    lines = (
        Line(cells, bool(apart), section=f"{workload} ({_work(rows)})")
        for (apart, workload), rows in values.groupby(
            [values["accelerator"].map(variants.emulated), "workload"], sort=False
        )
        for cells in _rows(rows, known, stored.confidence)
    )
    return grouped("Efficiency", columns, lines, numeric=columns[1:])


def _costs(values: pd.DataFrame) -> pd.DataFrame:
    """The costs of a unit of work; a boot is one, and its whole cost that of one."""
    boots = values[values["workload"].str.startswith("boot.") & values["metric"].isin(HOST_COSTS)]
    boots = boots.assign(metric=boots["metric"] + "-per-op", unit=boots["unit"] + "/boot")
    return pd.concat([values[values["metric"].isin(COSTS)], boots])


def _work(rows: pd.DataFrame) -> str:
    """What is counted as work: `event` of `s/event`."""
    return str(rows["unit"].iloc[0]).partition("/")[2] or "op"


def _rows(rows: pd.DataFrame, known: list[str], confidence: float) -> Iterator[tuple[str, ...]]:
    """One row per variant, those that do most work first; a variant without a positive figure has none."""
    units = [f"{_work(rows)}/{'s' if name == 'host-cpu-per-op' else 'J'}" for name in known]
    found: list[tuple[float, tuple[str, ...]]] = []
    for variant, own in rows.groupby("variant", sort=False):
        results = [_inverse(own[own["metric"] == name]["value"].tolist(), confidence) for name in known]
        cells = map(number_format.estimated, results, units)
        if (first := results[0]) is not None:
            found.append((first.value, (str(variant), *cells, str(first.n))))
    yield from (row for _, row in sorted(found, key=lambda one: -one[0]))


def _inverse(values: list[float], confidence: float) -> Estimate | None:
    return geometric([1 / value for value in values], confidence) if values and min(values) > 0 else None
