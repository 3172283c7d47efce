"""Live A/A on this host: twins that are the same, measured by the real command and compared by the real analysis."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from harness.errors import TareError
from harness.process import have
from tests.validation import engine
from tests.validation.checks import Absent, Check, Result, judged, seed_of, standard_error
from tests.validation.engine import Measured
from tests.validation.rounds import allowed, compare, drawn, paired, rejects, sequential_rejects, spread, windows

SUITE = "aa"
ARMS = {"cpu.aa-one": "one", "cpu.aa-two": "two"}
VARIANTS = {
    "native": ("native",),
    "docker": ("docker/bridge",),
    "libvirt": ("libvirt/kvm", "libvirt/tcg"),
}
"""Of each runtime, the first that runs here stands for it."""
LEAST_WINDOWS = 2
"""Fewer rounds than so many disjoint windows have would be drawn over and over."""
PROGRAMS = {
    "native": ("ip", "mmdebstrap", "bwrap"),
    "docker": ("ip", "mmdebstrap", "dockerd"),
    "libvirt": ("ip", "mmdebstrap", "libvirtd", "qemu-system-x86_64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured: `rounds` by runtime, from which `comparisons` of `size` rounds each are made.

    Where there are enough rounds the comparisons share none, else their windows overlap (see `drawn`).
    """

    comparisons: int = 200
    size: int = 5
    # Half an hour in all: a launch of an emulated guest takes as long as ten of a container.
    rounds: Mapping[str, int] = field(default_factory=lambda: {"native": 500, "docker": 400, "libvirt": 24})


QUICK = Extent(comparisons=20, rounds={"native": 20, "docker": 15})


def unable(runtime: str) -> str:
    """Why nothing can be measured here, or ""."""
    if os.geteuid() != 0:
        return "needs root for bridge and peer: sudo make validate"
    missing = have(*PROGRAMS[runtime])
    return f"not installed: {', '.join(missing)} (make setup)" if missing else ""


def measured(suite: str, runtime: str, rounds: int, seed: int) -> Measured | Absent:
    """A run of the first of the runtime's variants that runs here, or why there is none."""
    name = f"{suite}, {runtime}"
    if reason := unable(runtime):
        return Absent(name=name, reason=reason)
    try:
        tries = (engine.measure(suite, variant, rounds, seed) for variant in VARIANTS[runtime])
        found = next((one for one in tries if one is not None), None)
    except TareError as error:
        return Absent(name=name, reason=str(error), failed=True)
    return found or Absent(name=name, reason=f"{' and '.join(VARIANTS[runtime])} cannot run here: tare doctor")


def checks(extent: Extent, seed: int) -> Iterator[Result]:
    """False alarms of each runtime, and what the sequential practice gives on the same values."""
    for runtime, rounds in extent.rounds.items():
        own = seed_of(seed, f"A/A, {runtime}") % engine.SEEDS
        found = measured(SUITE, runtime, rounds, own)
        if isinstance(found, Absent):
            yield found
        else:
            yield from judge(found, extent, own)


def judge(found: Measured, extent: Extent, seed: int) -> Iterator[Result]:
    """The figures of one run."""
    rows = paired(found.samples, engine.METRIC, ARMS)
    rounds = rows["block"].nunique()
    lost = found.samples["block"].nunique() // len(ARMS) - rounds
    if rounds < LEAST_WINDOWS * extent.size:
        yield too_few(found.samples, f"A/A live, {found.variant}", rounds, LEAST_WINDOWS * extent.size)
        return
    chosen, how = _chosen(rows, extent, seed)
    results = [compare(window, "one") for window in chosen]
    noise = f"{lost} rounds discarded or failed; sd of d {spread(results):.1%}; {found.seconds_per_case:.2f} s a case"
    n, alarms = len(results), sum(map(rejects, results))
    yield Check(
        name=f"false alarms, A/A live, {found.variant}",
        figure=alarms / n,
        error=standard_error(alarms / n, n),
        bound=f"{alarms} of {n}, at most {allowed(n)}",
        passed=alarms <= allowed(n),
        n=n,
        seed=seed,
        note=f"{how}; {noise}",
    )
    name = f"false alarms, A/A live, {found.variant}, earlier half against later half by Welch"
    yield judged(name, map(sequential_rejects, chosen), seed, note="the practice it replaces, on the same values")


def too_few(samples: pd.DataFrame, name: str, rounds: int, wanted: int) -> Absent:
    """Why there is no figure; only cases that failed make the validation fail, not a host that is busy otherwise."""
    failures = samples[samples["value"].isna()]
    reasons = "; ".join(sorted({str(reason) for reason in samples["reason"] if reason})[:3])
    reason = f"only {rounds} of at least {wanted} rounds count, {len(failures)} cases failed: {reasons}"
    return Absent(name=name, reason=reason, failed=not failures.empty)


def _chosen(rows: pd.DataFrame, extent: Extent, seed: int) -> tuple[Sequence[pd.DataFrame], str]:
    """The comparisons, and in words how they were made."""
    rounds = rows["block"].nunique()
    # A few rounds lost to discards cost a few comparisons; the number allowed follows.
    if rounds >= 0.9 * extent.comparisons * extent.size:
        return list(windows(rows, extent.size))[: extent.comparisons], f"{extent.size} rounds each, disjoint"
    chosen = list(drawn(rows, extent.size, extent.comparisons, np.random.default_rng(seed)))
    return chosen, (
        f"{extent.size} rounds each, but only {rounds} pairs were measured: windows overlap, "
        "each with a fresh draw of which twin is which"
    )
