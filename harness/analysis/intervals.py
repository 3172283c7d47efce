"""Estimates with their intervals, and what happens to them when there are many: the mathematics is scipy's and
statsmodels'."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SIGN_FLIPS = 10_000
"""Sign patterns tried at most: all of them up to 13 blocks, a seeded draw above."""
RESAMPLES = 4_000
"""Bootstrap-t resamples: the ends of a 95 % interval then move by about a tenth of their distance."""
LEAST_RESAMPLED = 8
"""Fewer blocks give too few different resamples: Student-t is used for quantiles too."""
QUANTILE = re.compile(r"(?:^|.*[-.])p[0-9]{1,2}(?:\.[0-9]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean with its interval; `low` and `high` are None where n is 1 (no interval exists)."""

    value: float
    low: float | None
    high: float | None
    n: int


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean and Student-t interval of `values` (Student 1908); raises ValueError on an empty sequence."""
    return two_stage(values, len(values), confidence)


def two_stage(values: Sequence[float], pilot: int, confidence: float = 0.95) -> Estimate:
    """Mean of all `values` with the wider of two intervals: by the spread of the first `pilot`, and by that of all.

    The first is Stein's (1945): exact for normal values whatever number the pilot's spread asked for, since that spread
    is independent of the mean. With heavy tails a pilot often misses the tail, and the second, Student's, is the wider
    one. With `pilot` at least the number of values both are Student's. Raises ValueError on an empty sequence.
    """
    if not values:
        raise ValueError("no values to estimate from")
    n, mean = len(values), float(np.mean(values))
    if min(n, pilot) < 2:
        return Estimate(value=mean, low=None, high=None, n=n)
    half = max(_half(values[:pilot], n, confidence), _half(values, n, confidence))
    return Estimate(value=mean, low=mean - half, high=mean + half, n=n)


def _half(spread_of: Sequence[float], n: int, confidence: float) -> float:
    """Half an interval for a mean of `n`, with the spread of some values and its degrees of freedom."""
    t = float(stats.t.ppf(0.5 + confidence / 2, len(spread_of) - 1))
    return t * float(np.std(spread_of, ddof=1)) / math.sqrt(n)


def bootstrap_t(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean and bootstrap-t interval (Efron & Tibshirani 1993, chapter 12), which follows the values' skew.

    Below LEAST_RESAMPLED values, or without any variation, it is Student's. The resamples are seeded: the same values
    give the same interval. Raises ValueError on an empty sequence.
    """
    plain = estimate(values, confidence)
    sample = np.asarray(values, dtype=float)
    spread = float(sample.std(ddof=1)) if len(sample) > 1 else 0.0
    if len(sample) < LEAST_RESAMPLED or spread == 0.0:
        return plain
    chosen = np.random.default_rng(0).choice(sample, size=(RESAMPLES, len(sample)))
    deviations = chosen.std(axis=1, ddof=1)
    t = (chosen.mean(axis=1) - plain.value)[deviations > 0] / deviations[deviations > 0]
    low, high = np.quantile(t, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Estimate(
        value=plain.value, low=plain.value - float(high) * spread, high=plain.value - float(low) * spread, n=len(sample)
    )


def is_quantile(metric: str) -> bool:
    """Whether a metric is a tool's own percentile by its name (`latency-p99.9`): its blocks are skewed."""
    return QUANTILE.fullmatch(metric) is not None


def geometric(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """Geometric mean and its interval (Student-t on the logarithms); None if a value is not positive or none is."""
    if not values or min(values) <= 0:
        return None
    return through(lambda log: 1 + relative(log), estimate([math.log(value) for value in values], confidence))


def relative(log_ratio: float) -> float:
    """exp(x) − 1; infinity where that is beyond any float, as an interval's end over two wild blocks may be."""
    try:
        return math.expm1(log_ratio)
    except OverflowError:
        return math.inf


def through(function: Callable[[float], float], result: Estimate) -> Estimate:
    """The estimate with a rising function applied to its value and to both ends."""
    low, high = (None if end is None else function(end) for end in (result.low, result.high))
    return Estimate(value=function(result.value), low=low, high=high, n=result.n)


def t_test(values: Sequence[float]) -> float | None:
    """Two-sided p of mean zero by Student's t; None below two values. Without variation it is 0, or 1 at zero."""
    if len(values) < 2:
        return None
    if len(set(values)) == 1:
        return 0.0 if values[0] else 1.0
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def sign_flip(differences: Sequence[float]) -> float | None:
    """Two-sided sign-flip p of mean zero (Fisher 1935); None below two differences. Least possible: 2 / 2^n."""
    if len(differences) < 2:
        return None
    result = stats.permutation_test(
        (np.asarray(differences),),
        lambda d, axis: np.mean(d, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=SIGN_FLIPS,
        rng=np.random.default_rng(0),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Each p adjusted for all that are there (Holm 1979): below α for at most a share α of families of true nulls."""
    from statsmodels.stats.multitest import multipletests

    there = [p for p in p_values if p is not None]
    adjusted = iter(multipletests(there, method="holm")[1].tolist() if there else [])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def simultaneous(confidence: float, family: int) -> float:
    """The confidence for each of `family` intervals with which all of them hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(family, 1)
