"""Run two implementations alternately and compare their times."""

import statistics
import warnings
from collections.abc import Callable, Mapping

import numpy as np
from scipy.stats import bootstrap

Times = Mapping[str, float]
"""Seconds since the start, by milestone (`ready`, `gone`)."""
Way = Callable[[], Times]
LEAST_PAIRS = 5


def alternate(first: Way, second: Way, pairs: int, warmup: int = 1) -> list[tuple[Times, Times]]:
    """The times of `pairs` rounds. The order alternates, so that neither implementation always has a warmer host."""
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
    """Medians in milliseconds, and the median of the paired ratios with its 95 % percentile-bootstrap interval."""
    lines = [title, f"  {'milestone':<10}{names[0]:>18}{names[1]:>18}   ratio (median of pairs, 95 % interval)"]
    for milestone in rounds[0][0]:
        ours, theirs = ([times[side][milestone] for times in rounds] for side in (0, 1))
        ratios = [mine / other for mine, other in zip(ours, theirs, strict=True)]
        lines.append(
            f"  {milestone:<10}{statistics.median(ours) * 1e3:>15.1f} ms{statistics.median(theirs) * 1e3:>15.1f} ms"
            f"   {statistics.median(ratios):.3f} {interval(ratios)} n={len(rounds)} pairs"
        )
    return "\n".join(lines)


def interval(ratios: list[float]) -> str:
    """The 95 % interval of the median as text; a note if there are too few pairs."""
    if len(ratios) < LEAST_PAIRS:
        return f"[no interval from fewer than {LEAST_PAIRS} pairs]"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy warns if all resamples are equal; low and high are then equal
        found = bootstrap((np.array(ratios),), np.median, method="percentile", rng=np.random.default_rng(1))
    return f"[{found.confidence_interval.low:.3f}, {found.confidence_interval.high:.3f}]"
