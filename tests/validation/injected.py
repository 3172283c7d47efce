"""Inject a slowdown of known size into the measured time; check its detection and its estimated size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.analysis.overhead import Overhead
from tests.validation import engine
from tests.validation.checks import ERRORS, Absent, Check, Result, judged, seed_of
from tests.validation.live import measured, too_few
from tests.validation.rounds import compare, paired, rejects, spread, windows

SUITE = "injected"
ARMS = {"cpu.aa-plain": "plain", "cpu.aa-slowed": "slowed"}
SLOWED = "cpu.aa-slowed"
DOSE, DOSE_OFF = 0.03, 0.005
"""The intended dose, and the tolerance of the actual dose; the last check of the clock in a batch overshoots."""
SIZE = 12
POWER = 0.8
LEAST_WINDOWS = 5
NOISE = 0.03
"""The largest block sd at which 12 blocks detect 3 % with power .8."""
BIAS = 0.2
"""In percentage points of overhead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The number of 12-round windows, and the runtimes."""

    windows: int = 10
    runtimes: tuple[str, ...] = ("native", "docker")


QUICK = Extent(windows=1, runtimes=("native",))


def checks(extent: Extent, seed: int) -> Iterator[Result]:
    """The dose, power and bias of each runtime."""
    for runtime in extent.runtimes:
        own = seed_of(seed, f"injected slowdown, {runtime}") % engine.SEEDS
        found = measured(SUITE, runtime, extent.windows * SIZE, own)
        if isinstance(found, Absent):
            yield found
        else:
            name, pace = f"injected {DOSE:.0%}, {found.variant}", f"{found.seconds_per_case:.2f} s a case"
            yield from judge(found.samples, name, own, pace)


def doses(samples: pd.DataFrame) -> "pd.Series[float]":
    """The dose by round, from the slowed job's output: idle time / remaining time."""
    rows = samples[(samples["workload"] == SLOWED) & samples["value"].notna()]
    parts = rows.assign(round=rows["block"] // len(ARMS)).pivot_table(index="round", columns="metric", values="value")
    return parts["dragged"] / (parts["elapsed"] - parts["dragged"])


def judge(samples: pd.DataFrame, name: str, seed: int, note: str = "") -> Iterator[Result]:
    """The dose, power and bias of one run."""
    rows = paired(samples, engine.METRIC, ARMS)
    found = [compare(window, "plain") for window in windows(rows, SIZE)]
    if not found:
        yield too_few(samples, name, rows["block"].nunique(), SIZE)
        return
    sd = spread(found)
    given = _given(samples)
    yield _dose(given, name, seed)
    yield _power(found, sd, name, seed, note)
    yield _bias(compare(rows, "plain"), given, name, seed)


def _given(samples: pd.DataFrame) -> "pd.Series[float]":
    """The doses of the valid rounds."""
    whole = paired(samples.assign(kept=samples["block"]), engine.METRIC, ARMS)
    kept = whole["kept"] // len(ARMS)
    found = doses(samples)
    return found[found.index.isin(set(kept))]


def _dose(given: "pd.Series[float]", name: str, seed: int) -> Check:
    far = float((given - DOSE).abs().median())
    return Check(
        name=f"{name}: dose given",
        figure=float(given.median()) * 100,
        error=float(given.std(ddof=1)) * 100 / math.sqrt(len(given)),
        bound=f"median {DOSE * 100:g} ± {DOSE_OFF * 100:g} points, from the job's output",
        passed=far <= DOSE_OFF,
        n=len(given),
        seed=seed,
        unit="points",
        note=f"{given.min():.2%} to {given.max():.2%}",
    )


def _power(found: Sequence[Overhead], sd: float, name: str, seed: int, note: str) -> Check:
    """The power; required only if the noise permits it, without tolerance for the number of windows."""
    words = f"sd of d {sd:.1%}"
    if sd > NOISE:
        words += f", no bound above {NOISE:.0%}"
    elif len(found) < LEAST_WINDOWS:
        words += f", no bound with fewer than {LEAST_WINDOWS} windows"
    return judged(
        f"{name}: power of {SIZE} blocks",
        [rejects(one) and (one.overhead or 0.0) > 0 for one in found],
        seed,
        least=POWER if sd <= NOISE and len(found) >= LEAST_WINDOWS else None,
        note=f"{words}; {note}",
    )


def _bias(whole: Overhead, given: "pd.Series[float]", name: str, seed: int) -> Check:
    """The mean overhead minus the actual dose; checked only if its standard error is at most BIAS."""
    d = np.asarray(whole.differences)
    bias = 100 * (math.expm1(float(d.mean())) - math.expm1(float(np.log1p(given).mean())))
    error = 100 * float(d.std(ddof=1)) / math.sqrt(len(d))
    seen = error <= BIAS
    return Check(
        name=f"{name}: bias",
        figure=bias,
        error=error,
        bound=f"at most {BIAS:g} either way, widened by {ERRORS:g} standard errors",
        passed=abs(bias) <= BIAS + ERRORS * error if seen else None,
        n=len(d),
        seed=seed,
        unit="points",
        note="" if seen else f"its standard error is above {BIAS:g}: this host is too noisy for a check",
    )
