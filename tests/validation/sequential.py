"""Does the interval still hold when the data decided how many blocks there are?"""

import math
from collections.abc import Iterator, Sequence

from harness.analysis.intervals import Estimate, estimate, two_stage
from harness.analysis.sample_size import PILOT, blocks_for, look_levels
from tests.validation.checks import Check, Effort, judged, seed_of
from tests.validation.shapes import DEVIATION, SHAPES, differences

COVERAGE = 0.945
FALSE_ALARMS = 0.05
PRECISIONS = (0.01, 0.015)
"""At a difference's sd of 2.8 % these ask for about 41 and 19 blocks, each time others."""
LONGEST = 400
"""Blocks simulated per repetition: a wild pilot that asks for more gets these. Seen in less than 1 % of heavy tails."""
LOOKS = (10, 20, 30, 40)
EFFECTS = (0.0, 1.0, 2.0)
"""True effects in standard errors at the first look: none, often missed there, mostly seen there."""


def checks(effort: Effort, seed: int) -> Iterator[Check]:
    """Stein's rule and the declared looks."""
    yield from _stein(effort, seed)
    yield from _looks(effort, seed)


def at_looks(d: Sequence[float], looks: Sequence[int]) -> Estimate:
    """The interval at the first look where it excludes zero, or at the last."""
    for blocks, level in zip(looks, look_levels(looks), strict=True):
        result = estimate(d[:blocks], level)
        if excludes_zero(result):
            break
    return result


def covers(result: Estimate, truth: float) -> bool:
    """Whether the interval holds the truth; without an interval it does not."""
    return result.low is not None and result.high is not None and result.low <= truth <= result.high


def excludes_zero(result: Estimate) -> bool:
    """Whether the interval says that there is an effect."""
    return result.low is not None and not covers(result, 0.0)


def _stein(effort: Effort, seed: int) -> Iterator[Check]:
    """With twice the repetitions: the rule is exact for normal blocks, so that .945 is close to what it reaches."""
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
