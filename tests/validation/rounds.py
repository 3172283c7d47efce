"""Compare identical workloads of the same round as two arms, and count the false alarms."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.overhead import Overhead, overheads

WORKLOAD = "cpu.twins"
NOMINAL = 0.05
MANY = 100
"""From this number of comparisons on, MANY_ERROR applies instead of FEW_ERROR."""
MANY_ERROR = 0.025
"""The share of validations in which a true error of 5 % may exceed the allowed number: 16 in 200 (2.4 %)."""
FEW_ERROR = 0.001
"""The same for few comparisons, which run at every change."""


def paired(samples: pd.DataFrame, metric: str, arms: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `metric`, with the arm of the workload as variant and the round as block.

    With w workloads, round k consists of the blocks k·w to k·w + w − 1. Rounds with a missing, failed or discarded arm
    are removed, and the others are numbered from 0 in time order.
    """
    rows = samples[(samples["metric"] == metric) & samples["workload"].isin(list(arms))].copy()
    rows["variant"] = rows["workload"].map(dict(arms))
    rows["workload"] = WORKLOAD
    rows["block"] = rows["block"] // len(arms)
    good = rows[rows["valid"].astype(bool) & rows["value"].notna()]
    whole = good.groupby("block")["variant"].nunique()
    kept = sorted(whole[whole == len(arms)].index)
    rows = rows[rows["block"].isin(kept)]
    return rows.assign(block=rows["block"].map({old: new for new, old in enumerate(kept)}))


def windows(rows: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    """Disjoint windows of `size` consecutive rounds, without the remaining rounds."""
    for start in range(0, _count(rows) - size + 1, size):
        yield rows[rows["block"].between(start, start + size - 1)]


def drawn(rows: pd.DataFrame, size: int, number: int, generator: np.random.Generator) -> Iterator[pd.DataFrame]:
    """`number` overlapping windows of `size` consecutive rounds; each assigns the arms of every round at random.

    In an A/A comparison the arms differ only by this assignment. The starts of the windows are spread evenly.
    """
    first, second = sorted(rows["variant"].unique())
    other = {first: second, second: first}
    for start in np.arange(number) % (_count(rows) - size + 1):
        window = rows[rows["block"].between(start, start + size - 1)]
        turned = set(np.flatnonzero(generator.random(size) < 0.5) + start)
        swap = window["block"].isin(turned)
        yield window.assign(variant=window["variant"].where(~swap, window["variant"].map(other)))


def compare(window: pd.DataFrame, baseline: str) -> Overhead:
    """The overhead of the other arm, calculated by tare's analysis."""
    return next(iter(overheads(window, baseline)))


def rejects(found: Overhead) -> bool:
    """Whether the 95 % interval excludes zero."""
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high


def sequential_rejects(window: pd.DataFrame) -> bool:
    """Whether Welch's test of the earlier against the later half rejects: the usual practice without blocks.

    The rows must be in time order, as in the journal.
    """
    values = [math.log(value) for value in window["value"]]
    half = len(values) // 2
    return bool(stats.ttest_ind(values[:half], values[half:], equal_var=False).pvalue < NOMINAL)


def allowed(comparisons: int) -> int:
    """The allowed number of false alarms, from the binomial distribution: 16 in 200, 5 in 20."""
    return int(stats.binom.isf(MANY_ERROR if comparisons >= MANY else FEW_ERROR, comparisons, NOMINAL))


def spread(founds: Sequence[Overhead]) -> float:
    """The pooled standard deviation of the block differences within windows; NaN if no window has two blocks."""
    sums = [float(np.var(found.differences)) * found.n for found in founds if found.n > 1]
    freedom = sum(found.n - 1 for found in founds if found.n > 1)
    return math.sqrt(sum(sums) / freedom) if freedom else math.nan


def _count(rows: pd.DataFrame) -> int:
    return int(rows["block"].nunique())
