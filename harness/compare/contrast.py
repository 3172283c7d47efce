"""What differs between two sides of runs: each run's own mean is one figure, and between runs there is noise too."""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.intervals import holm, relative, simultaneous
from harness.model import HOST_COSTS
from harness.record.checks import NATURE

RUNS_FOR_NOISE = 3
"""Runs of a side from which the noise between runs is known."""
KEY = ["workload", "metric", "variant", "accelerator"]
Basis = Literal["between runs", "between runs of one side", "within-run noise only", "the same run, block by block"]
View = Literal["normalized", "raw"]


CONDITIONS = ("definition", "parameters", "shape")
"""What must be alike for two figures to be of the same thing; each can be allowed to differ by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMean:
    """One run's figure: mean and variance (ddof 1) of its `n` block values, log-ratios or differences."""

    mean: float
    variance: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The second side minus the first, its standard `error` with `freedom` degrees; None where no noise is known."""

    value: float
    error: float | None
    freedom: float
    basis: Basis

    @property
    def p(self) -> float | None:
        """Two-sided p of no difference, by Student's t."""
        if self.error is None:
            return None
        if self.error == 0:
            return 0.0 if self.value else 1.0
        return 2 * float(stats.t.sf(abs(self.value) / self.error, self.freedom))

    def interval(self, confidence: float = 0.95) -> tuple[float | None, float | None]:
        """Both ends of the interval."""
        if self.error is None:
            return None, None
        half = float(stats.t.ppf(0.5 + confidence / 2, self.freedom)) * self.error if self.error else 0.0
        return self.value - half, self.value + half

    @property
    def low(self) -> float | None:
        """The lower end of the 95 % interval."""
        return self.interval()[0]

    @property
    def high(self) -> float | None:
        """The upper end of the 95 % interval."""
        return self.interval()[1]


def contrast(first: Sequence[RunMean], second: Sequence[RunMean]) -> Contrast:
    """How the sides' means differ.

    With three runs a side the run is a random effect: Welch's t on the runs' means (Welch 1947), which hold the noise
    within the runs too. With three on one side only, its spread between runs stands for both. With fewer only the
    noise within the runs is known, and a difference between runs looks like an effect. `basis` names the noise.
    Raises ValueError for an empty side.
    """
    if not first or not second:
        raise ValueError("a side without runs")
    before, after = ([run.mean for run in side] for side in (first, second))
    value = float(np.mean(after) - np.mean(before))
    many = [len(side) >= RUNS_FOR_NOISE for side in (before, after)]
    if all(many):
        terms = [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (before, after)]
        return _contrast(value, terms, "between runs")
    if any(many):
        known = before if many[0] else after
        scale = 1 / len(before) + 1 / len(after)
        terms = [(float(np.var(known, ddof=1)) * scale, len(known) - 1)]
        return _contrast(value, terms, "between runs of one side")
    terms = [
        (run.variance / run.n / len(side) ** 2, run.n - 1) for side in (first, second) for run in side if run.n > 1
    ]
    if len(terms) < len(first) + len(second):
        return Contrast(value=value, error=None, freedom=0.0, basis="within-run noise only")
    return _contrast(value, terms, "within-run noise only")


def same_run(differences: Sequence[float]) -> Contrast:
    """The contrast of two versions of one run, `differences` block by block (second minus first)."""
    n = len(differences)
    error = float(np.std(differences, ddof=1)) / math.sqrt(n) if n > 1 else None
    basis: Basis = "the same run, block by block"
    return Contrast(value=float(np.mean(differences)), error=error, freedom=n - 1, basis=basis)


def _contrast(value: float, terms: Sequence[tuple[float, int]], basis: Basis) -> Contrast:
    """From the variance of each part of the contrast and its degrees of freedom (Welch-Satterthwaite)."""
    variance = sum(part for part, _ in terms)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in terms) if variance else math.inf
    return Contrast(value=value, error=math.sqrt(variance), freedom=freedom, basis=basis)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one variant's figure in one metric differs between two sides; positive costs more after.

    The `normalized` view compares each run's overhead against its own baseline, `raw` the values themselves. On the
    log scale `before`, `after`, `difference` and its ends are relative in the normalized view (0.05 is 5 %), and so
    are the latter in the raw one, where `before` and `after` are in `unit`; on the linear scale all are in `unit`.
    `low` and `high` are the interval, `lowest` and `highest` hold for the whole family together; `adjusted` is p after
    Holm. `runs` and `blocks` count both sides. `difference` is None where there is none: `why` gives the reason.
    """

    view: View
    workload: str
    metric: str
    unit: str
    direction: str
    scale: str
    variant: str
    runtime: str
    accelerator: str
    primary: bool
    before: float | None = None
    after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    lowest: float | None = None
    highest: float | None = None
    contrast: Contrast | None = None
    adjusted: float | None = None
    runs: tuple[int, int] = (0, 0)
    blocks: tuple[int, int] = (0, 0)
    why: str = ""

    def verdict(self, error: float = 0.05) -> str:
        """`costs more`, `costs less` or `no difference found` by the adjusted p, or `not compared`."""
        if self.difference is None or self.adjusted is None:
            return "not compared"
        if self.adjusted >= error:
            return "no difference found"
        return "costs more" if self.difference > 0 else "costs less"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Block values of one run that stands on both sides: `key` → block → value, signed so that positive costs.

    Keys are workload, metric, variant and accelerator; log-ratios or differences against the run's own baseline in
    `normalized`, logarithms or values in `raw`.
    """

    before: Mapping[View, Mapping[tuple[str, ...], Mapping[int, float]]]
    after: Mapping[View, Mapping[tuple[str, ...], Mapping[int, float]]]


