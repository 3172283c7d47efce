"""Trials: the figures of stored runs that claims and needs are judged by, one for each run, metric and variant."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from harness.analysis.blocks import block_values
from harness.analysis.intervals import Estimate, relative, through, two_stage
from harness.analysis.overhead import FEW_BLOCKS, NO_VERDICT, Declared, difference_interval, enough_blocks, overheads
from harness.model import SOFTWARE

CONFIDENCE = 0.90
"""Two one-sided tests at 5 % (see harness.analysis.verdicts)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One stored run; `samples` has the CSV's columns, `skips` what did not run and why.

    `facts` are what its instances recorded of themselves, by variant. `unable` gives the reason why a workload has no
    figure on a variant without having failed. `host_kernel` is the release of the host's kernel.
    """

    run: str
    samples: pd.DataFrame
    declared: Declared
    host_virtualized: str = "none"
    skips: tuple[tuple[str, str], ...] = ()
    baseline: str = "native"
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unable: Mapping[tuple[str, str], str] = field(default_factory=dict)
    host_kernel: str = ""

    @property
    def on_hardware(self) -> bool:
        """Whether the host is real hardware or a guest on it. An emulated host enters no verdict."""
        return self.host_virtualized not in SOFTWARE

    @property
    def blocks(self) -> dict[str, int]:
        """How many blocks each workload should have: those planned, at least those that left any row."""
        left = self.samples[self.samples["role"] == "subject"].groupby("workload")["block"].nunique()
        names = {*self.declared.planned, *map(str, left.index)}
        return {name: max(self.declared.planned.get(name, 0), int(left.get(name, 0))) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One figure as one run measured it: an overhead `against` a variant, or with that empty a value in `unit`.

    `points` has one number per block on the figure's `scale`: log-ratios or logarithms on `log`, differences or values
    on `linear`. The first `pilot` of them decided how many blocks there are. `confidence` is 90 %, more where the run
    looked more than once. `whole` is False where more than a tenth of the blocks is missing.
    """

    workload: str
    metric: str
    variant: str
    accelerator: str
    against: str
    unit: str
    scale: str
    run: str
    points: tuple[float, ...]
    pilot: int
    whole: bool
    confidence: float

    @property
    def n(self) -> int:
        """The number of blocks."""
        return len(self.points)

    @property
    def flaw(self) -> str:
        """Why this figure decides nothing; empty where it may."""
        if not self.whole:
            return NO_VERDICT
        return "" if self.n >= FEW_BLOCKS else f"few blocks: {self.n}, at least {FEW_BLOCKS} needed"

    def interval(self, confidence: float) -> Estimate:
        """The overhead (0.05 is 5 %) or the value, with an interval of any confidence."""
        if self.against:
            result = difference_interval(self.points, self.metric, self.pilot, confidence)
            return through(relative, result) if self.scale == "log" else result
        result = two_stage(self.points, self.pilot, confidence)
        return through(math.exp, result) if self.scale == "log" else result

    def on_scale(self, end: float) -> float:
        """An end of a range, on the scale of `points`."""
        if self.scale != "log":
            return end
        ratio = 1 + end if self.against else end
        return math.log(ratio) if ratio > 0 else -math.inf


def ratios(rows: pd.DataFrame, one: Evidence, against: str) -> Iterator[Trial]:
    """A trial for each overhead against a variant; `rows` are those of the run that count.

    The trials are not adjusted for each other: verdicts do that.
    """
    declared = replace(one.declared, planned=one.blocks, primary=frozenset())
    for found in overheads(rows, against, CONFIDENCE, declared):
        if found.overhead is not None:
            yield Trial(
                workload=found.workload,
                metric=found.metric,
                variant=found.variant,
                accelerator=found.accelerator,
                against=against,
                unit="",
                scale=found.scale,
                run=one.run,
                points=found.differences,
                pilot=found.pilot,
                whole=found.verdict,
                confidence=found.confidence,
            )


def values(rows: pd.DataFrame, one: Evidence) -> Iterator[Trial]:
    """A trial for each variant's own block values: their geometric mean, on a linear scale their mean.

    Values of which one is not positive have no geometric mean: their trial is on the linear scale.
    """
    known, end = one.blocks, one.declared.second_stage
    keys = ["workload", "metric", "variant", "accelerator", "unit", "scale"]
    for names, part in block_values(rows).groupby(keys, sort=False, dropna=False):
        workload, metric, variant, accelerator, unit, scale = map(str, names)
        own = part.sort_values("block")
        found = tuple(map(float, own["value"]))
        log = scale == "log" and min(found) > 0
        yield Trial(
            workload=workload,
            metric=metric,
            variant=variant,
            accelerator=accelerator,
            against="",
            unit=unit,
            scale="log" if log else "linear",
            run=one.run,
            points=tuple(map(math.log, found)) if log else found,
            pilot=len(found) if end is None else int((own["block"] < end).sum()),
            whole=enough_blocks(len(found), known[workload]),
            confidence=1 - (1 - CONFIDENCE) * one.declared.shares.get(workload, 1.0),
        )


def matches(variant: str, name: str) -> bool:
    """Whether `name` is the variant, or the runtime that it is one of."""
    return variant == name or variant.startswith(f"{name}/")
