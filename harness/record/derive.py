"""What is derived from a run's journal: samples.csv, manifest.json, and the state for `--resume`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from harness.errors import TareError, bad_input
from harness.model import Block, Stopping
from harness.record.csv_file import rows_of, write_csv
from harness.record.journal import Event
from harness.record.journal import read as read_journal
from harness.record.manifest import write_manifest
from harness.record.row import Row

SAME = ("suite", "stopping", "plan", "shape", "root", "workloads")
"""What must not have changed when a run is resumed: otherwise its blocks would not be comparable."""
UNFINISHED = "the block was not finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An interrupted run: its set-up, the closed blocks, and the number of attempts of each block.

    `further` are the blocks that its stopping rule added in `stages` decisions.
    """

    folder: Path
    opened: Mapping[str, Any]
    closed: frozenset[int]
    begun: Mapping[int, int]
    further: tuple[Block, ...]
    stages: int

    @property
    def run(self) -> str:
        """The run's id."""
        return str(self.opened["run"])

    def attempt(self, block: int) -> int:
        """The number of a block's next attempt; 0 where the block is finished."""
        return 0 if block in self.closed else self.begun.get(block, 0) + 1

    def check(self, now: Mapping[str, object]) -> None:
        """Raise TareError (bad input) when the suite, the set-up or the host is not that of the interrupted run."""
        current = json.loads(json.dumps(now))
        for name in SAME:
            if current[name] != self.opened[name]:
                raise bad_input(f"--resume {self.folder}", f"{name} has changed since the run began", "start a new run")
        if current["host"]["fingerprint"] != self.opened["host"]["fingerprint"]:
            raise bad_input(f"--resume {self.folder}", "it was begun on another host", "resume it on that host")


def read(folder: Path) -> Earlier:
    """An interrupted run from its journal. Raises TareError (bad input) when there is nothing to finish."""
    events = read_journal(folder)
    opened = next((event.data for event in events if event.event == "run-opened"), None)
    if opened is None:
        raise bad_input(f"--resume {folder}", "the run ended before its plan was recorded", "start a new run")
    begun: dict[int, int] = {}
    for event in events:
        if event.event == "block-opened":
            begun[event.data["block"]] = event.data["attempt"]
    if any(event.event == "run-closed" and event.data["status"] == "finished" for event in events):
        raise bad_input(f"--resume {folder}", "the run is finished", "start a new run")
    closed = frozenset(event.data["block"] for event in events if event.event == "block-closed")
    steps = [event.data for event in events if event.event == "stage-closed"]
    further = tuple(
        Block(number=block["number"], workload=block["workload"], variants=tuple(block["variants"]))
        for step in steps
        for block in step["blocks"]
    )
    return Earlier(folder=folder, opened=opened, closed=closed, begun=begun, further=further, stages=len(steps))


def derive(folder: Path) -> None:
    """Write samples.csv and manifest.json from the journal. Raises TareError when the journal is damaged."""
    events = read_journal(folder)
    write_csv(rows(events), folder / "samples.csv")
    write_manifest(folder, manifest(events))


def rows(events: Iterable[Event]) -> list[Row]:
    """Every sample. Those of a discarded block, and of an attempt that a later one replaced, are not valid."""
    events = list(events)
    last = {e.data["block"]: e.data["attempt"] for e in events if e.event == "block-opened"}
    closings = {(e.data["block"], e.data["attempt"]): e.data["discarded"] for e in events if e.event == "block-closed"}

    def judged(row: Row) -> Row:
        discarded = closings.get((row.block, row.attempt), UNFINISHED)
        if row.attempt != last[row.block]:
            discarded = "the block was run again"
        return replace(row, valid=False, reason=f"block discarded: {discarded}") if discarded and row.valid else row

    return [judged(row) for row in rows_of(events)]


def manifest(events: Iterable[Event]) -> dict[str, Any]:
    """What the report needs beside the samples: set-up, facts of the instances, discards, failures, the end."""
    events = list(events)
    opened = next((e for e in events if e.event == "run-opened"), None)
    if opened is None:
        raise TareError("the journal has no run-opened event", hint="start a new run: tare run")
    closed = [e for e in events if e.event == "run-closed"]
    facts = {e.data["variant"]: e.data["facts"] for e in events if e.event == "facts"}
    discards = [
        {"block": e.data["block"], "reason": e.data["discarded"]}
        for e in events
        if e.event == "block-closed" and e.data["discarded"]
    ]
    failures = [
        {"case": e.data["case"], "reason": e.data["failed"]}
        for e in events
        if e.event == "case-closed" and e.data["failed"]
    ]
    steps = [e.data for e in events if e.event == "stage-closed"]
    more = [block for step in steps for block in step["blocks"]]
    return {
        **opened.data,
        "plan": [*opened.data["plan"], *more],
        "stopping": {**opened.data["stopping"], **_stopped(opened.data, steps)},
        "loads": {str(e.data["block"]): round(e.data["load"], 3) for e in events if "load" in e.data},
        "seconds": _seconds(events),
        "started": opened.time,
        "ended": closed[-1].time if closed else events[-1].time,
        "status": closed[-1].data["status"] if closed else "interrupted",
        "instances": facts,
        "clocks": _clocks(events),
        "beacon": _beacons(events),
        "cache": _caches(events),
        "observed": _observed(events),
        "discards": discards,
        "failures": failures,
    }


