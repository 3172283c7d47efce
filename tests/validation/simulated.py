"""The coverage of the analysis' intervals, on simulated data with known truth."""

import math
from collections.abc import Iterator

import numpy as np

from harness.analysis.intervals import bootstrap_t, estimate
from tests.validation import families, sequential
from tests.validation.checks import Check, Effort, Result, judged, seed_of
from tests.validation.sequential import covers
from tests.validation.shapes import HARSHER, SHAPES, differences

BLOCKS = (8, 10, 15, 20, 30)
HARSHER_BLOCKS = (8, 30)
PERCENTILE_BLOCKS = (10, 20, 30)
RATIO = 1.03
"""The true variant / baseline; the width of an interval of d does not depend on it."""
COVERAGE = (0.94, 0.97)
TAIL, CALM = 0.10, 0.01
"""The standard deviations of a percentile's blocks: exponential in the variant, normal in the baseline."""


def checks(effort: Effort, seed: int) -> Iterator[Result]:
    """All figures of the simulated part."""
    yield from coverage(effort, seed)
    yield from percentiles(effort, seed)
    yield from sequential.checks(effort, seed)
    yield from families.checks(effort, seed)


def coverage(effort: Effort, seed: int) -> Iterator[Check]:
    """The coverage of the interval of d, by distribution and number of paired blocks."""
    least, most = COVERAGE
    for shape, noise in {**SHAPES, **HARSHER}.items():
        for blocks in BLOCKS if shape in SHAPES else HARSHER_BLOCKS:
            name = f"coverage of 95 % intervals, {shape}, {blocks} blocks"
            own = seed_of(seed, name)
            sets = differences(noise, blocks, effort.repetitions, RATIO, own)
            covered = [covers(estimate(d), math.log(RATIO)) for d in sets]
            if shape in SHAPES:
                yield judged(name, covered, own, least=least, most=most, widen=effort.widen)
            else:
                yield judged(name, covered, own, note="outliers: conservative with few blocks")


def percentiles(effort: Effort, seed: int) -> Iterator[Check]:
    """The coverage for a percentile whose blocks have a long tail in the variant only."""
    repetitions = effort.repetitions // 4
    for blocks in PERCENTILE_BLOCKS:
        own = seed_of(seed, f"percentiles {blocks}")
        generator = np.random.default_rng(own)
        size = (repetitions, blocks)
        tail = TAIL * (generator.standard_exponential(size) - 1)
        sets = (math.log(RATIO) + tail - CALM * generator.standard_normal(size)).tolist()
        for method, function in (("bootstrap-t", bootstrap_t), ("Student's t", estimate)):
            name = f"coverage of 95 % intervals, skewed percentiles, {blocks} blocks, {method}"
            covered = (covers(function(d), math.log(RATIO)) for d in sets)
            yield judged(name, covered, own, note="only the variant has a tail, exponential, sd 10 %")
