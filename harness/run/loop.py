"""A run: opens the environment, plans, and is the only loop over blocks and cases; every sample goes to the journal."""

import dataclasses
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cost import idle_rate
from harness.host.facts import HostFacts, gather
from harness.measures.base import Measure
from harness.measures.validity import frequency_moved, overloaded
from harness.model import SOFTWARE, Block, Case, Role, Sample, Workload
from harness.record import derive
from harness.record import journal as journals
from harness.record.journal import Journal
from harness.rig.cpus import choose_shape
from harness.rig.lock import host_lock
from harness.run import events as entries
from harness.run import stopping
from harness.run.environment import ROOT, Environment
from harness.run.plan import Plan, case_seconds, extended, make_plan
from harness.run.request import Request
from harness.run.setup import open_environment
from harness.runtimes.catalog import Catalog, load_catalog

IDLE_SECONDS = 0.3
CASE_SECONDS = 1800.0
EMULATED_PATIENCE = 4.0
"""How often its usual time everything may take on a host that is itself emulated."""
PEER_RUNTIME = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended: its folder, how many cases failed, and whether it was interrupted."""

    directory: Path
    failed: int
    interrupted: bool


class Progress(Protocol):
    """Who is told how the run goes."""

    def say(self, text: str) -> None:
        """Something happens that takes time."""
        ...

    def plan(self, plan: Plan) -> None:
        """What will run."""
        ...

    def extended(self, blocks: int, why: Sequence[str]) -> None:
        """The stopping rule has spoken: the run now has so many blocks in all."""
        ...

    def case_started(self, case: Case, done: int, total: int, eta_seconds: float) -> None:
        """A case begins; `done` of `total` are over."""
        ...

    def case_ended(self, case: Case, failed_reason: str | None) -> None:
        """A case is over."""
        ...


def execute(request: Request, progress: Progress) -> Outcome:
    """Run what was asked for. What was measured is on disk whatever happens; an interrupt ends the run in order.

    Raises TareError for bad input, a host that is not fit, or something that every variant needs.
    """
    began, allotment = time.monotonic(), choose_shape()
    earlier = derive.read(request.resume) if request.resume else None
    run = earlier.run if earlier else secrets.token_hex(3)
    with ExitStack() as stack:
        stack.enter_context(host_lock(paths.locks(), "run", run))
        facts = gather()
        folder = request.resume or _folder(request.out, facts, run)
        stack.callback(paths.give_to_caller, folder)
        journal = stack.enter_context(Journal.reopen(folder) if earlier else Journal.create(folder))
        catalog = _needed(load_catalog(), request)
        environment = stack.enter_context(open_environment(run, folder, journal, catalog, allotment, progress.say))
        plan = _planned(request, environment, progress)
        opened = entries.opened(request, facts, environment, plan)
        if earlier:
            earlier.check(opened)
        progress.plan(plan)
        environment.workloads, environment.limits = _patient(plan.workloads, facts), request.suite.limits
        environment.patience = _patience(facts)
        if earlier:
            plan = dataclasses.replace(plan, blocks=(*plan.blocks, *earlier.further))
        return _Loop(request, environment, plan, facts, progress, time.monotonic() - began).run(opened, earlier)


class _Loop:
    """The loop over blocks and cases."""

    def __init__(
        self,
        request: Request,
        environment: Environment,
        plan: Plan,
        facts: HostFacts,
        progress: Progress,
        opening: float,
    ) -> None:
        self._request = request
        self._environment = environment
        self._plan = plan
        self._facts = facts
        self._progress = progress
        self._opening = opening
        self._patience = _patience(facts)
        self._measures: dict[str, Measure] = {e.name: e.load()() for e in entry_points(group="tare.measures")}
        self._done = 0
        self._mhz: list[float] = []
        self._spent = 0.0
        self._failed = 0

    def run(self, opened: Mapping[str, object], earlier: "derive.Earlier | None") -> Outcome:
        """Every block that is not finished yet; what was measured is derived whatever ends the loop."""
        journal, status = self._environment.journal, "broken"
        journal.append("run-resumed" if earlier else "run-opened", **opened)
        try:
            at, stages = 0, earlier.stages if earlier else 0
            while at < len(self._plan.blocks):
                for block in self._plan.blocks[at:]:
                    attempt = earlier.attempt(block.number) if earlier else 1
                    if attempt == 0:
                        self._done += len(block.variants)
                    else:
                        self._block(block, attempt)
                at = len(self._plan.blocks)
                stages = self._continue(stages)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        finally:
            journal.append("run-closed", status=status, failed=self._failed)
            derive.derive(self._environment.folder)
        return Outcome(directory=self._environment.folder, failed=self._failed, interrupted=status == "interrupted")

    def _continue(self, stages: int) -> int:
        """Let the stopping rule speak, and plan what it asks for. Returns how often it has spoken."""
        events = journals.read(self._environment.folder)
        step = stopping.next_step(self._request.stopping, events, self._request.baseline, stages, spent=self._opening)
        if step is None:
            return stages
        longer = extended(self._plan, step.wanted)
        more = longer.blocks[len(self._plan.blocks) :]
        self._environment.journal.append("stage-closed", **asdict(step), blocks=[asdict(block) for block in more])
        self._plan = longer
        self._progress.extended(len(longer.blocks), step.why)
        return stages + 1

    def _block(self, block: Block, attempt: int) -> None:
        """Every variant once, adjacent in time; one discarded case discards the block, since its pairs are lost."""
        journal = self._environment.journal
        self._environment.idle = idle_rate(IDLE_SECONDS)
        journal.append("block-opened", block=block.number, attempt=attempt, load=self._environment.idle)
        discards: list[str] = []
        self._mhz = []
        if reason := overloaded(self._environment.idle, self._facts.logical_cpus, self._environment.limits):
            discards.append(reason)
        for position, variant in enumerate(block.variants):
            cast = {Role.SUBJECT: variant}
            if self._plan.workloads[block.workload].server:
                cast[Role.PEER] = PEER_RUNTIME
            case = Case(
                block=block.number,
                position=position,
                attempt=attempt,
                workload=block.workload,
                cast=cast,
                seed=self._plan.seed,
            )
            discards += self._case(case)
        if reason := frequency_moved(self._mhz, self._environment.limits):
            discards.append(reason)
        journal.append(
            "block-closed", block=block.number, attempt=attempt, discarded="; ".join(dict.fromkeys(discards))
        )

    def _case(self, case: Case) -> list[str]:
        """Run one case; record its failure and go on. Returns the reasons for which the block is discarded."""
        total = self._plan.cases
        self._progress.case_started(case, self._done, total, self._eta())
        began = time.monotonic()
        workload = self._environment.workloads[case.workload]
        self._environment.journal.append("case-opened", case=case.id, **entries.case(case))
        discards: list[str] = []
        reason: str | None = None
        try:
            deadline = Deadline.after(self._patience * CASE_SECONDS)
            for one in self._measures[workload.measure].measure(case, self._environment, deadline):
                self._keep(case, workload, one)
                if one.mhz is not None and one.phase == "measured":
                    self._mhz.append(one.mhz)
                if not one.valid and one.phase == "measured":
                    discards.append(f"{case.variant}: {one.reason}")
        except TareError as error:
            reason = error.brief + (f": {error.details}" if error.details else "")
            self._failed += 1
            for one in entries.failed(workload, reason):
                self._keep(case, workload, one)
        self._environment.journal.append("case-closed", case=case.id, failed=reason or "")
        self._done += 1
        self._spent += time.monotonic() - began
        self._progress.case_ended(case, reason)
        return discards

    def _keep(self, case: Case, workload: Workload, one: Sample) -> None:
        row = entries.row(self._request, self._facts, self._environment, case, workload, one)
        self._environment.journal.append("sample", **asdict(row))

    def _eta(self) -> float:
        """Seconds left: the estimate of what remains, corrected by how the estimate did so far."""
        variants = self._environment.catalog.variants
        costs = [
            case_seconds(self._plan.workloads[block.workload], variant, variants)
            for block in self._plan.blocks
            for variant in block.variants
        ]
        done = sum(costs[: self._done])
        factor = self._spent / done if done and self._spent else 1.0
        return factor * sum(costs[self._done :])


def _patience(facts: HostFacts) -> float:
    """How often its usual time everything may take on this host."""
    return EMULATED_PATIENCE if facts.host_virtualized in SOFTWARE else 1.0


def _patient(workloads: Mapping[str, Workload], facts: HostFacts) -> dict[str, Workload]:
    """The workloads with the time-outs that this host needs."""
    factor = _patience(facts)
    return {name: dataclasses.replace(one, timeout=factor * one.timeout) for name, one in workloads.items()}


def _needed(catalog: Catalog, request: Request) -> Catalog:
    """Only the runtimes that the suite's and the user's variants name, and the peer's."""
    names = {name for names in (*request.suite.variants.values(), request.suite.ladder) for name in names}
    chosen = {name.partition("/")[0] for name in request.variants or names}
    if any(workload.server for workload in request.workloads.values()):
        chosen.add(PEER_RUNTIME)
    kept = {name: runtime for name, runtime in catalog.runtimes.items() if name in chosen}
    return dataclasses.replace(catalog, runtimes=kept)


