"""Boot samples: which metric is which milestone, and how long each phase between milestones took."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from harness.model import Milestone
from harness.report import number_format
from harness.report.foreign_input import numbers, table
from harness.report.stored_run import Stored

MILESTONES = tuple(milestone.value for milestone in Milestone)
NAMED = re.compile(rf"(?:to-|requested-to-|boot-)?({'|'.join(MILESTONES)})")


def milestone_of(stored: Stored, workload: str, metric: str) -> str | None:
    """The milestone that a metric counts to, in seconds since requested; None for any other metric.

    By the metric's source in the manifest (`ready-requested`), without one by its name (`ready`, `to-ready`).
    """
    if not workload.startswith("boot."):
        return None
    if source := stored.metric(workload, metric).get("source"):
        last, _, first = str(source).partition("-")
        return last if first == "requested" and last in MILESTONES else None
    named = NAMED.fullmatch(metric)
    return named[1] if named else None


def boot_values(stored: Stored) -> pd.DataFrame:
    """Block values of the `boot.` workloads in seconds, with a `milestone` column, in the order of the milestones."""
    values = stored.values
    milestones = [
        milestone_of(stored, str(workload), str(metric)) for workload, metric in values[["workload", "metric"]].values
    ]
    rows = values.assign(milestone=pd.Series(milestones, index=values.index, dtype=object))
    rows = rows[rows["milestone"].notna() & rows["unit"].isin(["s", "ms"])]
    rows = rows.assign(
        rank=rows["milestone"].map(MILESTONES.index),
        value=rows["value"].astype(float).where(rows["unit"] == "s", rows["value"].astype(float) / 1000),
    )
    return rows.sort_values("rank", kind="stable")


def phases(rows: pd.DataFrame) -> dict[str, float]:
    """Seconds from the previous milestone to each milestone, by median block value, for one variant's rows.

    The order is that of time and not of the milestones: daemons report that a container has started after its first
    line.
    """
    medians = rows.groupby("milestone", sort=False)["value"].median().sort_values(kind="stable")
    return dict(zip(medians.index, medians.diff().fillna(medians).tolist(), strict=True))


def last_milestone(rows: pd.DataFrame) -> str:
    """The milestone that ends one variant's boot: `service`, else `ready`, else what came last."""
    seen = list(phases(rows))
    return next((milestone for milestone in ("service", "ready") if milestone in seen), seen[-1])


def until_last(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows without the milestones that came after the one that ends their variant's boot."""
    kept = []
    for _, own in rows.groupby(["variant", "accelerator"], sort=False):
        milestones = list(phases(own))
        kept.append(own[own["milestone"].isin(milestones[: milestones.index(last_milestone(own)) + 1])])
    return pd.concat(kept) if kept else rows


def notes(stored: Stored) -> list[str]:
    """Notes below the boot table: what was subtracted, what is missing and why, and how cold the starts were."""
    return [*_beacons(stored), *_unheard(stored), *_cold(stored)]


def _beacons(stored: Stored) -> Iterator[str]:
    known, failed = [], []
    for variant, told in _ordered(stored, stored.mapping("beacon")):
        ready = table(table(table(told).get("costs")).get("ready"))
        if found := numbers(ready, "seconds", "low", "high"):
            middle, low, high = (number_format.humane(one, "s") for one in found)
            known.append(f"{variant} {middle} (readings from {low} to {high})")
        elif isinstance(told, dict):
            failed.append(f"{variant} ({told.get('failed') or 'no figure'})")
    if known:
        yield f"The signalling overhead is subtracted from the time to ready: {'; '.join(known)}."
    if failed:
        yield f"The signalling overhead could not be measured, so nothing is subtracted: {'; '.join(failed)}."


def _unheard(stored: Stored) -> Iterator[str]:
    booted = set(boot_values(stored)["variant"])
    for variant, facts in stored.mapping("instances").items():
        said = facts.get("containerd_events") if isinstance(facts, dict) else None
        if variant in booted and said not in (None, "heard"):
            yield f"The milestones container, task and started of {variant} are not available: {said}."


def _cold(stored: Stored) -> Iterator[str]:
    for workload, variants in stored.mapping("cache").items():
        said = []
        for variant, found in _ordered(stored, table(variants)):
            if known := numbers(table(found), "dropped", "stayed"):
                cached = number_format.humane(known[0], "bytes")
                said.append(f"{variant} {cached}, of which at most {100 * known[1]:.1f} % stayed")
        if said:
            yield (
                f"{workload} is a cold start: before each launch the variant's files are dropped from the host's page "
                f"cache. They had cached (median): {'; '.join(said)}. Programs of the host stay cached."
            )


def _ordered(stored: Stored, table: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """By variant, the baseline first, as in the table."""
    return sorted(table.items(), key=lambda item: (item[0] != stored.baseline, item[0]))
