"""Overheads from samples: one paired difference per block, and an interval over the blocks.

The block is the only replicate: iterations of one instance are not independent, so each block gives one value per
variant (the metric's declared `summary`), and each pair of values in a block gives one difference.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from harness.analysis import diagnosis
from harness.analysis.blocks import block_values
from harness.analysis.diagnosis import Arm
from harness.analysis.intervals import (
    Estimate,
    bootstrap_t,
    holm,
    is_quantile,
    relative,
    sign_flip,
    simultaneous,
    t_test,
    through,
    two_stage,
)
from harness.analysis.outcomes import Cases, sorted_out
from harness.model import Accelerator

FEW_BLOCKS = 5
NO_VERDICT = "more than a tenth of the blocks missing: no verdict"
ACCELERATOR_WORDS = {"tcg": "emulated (tcg)", "kvm-nested": "nested (kvm-nested)"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a run declared before it began, and recorded beside its samples.

    `planned` is the number of blocks per workload (by default those that left any row); `primary` the pairs of
    workload and metric that are adjusted for each other (None: every metric); `second_stage` the number of the first
    block that the pilot's spread asked for; `shares` the part of the error that a workload spent at the look where it
    stopped; `loads` the host's background before each block in busy CPUs, of `cpus`.
    """

    planned: Mapping[str, int] = field(default_factory=dict)
    primary: AbstractSet[tuple[str, str]] | None = None
    second_stage: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    loads: Mapping[int, float] = field(default_factory=dict)
    cpus: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """The cost of one variant against the baseline in one metric; positive costs more.

    On the `log` scale `overhead`, its ends and `change` are relative (0.05 is 5 %), on `linear` they are differences
    in `unit`. `overhead` is None where there is none. `flags` give the reason and warnings in words. `n` counts the
    paired blocks, `planned` the blocks that should have been; `differences` are the blocks' own, in their order,
    logarithms on the log scale. `p` is Student's and `flip` the sign-flip test's, a cross-check; both unadjusted.
    Of a primary metric, `adjusted` is p after Holm, and `lowest` and `highest` hold for all primary ones together.
    `verdict` is False where more than a tenth of the blocks is missing.
    """

    workload: str
    metric: str
    unit: str
    direction: str
    scale: str
    variant: str
    runtime: str
    accelerator: str
    baseline: str
    n: int
    planned: int
    baseline_value: float | None
    variant_value: float | None
    overhead: float | None
    low: float | None
    high: float | None
    change: float | None
    p: float | None
    flip: float | None
    flags: tuple[str, ...]
    verdict: bool
    differences: tuple[float, ...] = ()
    pilot: int = 0
    confidence: float = 0.95
    primary: bool = False
    adjusted: float | None = None
    lowest: float | None = None
    highest: float | None = None

    @property
    def emulated(self) -> bool:
        """Whether the variant ran on software emulation."""
        return self.accelerator == Accelerator.TCG

    def interval(self, confidence: float) -> Estimate | None:
        """The overhead with an interval of another confidence, by the method that belongs to its metric and run."""
        if self.overhead is None:
            return None
        result = difference_interval(self.differences, self.metric, self.pilot, confidence)
        return through(relative, result) if self.scale == "log" else result


def overheads(
    samples: pd.DataFrame,
    baseline: str = "native",
    confidence: float = 0.95,
    declared: Declared | None = None,
) -> list[Overhead]:
    """Every variant's overhead against `baseline`, per workload and metric, in the samples' order.

    d = ±log(variant / baseline) per block (differences on the linear scale), signed so that positive costs more;
    overhead = exp(mean d) − 1. Intervals are Student's, with the pilot's spread where a pilot decided how many blocks
    there are, and bootstrap-t for percentiles. A variant whose every case failed is listed without an overhead.
    """
    declared = declared or Declared()
    values, cases = block_values(samples), sorted_out(samples)
    found = []
    for (workload, metric), rows in values.groupby(["workload", "metric"], sort=False):
        base, sides = _by_block(rows[rows["variant"] == baseline]), _sides(rows)
        nature = {name: str(rows.iloc[0][name]) for name in ("workload", "metric", "unit", "direction", "scale")}
        there = cases[str(workload)]
        for variant, accelerator, runtime in there.others(str(metric), baseline):
            own = sides.get((variant, accelerator), {})
            one = _compared(nature, base, own, (variant, accelerator, runtime, baseline), confidence, declared)
            found.append(_flagged(one, there, base.keys() & own.keys(), declared))
    return _adjusted(found, confidence, declared.primary)


def enough_blocks(n: int, planned: int) -> bool:
    """Whether at most a tenth of the planned blocks is missing."""
    return (planned - n) * 10 <= planned


