"""The stopping rule: decide, from the measured blocks, how many blocks each workload gets next."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING

from harness.model import Stopping
from harness.record.journal import Event

if TYPE_CHECKING:
    from harness.analysis.overhead import Overhead

PILOT = 10
"""Blocks of the first stage. Equal to harness.analysis.sample_size.PILOT, which is too slow to import here."""
PILOT_SHARE = 0.5
"""The largest share of a time budget that the pilot may take; its duration is only an estimate."""
ERROR = 0.05
"""The type I error of all interim analyses together."""
REPORT_SHARE = 0.03
"""The share of a time budget that is reserved for the end of the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The next stage: `wanted` total blocks per workload, the `shares` of the error that ended workloads spent, and the
    reasons `why`."""

    wanted: Mapping[str, int]
    shares: Mapping[str, float] = field(default_factory=dict)
    why: tuple[str, ...] = ()


def first_blocks(stopping: Stopping, suite_blocks: int, round_seconds: float) -> int:
    """Blocks per workload in the first stage; `round_seconds` is the estimate for one block of each workload."""
    if stopping.rule == "precision":
        return PILOT
    if stopping.rule == "looks":
        return stopping.looks[0]
    if stopping.rule == "time" and stopping.seconds is not None:
        return min(PILOT, max(1, int(PILOT_SHARE * stopping.seconds / max(round_seconds, 1e-3))))
    return suite_blocks if stopping.blocks is None else stopping.blocks


def next_step(stopping: Stopping, events: Sequence[Event], baseline: str, stages: int, spent: float) -> Step | None:
    """The step after `stages` completed stages; None if the run is complete.

    `spent` are the seconds that the run took outside its blocks. The decision depends on the spread and on the declared
    interim analyses, never on the direction of a result.
    """
    if stopping.rule == "blocks" or (stages and stopping.rule != "looks"):
        return None
    done = _done(events)
    found = _primary(events, baseline, done)
    if stopping.rule == "looks":
        return _look(stopping, stages, done, found)
    if stopping.rule == "precision" and stopping.precision is not None:
        return _precise(stopping.precision, done, found)
    seconds = _seconds(events)
    left = (stopping.seconds or 0.0) * (1 - REPORT_SHARE) - spent - sum(map(sum, seconds.values()))
    return _timed(left, done, found, {name: sum(each) / len(each) for name, each in seconds.items()})


def _precise(precision: float, done: Mapping[str, int], found: Mapping[str, list["Overhead"]]) -> Step:
    from harness.analysis.sample_size import MOST_BLOCKS, blocks_for

    wanted, why = {}, []
    for name, blocks in done.items():
        needs = [blocks_for(precision, one.differences) for one in found.get(name, [])]
        wanted[name] = max([blocks, *needs])
        limit = " (the maximum; this host is too noisy for that precision)" if wanted[name] == MOST_BLOCKS else ""
        why.append(f"{name}: {wanted[name]} blocks for ±{precision:.2%}{limit}")
    return Step(wanted=wanted, why=tuple(why))


def _look(
    stopping: Stopping, stages: int, done: Mapping[str, int], found: Mapping[str, list["Overhead"]]
) -> Step | None:
    looks = stopping.looks
    if stages >= len(looks):
        return None
    at, share = looks[stages], stopping.shares[stages]
    wanted, ended, why = dict(done), {}, []
    for name in (name for name, blocks in done.items() if blocks == at):
        intervals = [one.interval(1 - ERROR * share) for one in found.get(name, [])]
        decided = [bool(one and (one.low or 0) * (one.high or 0) > 0) for one in intervals]
        if stages + 1 == len(looks) or (decided and all(decided)):
            ended[name] = share
            why.append(f"{name}: ends at interim analysis {stages + 1}, after {at} blocks")
        else:
            wanted[name] = looks[stages + 1]
            why.append(f"{name}: undecided at interim analysis {stages + 1}, continues to {wanted[name]} blocks")
    return Step(wanted=wanted, shares=ended, why=tuple(why)) if why else None


def _timed(
    left: float, done: Mapping[str, int], found: Mapping[str, list["Overhead"]], seconds: Mapping[str, float]
) -> Step:
    from harness.analysis.sample_size import Noise, allocate

    noises = {
        name: Noise(differences={one.variant: one.differences for one in found.get(name, [])}, seconds=seconds[name])
        for name in done
        if name in seconds
    }
    wanted = allocate(noises, done, max(left, 0.0))
    return Step(
        wanted=wanted, why=tuple(f"{name}: {blocks} blocks fit into the time" for name, blocks in wanted.items())
    )


def _primary(events: Sequence[Event], baseline: str, done: Mapping[str, int]) -> dict[str, list["Overhead"]]:
    """The overheads of each workload's primary metrics so far; emulated guests only if there are no others."""
    from harness.analysis.overhead import Declared, overheads
    from harness.record import derive
    from harness.record.row import frame

    opened = next(event.data for event in events if event.event == "run-opened")
    primary = {
        (name, metric["name"])
        for name, workload in opened["workloads"].items()
        for metric in workload["metrics"]
        if metric["primary"]
    }
    measured = frame(derive.rows(events))
    found = [one for one in overheads(measured, baseline, declared=Declared(primary=primary)) if one.primary]
    usable = [one for one in found if one.differences]
    by_workload: dict[str, list[Overhead]] = {}
    for name in done:
        own = [one for one in usable if one.workload == name]
        by_workload[name] = [one for one in own if one.accelerator != "tcg"] or own
    return by_workload


def _done(events: Iterable[Event]) -> dict[str, int]:
    """The number of closed blocks by workload. It includes discarded blocks, which are not repeated here."""
    workload_of = {event.data["block"]: event.data["workload"] for event in events if event.event == "case-opened"}
    blocks = {event.data["block"] for event in events if event.event == "block-closed"}
    names = sorted(workload_of[block] for block in blocks if block in workload_of)
    return {name: len(list(group)) for name, group in groupby(names)}


def _seconds(events: Iterable[Event]) -> dict[str, list[float]]:
    """The duration in seconds of each closed block, by workload."""
    opened: dict[int, str] = {}
    workload_of: dict[int, str] = {}
    taken: dict[str, list[float]] = {}
    for event in events:
        if event.event == "block-opened":
            opened[event.data["block"]] = event.time
        elif event.event == "case-opened":
            workload_of[event.data["block"]] = event.data["workload"]
        elif event.event == "block-closed" and event.data["block"] in workload_of:
            began, ended = (datetime.fromisoformat(at) for at in (opened[event.data["block"]], event.time))
            taken.setdefault(workload_of[event.data["block"]], []).append((ended - began).total_seconds())
    return taken
