"""Live A/A comparisons on this host: two identical workloads, measured and compared by tare."""

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
"""The variants by runtime; the first one that can run on this host is used."""
LEAST_WINDOWS = 2
"""A runtime needs the rounds of at least so many disjoint windows; fewer would be reused too often."""
PROGRAMS = {
    "native": ("ip", "mmdebstrap", "bwrap"),
    "docker": ("ip", "mmdebstrap", "dockerd"),
    "libvirt": ("ip", "mmdebstrap", "libvirtd", "qemu-system-x86_64"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """The size of the A/A part: `rounds` by runtime, and the number of `comparisons` of `size` rounds each.

    With enough rounds the comparisons are disjoint; otherwise their windows overlap (see `drawn`).
    """

    comparisons: int = 200
    size: int = 5
    # Half an hour in total; an emulated guest takes ten times as long to launch as a container.
    rounds: Mapping[str, int] = field(default_factory=lambda: {"native": 500, "docker": 400, "libvirt": 24})


QUICK = Extent(comparisons=20, rounds={"native": 20, "docker": 15})


def unable(runtime: str) -> str:
    """Why a runtime cannot be measured on this host, or ""."""
    if os.geteuid() != 0:
        return "needs root for the bridge and the peer: sudo make validate"
    missing = have(*PROGRAMS[runtime])
    return f"not installed: {', '.join(missing)} (make setup)" if missing else ""


def measured(suite: str, runtime: str, rounds: int, seed: int) -> Measured | Absent:
    """Run the runtime's first variant that works on this host; or the reason why none does."""
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
    """The false alarms of each runtime, and those of the sequential method on the same values."""
    for runtime, rounds in extent.rounds.items():
        own = seed_of(seed, f"A/A, {runtime}") % engine.SEEDS
        found = measured(SUITE, runtime, rounds, own)
        if isinstance(found, Absent):
            yield found
        else:
            yield from judge(found, extent, own)


def judge(found: Measured, extent: Extent, seed: int) -> Iterator[Result]:
    """The false alarms of one run."""
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
    yield judged(name, map(sequential_rejects, chosen), seed, note="the usual practice, on the same values")


def too_few(samples: pd.DataFrame, name: str, rounds: int, wanted: int) -> Absent:
    """The result for too few rounds. The validation fails only if cases failed, not if rounds were discarded."""
    failures = samples[samples["value"].isna()]
    reasons = "; ".join(sorted({str(reason) for reason in samples["reason"] if reason})[:3])
    reason = f"{rounds} valid rounds, at least {wanted} needed; {len(failures)} cases failed: {reasons}"
    return Absent(name=name, reason=reason, failed=not failures.empty)


def _chosen(rows: pd.DataFrame, extent: Extent, seed: int) -> tuple[Sequence[pd.DataFrame], str]:
    """The comparisons, and a note about how they were chosen."""
    rounds = rows["block"].nunique()
    # Discarded rounds reduce the number of comparisons, and with it the allowed number of false alarms.
    if rounds >= 0.9 * extent.comparisons * extent.size:
        return list(windows(rows, extent.size))[: extent.comparisons], f"{extent.size} rounds each, disjoint"
    chosen = list(drawn(rows, extent.size, extent.comparisons, np.random.default_rng(seed)))
    return chosen, (
        f"{extent.size} rounds each, but only {rounds} pairs were measured: windows overlap, "
        "and each assigns the arms at random"
    )
