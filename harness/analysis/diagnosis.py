"""Warnings beside an overhead: what may make it less certain than its interval.

Every threshold is fixed here, and none of these findings changes how anything is computed. Tests are at 1 %, so that a
table of a hundred sound figures shows about one of each by chance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

LEAST_BLOCKS = 8
"""Fewer blocks show neither order nor shape."""
ERROR = 0.01
SPIKE = 6.0
"""Robust standard deviations (MAD / 0.6745) by which one arm's block must stick out while the other's does not …"""
CALM = 3.0
"""… which means that it stays within so many."""
DRIFT = 0.01
"""A drift of less than 1 % over the run is not worth a word."""
LEAST_MODE = 0.2
"""A mode holds at least a fifth of the blocks …"""
APART = 4.0
"""… and the two are so many of their own standard deviations apart (Ashman's D, 1994, asks for 2)."""
STEAL = 0.01
FREQUENCY = 0.02
LOAD = 0.25
"""Share of the host's CPUs that were busy before the blocks began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The circumstances of a variant's iterations of one metric, discarded ones included.

    `strayed` counts those whose clocks did not agree; `steal` is the stolen share of the CPUs' time where it is known,
    `mhz` the mean frequency, NaN where it is not.
    """

    iterations: int = 0
    strayed: int = 0
    steal: float = 0.0
    mhz: float = math.nan
    blocks: frozenset[int] = frozenset()


def of_series(base: Sequence[float], own: Sequence[float], differences: Sequence[float]) -> Iterator[str]:
    """Words about paired block values in the order of time (on the log scale: their logarithms)."""
    if len(differences) < LEAST_BLOCKS:
        return
    yield from _autocorrelation(differences)
    yield from _spikes(base, own)
    for name, values in (("overhead", differences), ("baseline", base), ("variant", own)):
        yield from _drift(name, values)
    for name, values in (("baseline", base), ("variant", own)):
        yield from _modes(name, values)


def of_arms(base: Arm, own: Arm, loads: Mapping[int, float], cpus: int) -> Iterator[str]:
    """Words about the circumstances of two arms.

    `loads` is the host's background by block in busy CPUs, of `cpus` in all.
    """
    if strayed := base.strayed + own.strayed:
        yield f"clock mismatch in {strayed} of {base.iterations + own.iterations} iterations"
    for name, arm in (("baseline", base), ("variant", own)):
        if arm.steal > STEAL:
            yield f"steal {arm.steal:.1%} of the {name}'s CPU time"
    if base.mhz > 0 and own.mhz > 0 and abs(own.mhz / base.mhz - 1) > FREQUENCY:
        yield f"frequency differs: {base.mhz:.0f} MHz and {own.mhz:.0f} MHz"
    busy = [loads[block] / cpus for block in base.blocks | own.blocks if block in loads]
    if busy and max(busy) > LOAD:
        yield f"host load up to {max(busy):.0%} of the CPUs"


def arms(rows: pd.DataFrame) -> dict[tuple[str, str], Arm]:
    """The arms by metric and variant; `rows` are measured ones with the CSV's columns, discarded ones included."""
    steal, elapsed, mhz = (pd.to_numeric(rows[name], errors="coerce") for name in ("steal", "elapsed", "mhz"))
    rows = rows[["metric", "variant", "block"]].assign(
        steal=steal,
        time=elapsed * (rows["cpus"].astype(str).str.count(",") + 1),
        mhz=mhz,
        strayed=rows["reason"].astype(str).str.contains("clock:"),
    )
    return {(str(metric), str(variant)): _arm(own) for (metric, variant), own in rows.groupby(["metric", "variant"])}


def _arm(rows: pd.DataFrame) -> Arm:
    return Arm(
        iterations=len(rows),
        strayed=int(rows["strayed"].sum()),
        steal=_steal(rows["steal"], rows["time"]),
        mhz=float(rows["mhz"].mean()),
        blocks=frozenset(rows["block"]),
    )


def _autocorrelation(differences: Sequence[float]) -> Iterator[str]:
    centred = np.asarray(differences) - np.mean(differences)
    power = float(centred @ centred)
    if power == 0:
        return
    r = float(centred[1:] @ centred[:-1]) / power
    # Under independence r is about normal with variance 1/n (Bartlett 1946).
    if abs(r) * math.sqrt(len(centred)) > stats.norm.ppf(1 - ERROR / 2):
        effect = "narrow" if r > 0 else "wide"
        yield f"autocorrelation {r:+.2f} between blocks: the interval may be too {effect}"


def _spikes(base: Sequence[float], own: Sequence[float]) -> Iterator[str]:
    ours, theirs = _robust(own), _robust(base)
    for name, arm, other in (("variant", ours, theirs), ("baseline", theirs, ours)):
        lone = [number for number, z in enumerate(arm, 1) if abs(z) > SPIKE and abs(other[number - 1]) < CALM]
        if lone:
            yield f"spike in the {name} alone, pair {', '.join(map(str, lone[:5]))}"


def _robust(values: Sequence[float]) -> list[float]:
    """Deviations from the median in robust standard deviations; zeros where there is no spread."""
    middle = np.median(values)
    spread = float(stats.median_abs_deviation(values, scale="normal"))
    return [float((value - middle) / spread) if spread > 0 else 0.0 for value in values]


def _drift(name: str, values: Sequence[float]) -> Iterator[str]:
    order = np.arange(len(values))
    if len(set(values)) < 2 or stats.spearmanr(order, values).pvalue > ERROR:
        return
    whole = float(stats.theilslopes(values, order).slope) * (len(values) - 1)
    if abs(whole) > DRIFT:
        yield f"the {name} drifts by {math.expm1(whole):+.1%} over the run"


def _modes(name: str, values: Sequence[float]) -> Iterator[str]:
    """The split with the least variance within its halves (Otsu 1979), if the halves are far apart."""
    ordered = np.sort(values)
    least = max(2, math.ceil(LEAST_MODE * len(ordered)))
    splits = [(ordered[:at], ordered[at:]) for at in range(least, len(ordered) - least + 1)]
    if not splits:
        return
    low, high = min(splits, key=lambda halves: sum(float(half.var()) * len(half) for half in halves))
    inside = math.sqrt((float(low.var(ddof=1)) + float(high.var(ddof=1))) / 2)
    gap = float(high.mean() - low.mean())
    # The empty middle must be wider than a normal sample's would be, and worth a word at all.
    if gap > DRIFT and gap > APART * inside and float(high[0] - low[-1]) > gap / 2:
        yield f"two modes in the {name}, {math.expm1(gap):.1%} apart"


def _steal(taken: "pd.Series[float]", whole: "pd.Series[float]") -> float:
    """Of the CPUs' whole time in seconds the share that was taken, over the iterations where that is known."""
    time = float(whole[taken.notna()].sum())
    return float(taken.sum()) / time if time > 0 else 0.0
