"""What differs between two sides of runs: each run's own mean is one figure, and between runs there is noise too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from harness.analysis.intervals import estimate, t_test

RUNS_FOR_NOISE = 3
"""Runs of a side from which the noise between runs is known."""
KEY = ["workload", "metric", "variant", "accelerator"]
Basis = Literal["between runs", "between runs of one side", "within-run noise only", "the same run, block by block"]
View = Literal["normalised", "raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMean:
    """One run's figure: mean and variance (ddof 1) of its `n` block values, log-ratios or differences."""

    mean: float
    variance: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The second side minus the first, with its interval and two-sided p; None where the noise is not known."""

    value: float
    low: float | None
    high: float | None
    p: float | None
    basis: Basis


def contrast(first: Sequence[RunMean], second: Sequence[RunMean], confidence: float = 0.95) -> Contrast:
    """How the sides' means differ.

    With three runs a side the run is a random effect: Welch's t on the runs' means (Welch 1947), which hold the noise
    within the runs too. With three on one side only, its spread between runs stands for both. With fewer only the
    noise within the runs is known, and what differs from run to run looks like an effect: `basis` says so.
    Raises ValueError for an empty side.
    """
    if not first or not second:
        raise ValueError("a side without runs")
    before, after = ([run.mean for run in side] for side in (first, second))
    value = float(np.mean(after) - np.mean(before))
    many = [len(side) >= RUNS_FOR_NOISE for side in (before, after)]
    if all(many):
        terms = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (before, after)]
        return _contrast(value, terms, confidence, "between runs")
    if any(many):
        known = before if many[0] else after
        scale = 1 / len(before) + 1 / len(after)
        terms = [(float(np.var(known, ddof=1)) * scale, len(known) - 1)]
        return _contrast(value, terms, confidence, "between runs of one side")
    terms = [
        (run.variance / run.n / len(side) ** 2, run.n - 1) for side in (first, second) for run in side if run.n > 1
    ]
    if len(terms) < len(first) + len(second):
        return Contrast(value=value, low=None, high=None, p=None, basis="within-run noise only")
    return _contrast(value, terms, confidence, "within-run noise only")


def same_run(differences: Sequence[float], confidence: float = 0.95) -> Contrast:
    """The contrast of two versions of one run, `differences` block by block (second minus first)."""
    result = estimate(differences, confidence)
    p = t_test(differences)
    return Contrast(value=result.value, low=result.low, high=result.high, p=p, basis="the same run, block by block")


def _contrast(value: float, terms: Sequence[tuple[float, int]], confidence: float, basis: Basis) -> Contrast:
    """From the variance of each part of the contrast and its degrees of freedom (Welch-Satterthwaite)."""
    variance = sum(part for part, _ in terms)
    if variance == 0:
        return Contrast(value=value, low=value, high=value, p=0.0 if value else 1.0, basis=basis)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in terms)
    error = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + confidence / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(value) / error, freedom))
    return Contrast(value=value, low=value - half, high=value + half, p=p, basis=basis)
