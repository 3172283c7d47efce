"""Two ways of doing the same, alternately, and how they compare."""

import statistics
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import bootstrap

Times = Mapping[str, float]
"""Seconds since the start, by moment (`ready`, `gone`)."""
Way = Callable[[], Times]
LEAST_PAIRS = 5


def alternate(first: Way, second: Way, pairs: int, warmup: int = 1) -> list[tuple[Times, Times]]:
    """Times of `pairs` rounds; who begins changes with each round, so that neither always meets a warmer host."""
    done: list[tuple[Times, Times]] = []
    for number in range(warmup + pairs):
        if number % 2:
            later = second()
            round_ = (first(), later)
        else:
            round_ = (first(), second())
        if number >= warmup:
            done.append(round_)
    return done


def table(title: str, names: tuple[str, str], rounds: list[tuple[Times, Times]]) -> str:
    """Medians in milliseconds and the median of the pairs' ratios with its 95 % percentile-bootstrap interval."""
    lines = [title, f"  {'moment':<10}{names[0]:>18}{names[1]:>18}   ratio (median of pairs, 95 % interval)"]
    for moment in rounds[0][0]:
        ours, theirs = ([times[side][moment] for times in rounds] for side in (0, 1))
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        lines.append(
            f"  {moment:<10}{statistics.median(ours) * 1e3:>15.1f} ms{statistics.median(theirs) * 1e3:>15.1f} ms"
            f"   {statistics.median(ratios):.3f} {interval(ratios)} n={len(rounds)} pairs"
        )
    return "\n".join(lines)


def interval(ratios: list[float]) -> str:
    """The 95 % interval of the median, in words where there are too few pairs for one."""
    if len(ratios) < LEAST_PAIRS:
        return f"[no interval from fewer than {LEAST_PAIRS} pairs]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns where all resamples agree; low and high are then equal
        found = bootstrap((np.array(ratios),), np.median, method="percentile", rng=np.random.default_rng(1))
    return f"[{found.confidence_interval.low:.3f}, {found.confidence_interval.high:.3f}]"