def differences(
    before: pd.DataFrame,
    after: pd.DataFrame,
    *,
    primary: AbstractSet[tuple[str, str]] | None = None,
    allowed: AbstractSet[str] = frozenset(),
    versions: Versions | None = None,
    confidence: float = 0.95,
) -> list[Difference]:
    """Every figure that both sides have, compared; both frames are `harness.analysis.blocks.moments`.

    `primary` pairs of workload and metric form a family of their own in each view (None: every metric but the host's
    cost). Figures whose CONDITIONS differ are listed and not compared, unless `allowed` names the condition.
    """
    sides = [side.assign(shape=side["shape"].map(_size)) for side in (before, after)]
    groups = [{tuple(map(str, key)): rows for key, rows in side.groupby(KEY, sort=False)} for side in sides]
    found = []
    for key in (key for key in groups[0] if key in groups[1]):
        rows = groups[0][key], groups[1][key]
        chosen = key[:2] in primary if primary is not None else not key[1].startswith(HOST_COSTS)
        for view in ("normalized", "raw"):
            if one := _difference(view, key, rows, chosen, allowed, versions, confidence):
                found.append(one)
    return _adjusted(found, confidence)


def _difference(
    view: View,
    key: tuple[str, ...],
    rows: tuple[pd.DataFrame, pd.DataFrame],
    primary: bool,
    allowed: AbstractSet[str],
    versions: Versions | None,
    confidence: float,
) -> Difference | None:
    """One figure in one view; None where a side has no value (the baseline has no overhead)."""
    means = [_means(side, view) for side in rows]
    if not means[0] or not means[1]:
        return None
    first = rows[0].iloc[0]
    one = Difference(
        view=view,
        workload=key[0],
        metric=key[1],
        variant=key[2],
        accelerator=key[3],
        unit=str(first["unit"]),
        direction=str(first["direction"]),
        scale=str(first["scale"]),
        runtime=str(first["runtime"]),
        primary=primary,
        runs=(len(means[0]), len(means[1])),
        blocks=(sum(run.n for run in means[0]), sum(run.n for run in means[1])),
    )
    if why := _unlike(rows, allowed):
        return replace(one, why=why)
    if versions:
        pairs = [side[view].get(key, {}) for side in (versions.before, versions.after)]
        changes = [pairs[1][block] - pairs[0][block] for block in sorted(pairs[0].keys() & pairs[1].keys())]
        if not changes:
            return replace(one, why="the two versions of the run have no block in common")
        return _filled(one, means, same_run(changes), confidence)
    return _filled(one, means, contrast(*means), confidence)


def _filled(one: Difference, means: Sequence[Sequence[RunMean]], found: Contrast, confidence: float) -> Difference:
    before, after = (_shown(one, float(np.mean([run.mean for run in side]))) for side in means)
    low, high = (_effect(one, end) for end in found.interval(confidence))
    effect = _effect(one, found.value)
    why = "" if found.error is not None else "a run of one block: its noise is unknown"
    return replace(one, before=before, after=after, difference=effect, low=low, high=high, contrast=found, why=why)


def _shown(one: Difference, mean: float) -> float:
    """A side's mean as people read it: an overhead in the normalized view, in the raw one a value in its unit."""
    if one.view == "normalized":
        return relative(mean) if one.scale == "log" else mean
    plain = -mean if one.direction == "higher" else mean
    return math.exp(plain) if one.scale == "log" else plain


def _effect(one: Difference, value: float | None) -> float | None:
    return relative(value) if value is not None and one.scale == "log" else value


def _means(rows: pd.DataFrame, view: View) -> list[RunMean]:
    names = ("mean", "variance", "n") if view == "normalized" else ("own_mean", "own_variance", "own_n")
    values = rows[list(names)].itertuples(index=False, name=None)
    return [
        RunMean(mean=float(mean), variance=0.0 if pd.isna(variance) else float(variance), n=int(n))
        for mean, variance, n in values
        if n > 0 and not pd.isna(mean)
    ]


def _unlike(rows: tuple[pd.DataFrame, pd.DataFrame], allowed: AbstractSet[str]) -> str:
    """Why the two sides are not of the same thing, or ""."""
    for name in (*NATURE, *CONDITIONS):
        kinds = set(rows[0][name]) | set(rows[1][name])
        if len(kinds) > 1 and (name in NATURE or name not in allowed):
            allow = f" (--allow {name})" if name in CONDITIONS else ""
            return f"{name} differs: {' and '.join(sorted(map(str, kinds)))[:120]}{allow}"
    return ""


def _size(shape: object) -> str:
    """A shape without the host's CPU numbers, which are no part of its size."""
    return str(shape).partition("@")[0]


def _adjusted(found: Sequence[Difference], confidence: float) -> list[Difference]:
    """With Holm and simultaneous intervals within each view, primary metrics apart from the others."""
    families: dict[tuple[str, bool], list[int]] = {}
    for number, one in enumerate(found):
        families.setdefault((one.view, one.primary), []).append(number)
    done = list(found)
    for members in families.values():
        contrasts = [found[number].contrast for number in members]
        p_values = [one.p if one else None for one in contrasts]
        together = simultaneous(confidence, sum(p is not None for p in p_values))
        for number, known, adjusted in zip(members, contrasts, holm(p_values), strict=True):
            if known:
                low, high = (_effect(found[number], end) for end in known.interval(together))
                done[number] = replace(found[number], adjusted=adjusted, lowest=low, highest=high)
    return done
