"""Twins that ran in one round, as the two arms of a comparison; what is found of it, and how often."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.overhead import Overhead, overheads

WORKLOAD = "cpu.twins"
NOMINAL = 0.05
MANY = 100
"""From so many comparisons on, the number allowed is one that 5 % exceeds in fewer than …"""
MANY_ERROR = 0.025
"""… of the validations: 16 in 200 (2.4 %)."""
FEW_ERROR = 0.001
"""With fewer comparisons, which run at every change, in fewer than this."""


def paired(samples: pd.DataFrame, metric: str, arms: Mapping[str, str]) -> pd.DataFrame:
    """The rows of `metric` with the workload as variant (its arm's name) and the round as block.

    Each round holds each workload once, so that the blocks `k·w` to `k·w + w − 1` are round k. Rounds in which an arm
    is missing, failed or discarded are left out whole, and the others numbered from 0 in the order of time.
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
    """Disjoint windows of `size` consecutive rounds; a rest is left out."""
    for start in range(0, _count(rows) - size + 1, size):
        yield rows[rows["block"].between(start, start + size - 1)]


def drawn(rows: pd.DataFrame, size: int, number: int, generator: np.random.Generator) -> Iterator[pd.DataFrame]:
    """`number` windows of `size` consecutive rounds that overlap, each with a fresh draw of who is which twin.

    In an A/A nothing but the draw tells the arms apart. The windows' starts go round evenly.
    """
    first, second = sorted(rows["variant"].unique())
    other = {first: second, second: first}
    for start in np.arange(number) % (_count(rows) - size + 1):
        window = rows[rows["block"].between(start, start + size - 1)]
        turned = set(np.flatnonzero(generator.random(size) < 0.5) + start)
        swap = window["block"].isin(turned)
        yield window.assign(variant=window["variant"].where(~swap, window["variant"].map(other)))


def compare(window: pd.DataFrame, baseline: str) -> Overhead:
    """The overhead of the other arm by the product's own analysis."""
    return next(iter(overheads(window, baseline)))


def rejects(found: Overhead) -> bool:
    """Whether the 95 % interval says that the arms differ."""
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high


def sequential_rejects(window: pd.DataFrame) -> bool:
    """The practice that blocks replace, on the same values: the earlier half against the later by Welch's test.

    The rows are in the order of time, as the journal has them.
    """
    values = [math.log(value) for value in window["value"]]
    half = len(values) // 2
    return bool(stats.ttest_ind(values[:half], values[half:], equal_var=False).pvalue < NOMINAL)


def allowed(comparisons: int) -> int:
    """Most false alarms in so many comparisons, by the binomial distribution: 16 in 200, 5 in 20."""
    return int(stats.binom.isf(MANY_ERROR if comparisons >= MANY else FEW_ERROR, comparisons, NOMINAL))


def spread(founds: Sequence[Overhead]) -> float:
    """Standard deviation of the blocks' differences within windows, pooled; NaN without two blocks in any."""
    sums = [float(np.var(found.differences)) * found.n for found in founds if found.n > 1]
    freedom = sum(found.n - 1 for found in founds if found.n > 1)
    return math.sqrt(sum(sums) / freedom) if freedom else math.nan


def _count(rows: pd.DataFrame) -> int:
    return int(rows["block"].nunique())