def _planned(request: Request, environment: Environment, progress: Progress) -> Plan:
    """The plan of the first stage; roots of other recipes and the full system are made once it is known that something
    needs them."""
    plan = _plan(request, environment)
    recipes = {str(workload.parameters.get("recipe", ROOT)) for workload in plan.workloads.values()} - {ROOT}
    names = {name for block in plan.blocks for name in block.variants}
    system = any(environment.catalog.variants[name].form == "system" for name in names)
    for recipe in sorted(recipes):
        environment.make_root(recipe, progress.say, system=system)
    if system:
        environment.make_system(progress.say)
    return _plan(request, environment) if system or recipes else plan


def _plan(request: Request, environment: Environment) -> Plan:
    """The plan of the first stage for what is available here."""
    availability = environment.availability()

    def plan(blocks: int | None) -> Plan:
        return make_plan(
            request.suite,
            request.workloads,
            environment.catalog.variants,
            availability,
            environment.shape,
            environment.guests_on,
            only_variants=request.variants,
            only_workloads=request.only_workloads,
            obstacle=environment.obstacle,
            blocks=blocks,
            seed=request.seed,
        )

    once = plan(1)
    return plan(stopping.first_blocks(request.stopping, request.suite.blocks, once.estimate_seconds))


def _folder(out: Path, facts: HostFacts, run: str) -> Path:
    """A new folder `<utc>-<host>-<run>` below `out`."""
    host = re.sub(r"[^a-z0-9.]+", "-", facts.name.lower()).strip("-.")[:40] or "host"
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{host}-{run}"
    (folder / "raw").mkdir(parents=True)
    return folder
