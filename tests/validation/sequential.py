"""The coverage of intervals if the data determine the number of blocks."""

import math
from collections.abc import Iterator, Sequence

from harness.analysis.intervals import Estimate, estimate, two_stage
from harness.analysis.sample_size import PILOT, blocks_for, look_levels
from tests.validation.checks import Check, Effort, judged, seed_of
from tests.validation.shapes import DEVIATION, SHAPES, differences

COVERAGE = 0.945
FALSE_ALARMS = 0.05
PRECISIONS = (0.01, 0.015)
"""With an sd of the differences of 2.8 %, these need about 41 and 19 blocks."""
LONGEST = 400
"""The maximum number of blocks per repetition; less than 1 % of pilots with heavy tails need more."""
LOOKS = (10, 20, 30, 40)
EFFECTS = (0.0, 1.0, 2.0)
"""True effects, in standard errors at the first interim analysis: none, usually missed there, usually found there."""


def checks(effort: Effort, seed: int) -> Iterator[Check]:
    """The coverage of Stein's two stages and of declared interim analyses."""
    yield from _stein(effort, seed)
    yield from _looks(effort, seed)


def at_looks(d: Sequence[float], looks: Sequence[int]) -> Estimate:
    """The interval at the first interim analysis at which it excludes zero, or at the last."""
    for blocks, level in zip(looks, look_levels(looks), strict=True):
        result = estimate(d[:blocks], level)
        if excludes_zero(result):
            break
    return result


def covers(result: Estimate, truth: float) -> bool:
    """Whether the interval contains the truth; False if there is no interval."""
    return result.low is not None and result.high is not None and result.low <= truth <= result.high


def excludes_zero(result: Estimate) -> bool:
    """Whether there is an interval and it excludes zero."""
    return result.low is not None and not covers(result, 0.0)


def _stein(effort: Effort, seed: int) -> Iterator[Check]:
    """The coverage of Stein's rule, with twice the repetitions: for normal blocks it is exact and thus near .945."""
    for shape, noise in SHAPES.items():
        for precision in PRECISIONS:
            name = f"coverage after Stein's second stage, {shape}, ±{precision:.1%} wanted"
            own = seed_of(seed, name)
            covered, used = [], 0
            for d in differences(noise, LONGEST, 2 * effort.repetitions, 1.0, own):
                blocks = min(blocks_for(precision, d[:PILOT]), LONGEST)
                used += blocks
                covered.append(covers(two_stage(d[:blocks], PILOT), 0.0))
            note = f"pilot {PILOT}, {used / len(covered):.0f} blocks on average"
            yield judged(name, covered, own, least=COVERAGE, widen=effort.widen, note=note)


def _looks(effort: Effort, seed: int) -> Iterator[Check]:
    for shape, noise in SHAPES.items():
        for effect in EFFECTS:
            truth = effect * DEVIATION / math.sqrt(LOOKS[0])
            name = f"coverage after looks at {', '.join(map(str, LOOKS))} blocks, {shape}, true effect {truth:.1%}"
            own = seed_of(seed, name)
            sets = differences(noise, LOOKS[-1], effort.repetitions, math.exp(truth), own)
            results = [at_looks(d, LOOKS) for d in sets]
            covered = (covers(result, truth) for result in results)
            yield judged(name, covered, own, least=COVERAGE, widen=effort.widen)
            if effect == 0.0:
                alarms = (excludes_zero(result) for result in results)
                name = f"false alarms at any of the looks, {shape}"
                yield judged(name, alarms, own, most=FALSE_ALARMS, widen=effort.widen)