def _clocks(events: Iterable[Event]) -> dict[str, dict[str, float]]:
    """By variant: the largest drift of an instance's clock in ppm, and the number of instances."""
    found: dict[str, list[float]] = {}
    for event in events:
        if event.event == "clock" and "slope" in event.data:
            found.setdefault(event.data["variant"], []).append(1e6 * (event.data["slope"] - 1))
    return {name: {"ppm": max(ppm, key=abs), "instances": len(ppm)} for name, ppm in found.items()}


def _beacons(events: Iterable[Event]) -> dict[str, Any]:
    """By variant: the signalling overhead of each milestone, or why it is unknown, by the last measurement."""
    return {
        e.data["variant"]: {"costs": e.data["costs"], "failed": e.data["failed"]} for e in events if e.event == "beacon"
    }


def _caches(events: Iterable[Event]) -> dict[str, dict[str, dict[str, float]]]:
    """By workload and variant, over the cold launches: the median of the cached bytes before the drop, and the largest
    share that stayed cached."""
    workloads: dict[str, str] = {}
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for event in events:
        if event.event == "case-opened":
            workloads[event.data["case"]] = event.data["workload"]
        elif event.event == "cache" and (workload := workloads.get(event.data["case"])):
            found.setdefault(workload, {}).setdefault(event.data["variant"], []).append(event.data)
    return {
        workload: {
            variant: {
                "dropped": median(one["before"] for one in launches),
                "stayed": max(one["stayed"] for one in launches),
                "launches": len(launches),
            }
            for variant, launches in by_variant.items()
        }
        for workload, by_variant in found.items()
    }


def _observed(events: Iterable[Event]) -> list[dict[str, Any]]:
    """The facts that measures recorded for the report, in order; of a block only those of its last attempt.

    `discarded` is the reason for which the block was discarded, or "". Facts of a discarded block are kept.
    """
    events = list(events)
    cases = {e.data["case"]: e.data for e in events if e.event == "case-opened"}
    last = {e.data["block"]: e.data["attempt"] for e in events if e.event == "block-opened"}
    closings = {(e.data["block"], e.data["attempt"]): e.data["discarded"] for e in events if e.event == "block-closed"}
    found = [(cases[e.data["case"]], e.data) for e in events if e.event == "observed" and e.data["case"] in cases]
    return [
        {
            **data,
            "workload": case["workload"],
            "block": case["block"],
            "discarded": closings.get((case["block"], case["attempt"]), UNFINISHED),
        }
        for case, data in found
        if case["attempt"] == last.get(case["block"])
    ]


def _stopped(opened: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the intervals need about the end of the run: see harness.analysis.overhead.Declared."""
    rule = opened["stopping"]["rule"]
    if rule in ("precision", "time") and steps:
        return {"second_stage": len(opened["plan"])}
    if rule != "looks":
        return {}
    # A workload that was interrupted between looks gets the smallest share.
    least = min(Stopping(rule="looks", looks=tuple(opened["stopping"]["looks"])).shares)
    ended = {name: share for step in steps for name, share in step["shares"].items()}
    return {"shares": {name: ended.get(name, least) for name in opened["workloads"]}}


def _seconds(events: Iterable[Event]) -> dict[str, dict[str, float]]:
    """Mean seconds of a case by workload and variant, for the estimates of later runs."""
    begun: dict[str, Event] = {}
    taken: dict[str, dict[str, list[float]]] = {}
    for event in events:
        if event.event == "case-opened":
            begun[event.data["case"]] = event
        elif event.event == "case-closed" and (first := begun.get(event.data["case"])):
            began, ended = (datetime.fromisoformat(one.time) for one in (first, event))
            variant = first.data["cast"]["subject"]
            taken.setdefault(first.data["workload"], {}).setdefault(variant, []).append((ended - began).total_seconds())
    return {
        name: {variant: round(sum(all_) / len(all_), 3) for variant, all_ in by_variant.items()}
        for name, by_variant in taken.items()
    }
