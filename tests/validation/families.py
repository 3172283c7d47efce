"""How often is something said that is not so: among many comparisons, about a claim, between runs?"""

import gc
import math
from collections.abc import Iterator, Sequence

import numpy as np

from harness.analysis.intervals import holm, t_test
from harness.analysis.verdicts import judge_differences
from harness.compare.contrast import Contrast, RunMean, contrast
from tests.validation.checks import Check, Effort, judged, seed_of
from tests.validation.shapes import DEVIATION, NOISE, Values, differences, normal

ERROR = 0.05
WORKLOADS, VARIANTS = 5, 4
"""A family of 20 comparisons; the variants of one workload share the noise of its baseline."""
AT_ONCE = 100
BLOCKS = 10
EFFECT = 0.03
"""Of the first half of a family, where there are true effects."""
CLAIM = (0.01, 0.05)
CLAIM_DEVIATION = 0.01
CLAIM_BLOCKS = (10, 20, 30)
OUTSIDE, FAR_ERROR = 0.005, 0.01
EXACT = 3.0
"""Standard errors of the simulation allowed where a faultless method's error is the bound itself, or next to it."""
RUNS = 3
BETWEEN_RUNS = 0.5
"""Standard deviation between runs, in those between blocks."""
RUN_ERROR = 0.06


def checks(effort: Effort, seed: int) -> Iterator[Check]:
    """Family-wise error, wrong verdicts about claims, false alarms between runs."""
    yield from family_wise(effort, seed)
    yield from claims(effort, seed)
    yield from between_runs(effort, seed)


def family_wise(effort: Effort, seed: int) -> Iterator[Check]:
    """Holm over 20 true nulls, and over 10 beside 10 true effects: is any true null called an effect?

    Holm's error over nulls alone is nearly 5 % (4.9 % if they were independent), hence that bound is widened.
    """
    own = seed_of(seed, "family-wise error")
    nulls, mixed, found = [], [], []
    half = WORKLOADS * VARIANTS // 2
    holm([ERROR])
    # statsmodels collects garbage at every call: what is loaded by now need not be looked through each time.
    gc.freeze()
    for number, family in enumerate(_families(effort.repetitions, own)):
        p = [t_test(d) for d in family]
        nulls.append(any(_rejected(holm(p))))
        if number % 2 == 0:
            shifted = [t_test([math.log1p(EFFECT) + one for one in d]) for d in family[:half]]
            verdicts = list(_rejected(holm([*shifted, *p[half:]])))
            mixed.append(any(verdicts[half:]))
            found += verdicts[:half]
    note, widen = f"{BLOCKS} blocks, correlated within a workload", effort.widen
    yield judged("family-wise error, 20 true nulls", nulls, own, most=ERROR, widen=EXACT, note=note)
    name = f"family-wise error, 10 true nulls beside 10 effects of {EFFECT:.0%}"
    yield judged(name, mixed, own, most=ERROR, widen=widen, note=note)
    yield judged(f"effects of {EFFECT:.0%} found in the same families", found, own, note=f"block sd {DEVIATION:.1%}")


def _rejected(adjusted: Sequence[float | None]) -> Iterator[bool]:
    return (p is not None and p <= ERROR for p in adjusted)


def _families(repetitions: int, seed: int) -> Iterator[list[list[float]]]:
    generator = np.random.default_rng(seed)
    for start in range(0, repetitions, AT_ONCE):
        size = (min(AT_ONCE, repetitions - start), WORKLOADS)
        baseline = generator.standard_normal((*size, 1, BLOCKS))
        variants = generator.standard_normal((*size, VARIANTS, BLOCKS))
        yield from (NOISE * (variants - baseline)).reshape(size[0], -1, BLOCKS).tolist()


def claims(effort: Effort, seed: int) -> Iterator[Check]:
    """Verdicts about “costs 1 to 5 %” where the truth is at either end of the range, or half a point beside it.

    At the very end each word is wrong for the truth a hair away. Its error is then 5 % exactly for a method without
    fault, so that this bound is widened by the simulation's own error in the full run too.
    """
    low, high = CLAIM
    for blocks in CLAIM_BLOCKS:
        for place, move, words, most, widen in (
            ("at an end of it", 0.0, ("supported", "contradicted"), ERROR, EXACT),
            ("half a point outside", OUTSIDE, ("supported",), FAR_ERROR, effort.widen),
            ("half a point inside", -OUTSIDE, ("contradicted",), FAR_ERROR, effort.widen),
        ):
            own = seed_of(seed, f"claims {blocks} {place}")
            said = [*_verdicts(low - move, blocks, effort.repetitions, own)]
            said += _verdicts(high + move, blocks, effort.repetitions, own + 1)
            for word in words:
                name = f"claim “{low:.0%} to {high:.0%}” {word}, truth {place}, {blocks} blocks"
                note = f"sd {CLAIM_DEVIATION:.0%}"
                yield judged(name, [one == word for one in said], own, most=most, widen=widen, note=note)


def _verdicts(truth: float, blocks: int, repetitions: int, seed: int) -> Iterator[str]:
    scale = CLAIM_DEVIATION / DEVIATION
    for d in differences(normal, blocks, repetitions, 1.0, seed):
        yield judge_differences([math.log1p(truth) + scale * one for one in d], *CLAIM)


def between_runs(effort: Effort, seed: int) -> Iterator[Check]:
    """Two sides of three runs that do not differ, beside what comes of taking all blocks of a side for replicates."""
    own = seed_of(seed, "runs")
    generator = np.random.default_rng(own)
    size = (2 * effort.repetitions, 2, RUNS)
    runs = DEVIATION * BETWEEN_RUNS * generator.standard_normal((*size, 1))
    blocks = runs + DEVIATION * generator.standard_normal((*size, BLOCKS))
    name = f"false alarms between runs, {RUNS} a side, sd between runs {BETWEEN_RUNS:g} of that between blocks"
    careful = (_alarm(contrast(*([_run(run) for run in side] for side in sides))) for sides in blocks)
    yield judged(name, careful, own, most=RUN_ERROR, widen=effort.widen)
    pooled = (_alarm(contrast(*([_run(side.ravel())] for side in sides))) for sides in blocks)
    yield judged(f"{name}, all blocks as replicates", pooled, own, note="the practice it replaces")


def _run(blocks: Values) -> RunMean:
    return RunMean(mean=float(blocks.mean()), variance=float(blocks.var(ddof=1)), n=blocks.size)


def _alarm(found: Contrast) -> bool:
    return found.low is not None and found.high is not None and not found.low <= 0 <= found.high