def _compared(
    nature: Mapping[str, str],
    base: Mapping[int, float],
    own: Mapping[int, float],
    who: tuple[str, str, str, str],
    confidence: float,
    declared: Declared,
) -> Overhead:
    """The figures of one variant in one metric, with the flags that follow from the block values."""
    variant, accelerator, runtime, baseline = who
    blocks = sorted(base.keys() & own.keys())
    differences, words = _differences(nature, base, own, blocks)
    end = declared.second_stage
    pilot = len(blocks) if end is None else sum(block < end for block in blocks)
    used = 1 - (1 - confidence) * declared.shares.get(nature["workload"], 1.0)
    result = difference_interval(differences, nature["metric"], pilot, used) if differences else None
    log, sign = nature["scale"] == "log", -1.0 if nature["direction"] == "higher" else 1.0
    change = sign * result.value if result else None
    if log and result and change is not None:
        theirs, ours = ([math.log(side[block]) for block in blocks] for side in (base, own))
        words += [*_about_n(result, differences), *diagnosis.of_series(theirs, ours, differences)]
        result, change = through(relative, result), relative(change)
    elif result:
        words += _about_n(result, differences)
    return Overhead(
        workload=nature["workload"],
        metric=nature["metric"],
        unit=nature["unit"],
        direction=nature["direction"],
        scale=nature["scale"],
        variant=variant,
        runtime=runtime,
        accelerator=accelerator,
        baseline=baseline,
        n=len(blocks),
        planned=0,
        baseline_value=_median(base, blocks),
        variant_value=_median(own, blocks),
        overhead=result.value if result else None,
        low=result.low if result else None,
        high=result.high if result else None,
        change=change,
        p=t_test(differences),
        flip=sign_flip(differences),
        flags=tuple(words),
        verdict=result is not None,
        differences=tuple(differences),
        pilot=pilot,
        confidence=used,
    )


def _differences(
    nature: Mapping[str, str], base: Mapping[int, float], own: Mapping[int, float], blocks: Sequence[int]
) -> tuple[list[float], list[str]]:
    """d of each paired block, or why there is none."""
    if not blocks:
        why = "no value" if not own else "no baseline value" if not base else "no block in common with the baseline"
        return [], [why]
    log, sign = nature["scale"] == "log", -1.0 if nature["direction"] == "higher" else 1.0
    if log and min(min(base[block], own[block]) for block in blocks) <= 0:
        return [], ["zero or negative value on a log scale: no ratio"]
    raw = (math.log(own[block] / base[block]) if log else own[block] - base[block] for block in blocks)
    return [sign * d for d in raw], []


def difference_interval(differences: Sequence[float], metric: str, pilot: int, confidence: float) -> Estimate:
    """Mean and interval of the blocks' differences, by the method that belongs to the metric and the run.

    Bootstrap-t for a percentile without a pilot, else Student-t (see two_stage, also for `pilot`).
    """
    if pilot >= len(differences) and is_quantile(metric):
        return bootstrap_t(differences, confidence)
    return two_stage(differences, pilot, confidence)


def _about_n(result: Estimate, differences: Sequence[float]) -> Iterator[str]:
    if result.n == 1:
        yield "one block: no interval"
    elif result.n < FEW_BLOCKS:
        yield "few blocks"
    if result.n > 1 and len(set(differences)) == 1:
        yield "no variation between blocks"


def _flagged(one: Overhead, cases: Cases, paired: AbstractSet[int], declared: Declared) -> Overhead:
    """With the flags that follow from its rows: emulation, missing blocks, circumstances."""
    known = max(declared.planned.get(one.workload, 0), cases.blocks)
    flags = [ACCELERATOR_WORDS[one.accelerator]] if one.accelerator in ACCELERATOR_WORDS else []
    flags += one.flags
    lost = cases.lost(one.metric, (one.variant, one.baseline), paired)
    flags += [f"{word} {count} of {known}" for word, count in lost if count]
    enough = enough_blocks(len(paired), known)
    if paired and not enough:
        flags.append(NO_VERDICT)
    base, own = (cases.arms.get((one.metric, name), Arm()) for name in (one.baseline, one.variant))
    flags += diagnosis.of_arms(base, own, declared.loads, declared.cpus)
    return replace(one, planned=known, flags=tuple(flags), verdict=one.verdict and enough)


def _adjusted(
    found: Sequence[Overhead], confidence: float, primary: AbstractSet[tuple[str, str]] | None
) -> list[Overhead]:
    """With Holm and simultaneous intervals over the primary metrics; emulated guests are a family of their own."""
    chosen = [one for one in found if primary is None or (one.workload, one.metric) in primary]
    done: dict[int, Overhead] = {}
    for emulated in (False, True):
        family = [one for one in chosen if one.emulated == emulated]
        known = sum(one.p is not None for one in family)
        for one, adjusted in zip(family, holm([one.p for one in family]), strict=True):
            spent = (1 - one.confidence) / (1 - confidence)
            wide = one.interval(1 - (1 - simultaneous(confidence, known)) * spent)
            done[id(one)] = replace(
                one,
                primary=True,
                adjusted=adjusted,
                lowest=wide.low if wide else None,
                highest=wide.high if wide else None,
            )
    return [done.get(id(one), one) for one in found]


def _sides(rows: pd.DataFrame) -> dict[tuple[str, str], dict[int, float]]:
    """One metric's block values by variant and accelerator."""
    groups = rows.groupby(["variant", "accelerator"], sort=False)
    return {(str(variant), str(accelerator)): _by_block(own) for (variant, accelerator), own in groups}


def _by_block(rows: pd.DataFrame) -> dict[int, float]:
    return dict(zip(rows["block"].astype(int), rows["value"].astype(float), strict=True))


def _median(values: Mapping[int, float], paired: Sequence[int]) -> float | None:
    """Median over the paired blocks, or over all where none is paired."""
    chosen = [values[block] for block in paired] or list(values.values())
    return float(np.median(chosen)) if chosen else None
