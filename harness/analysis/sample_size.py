"""When a run has enough blocks, decided from spreads and never from whether a result is significant."""

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.model import Stopping

PILOT = 10
"""Blocks of the first stage: below, the spread is known too badly to plan with."""
MOST_BLOCKS = 1_000
"""No rule asks for more: a precision that needs more is out of reach of the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A pilot's result for one workload: block differences of its primary metric by variant, seconds per block."""

    differences: Mapping[str, Sequence[float]]
    seconds: float

    @property
    def widest(self) -> float:
        """The largest t·s over the variants: half an interval's width times √n (95 %). 0 without two differences."""
        return max((spread_of(d) for d in self.differences.values()), default=0.0)


def spread_of(pilot: Sequence[float], confidence: float = 0.95) -> float:
    """t·s of the pilot: the half-width of the interval over n blocks is this divided by √n."""
    if len(pilot) < 2:
        return 0.0
    return float(stats.t.ppf(0.5 + confidence / 2, len(pilot) - 1)) * float(np.std(pilot, ddof=1))


def blocks_for(precision: float, pilot: Sequence[float], confidence: float = 0.95) -> int:
    """Blocks with which the interval reaches ±`precision` (0.01 is 1 %) around the overhead: Stein's second stage.

    `pilot` are log-ratios; the number is at least the pilot's and at most MOST_BLOCKS (Stein 1945, Annals of
    Mathematical Statistics 16). The interval must then be `two_stage`, with the pilot's spread.
    """
    wanted = math.ceil((spread_of(pilot, confidence) / math.log1p(precision)) ** 2 - 1e-9)
    return min(max(len(pilot), wanted), MOST_BLOCKS)


def look_levels(looks: Sequence[int], confidence: float = 0.95) -> tuple[float, ...]:
    """The confidence of the intervals at each declared look (cumulative blocks): together they err as often as one.

    α is spent in proportion to the blocks seen (Lan & DeMets 1983, their uniform spending function), and each look
    gets the α since the one before. No correlation between looks is used, so the sum of errors is at most α for any
    distribution of the statistic; the price is a slightly wider interval.
    """
    return tuple(1 - (1 - confidence) * share for share in Stopping(rule="looks", looks=tuple(looks)).shares)


def allocate(noises: Mapping[str, Noise], done: Mapping[str, int], seconds: float) -> dict[str, int]:
    """Blocks per workload in all, such that the widest interval is as narrow as `seconds` more allow.

    Block after block goes to the workload whose interval is widest and that still fits. `done` blocks are the
    pilot's. Blind to what was measured but for its spread.
    """
    blocks, widest = dict(done), {name: noise.widest for name, noise in noises.items()}
    queue = [(-wide / math.sqrt(max(done[name], 1)), name) for name, wide in widest.items()]
    heapq.heapify(queue)
    while queue:
        width, name = heapq.heappop(queue)
        cost = max(noises[name].seconds, 1e-3)
        if cost > seconds or width == 0.0 or blocks[name] >= MOST_BLOCKS:
            continue
        seconds -= cost
        blocks[name] += 1
        heapq.heappush(queue, (-widest[name] / math.sqrt(blocks[name]), name))
    return blocks


def blocks_to_detect(effect: float, deviation: float, power: float = 0.8, confidence: float = 0.95) -> int:
    """Blocks with which an overhead of `effect` differs from none with `power`, at block sd `deviation` (log-ratios).

    By the noncentral t (statsmodels' TTestPower); 2 where there is no noise, at most MOST_BLOCKS.
    """
    from statsmodels.stats.power import TTestPower

    if deviation <= 0:
        return 2
    size = abs(math.log1p(effect)) / deviation
    for n in range(2, MOST_BLOCKS):
        if TTestPower().power(size, n, 1 - confidence) >= power:
            return n
    return MOST_BLOCKS
