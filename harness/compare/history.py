"""This host's earlier runs: which of them may stand as a baseline, and how noisy and how slow they were."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.analysis.blocks import moments
from harness.analysis.intervals import relative
from harness.analysis.sample_size import MOST_BLOCKS, PILOT
from harness.errors import TareError, bad_input
from harness.record import results as store
from harness.record.columnar import open_source
from harness.record.manifest import fact, primary_metrics, read_manifest

LOOKED_AT = 5
"""Newest runs that an estimate looks at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """Earlier runs of one workload: sd of the primary metric's block differences, seconds of a block."""

    deviation: float
    seconds: float
    runs: int

    def half_width(self, blocks: int) -> float:
        """Half of the 95 % interval over so many blocks, as a fraction."""
        from scipy import stats

        if blocks < 2:
            return math.inf
        return relative(float(stats.t.ppf(0.975, blocks - 1)) * self.deviation / math.sqrt(blocks))

    def blocks_for(self, precision: float) -> int:
        """Blocks that a run for ±`precision` may be expected to take; at least a pilot's."""
        fits = (blocks for blocks in range(PILOT, MOST_BLOCKS) if self.half_width(blocks) <= precision)
        return next(fits, MOST_BLOCKS)


def fit_runs(results: Path, fingerprint: str, without: Iterable[str] = ()) -> list[Path]:
    """Folders of the host's fit runs, newest first: finished, and at most a tenth of the blocks discarded."""
    found = []
    for run in reversed(store.runs(results)):
        known = _manifest(run.directory)
        plan, discards = (len(known.get(key) or ()) for key in ("plan", "discards"))
        if (
            known.get("status") == "finished"
            and fact(known, "host", "fingerprint") == fingerprint
            and discards * 10 <= plan
            and str(known.get("run")) not in without
            and (run.directory / "samples.csv").is_file()
        ):
            found.append(run.directory)
    return found


def last(count: int, results: Path, fingerprint: str, without: Iterable[str]) -> list[Path]:
    """The last `count` fit runs of a host. Raises TareError (bad input) where there are fewer."""
    found = fit_runs(results, fingerprint, without)[:count]
    if len(found) < count:
        fit = "finished and with at most a tenth of their blocks discarded"
        problem = f"needs {count} other runs of this host ({fingerprint}), {fit}; {results} has {len(found)}"
        raise bad_input(f"--baseline last:{count}", problem, "measure more with tare run, or ask for fewer")
    return found


def past(results: Path, fingerprint: str, casts: Mapping[str, tuple[str, tuple[str, ...]]]) -> dict[str, Past]:
    """The noise and the times of workloads in the host's newest fit runs; `casts` has definition and variants of each.

    Only runs of the same definition count; of the variants the noisiest decides, emulated ones only among themselves.
    """
    noise: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for folder in fit_runs(results, fingerprint)[:LOOKED_AT]:
        known = _manifest(folder)
        with open_source(folder / "samples.csv") as source:
            rows = moments(source, str(known.get("baseline") or "native"))
        for name, (definition, variants) in casts.items():
            own = rows[(rows["workload"] == name) & (rows["definition"] == definition) & (rows["n"] > 1)]
            own = own[own["metric"].isin(primary_metrics(known, name)) & own["variant"].isin(variants)]
            real = own[own["accelerator"] != "tcg"]
            own = own if real.empty else real
            if not own.empty:
                noise.setdefault(name, []).append(float(own["variance"].max()))
                seconds.setdefault(name, []).append(_block_seconds(known, name, variants))
    return {
        name: Past(
            deviation=math.sqrt(sum(all_) / len(all_)),
            seconds=sum(seconds[name]) / len(seconds[name]),
            runs=len(all_),
        )
        for name, all_ in noise.items()
    }


def _block_seconds(known: Mapping[str, Any], workload: str, variants: Iterable[str]) -> float:
    times = (fact(known, "seconds", workload, name) for name in variants)
    return sum(float(time) for time in times if isinstance(time, int | float))


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        return read_manifest(folder)
    except TareError:
        return {}
