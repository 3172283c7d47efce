"""Carry out a run: set up the environment, plan, loop over blocks and cases, and append every sample to the journal."""

import dataclasses
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from harness import paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cost import idle_rate
from harness.host.facts import HostFacts, gather
from harness.measures.base import load_measures
from harness.measures.validity import frequency_moved, overloaded
from harness.model import SOFTWARE, Block, Case, Role, Sample, Workload
from harness.plugins import contained
from harness.record import derive
from harness.record import journal as journals
from harness.record.journal import Journal
from harness.record.row import Consistency, FieldError, Row
from harness.rig.cpus import choose_shape
from harness.rig.lock import host_lock
from harness.run import events, stopping
from harness.run.environment import ROOT, Environment
from harness.run.plan import Plan, case_seconds, extended, make_plan
from harness.run.request import Request
from harness.run.setup import open_environment
from harness.runtimes.catalog import Catalog, load_catalog

IDLE_SECONDS = 0.3
CASE_SECONDS = 1800.0
EMULATED_PATIENCE = 4.0
"""The factor on all time-outs on a host that is itself emulated."""
PEER_RUNTIME = "native"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a run: its folder, the number of failed cases, and whether it was interrupted."""

    directory: Path
    failed: int
    interrupted: bool


class Progress(Protocol):
    """Receives the progress of a run."""

    def notify(self, text: str) -> None:
        """Show one line about an operation that takes time."""
        ...

    def plan(self, plan: Plan) -> None:
        """Show what will run."""
        ...

    def extended(self, blocks: int, why: Sequence[str]) -> None:
        """Show that the stopping rule extended the run to `blocks` blocks in total, with the reasons."""
        ...

    def case_started(self, case: Case, done: int, total: int, eta_seconds: float) -> None:
        """Show that a case starts; `done` of `total` cases are complete."""
        ...

    def case_ended(self, case: Case, failed_reason: str | None) -> None:
        """Show that a case ended; `failed_reason` is None if it succeeded."""
        ...


def execute(request: Request, progress: Progress) -> Outcome:
    """Carry out the request. Every sample is on disk at once; an interrupt ends the run in an orderly way.

    Raises TareError for bad input, for a host that is not fit, or if a requirement of all variants is missing.
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
        environment = stack.enter_context(open_environment(run, folder, journal, catalog, allotment, progress.notify))
        plan = _planned(request, environment, progress)
        opened = events.run_opened(request, facts, environment, plan)
        if earlier:
            earlier.check(opened)
        progress.plan(plan)
        environment.workloads, environment.limits = _patient(plan.workloads, facts), request.suite.limits
        environment.patience = _patience(facts)
        if earlier:
            plan = dataclasses.replace(plan, blocks=(*plan.blocks, *earlier.further))
        return _Loop(request, environment, plan, facts, progress, time.monotonic() - began).run(opened, earlier)


class _Loop:
    """The loop over blocks and cases; `setup_seconds` is the time that the set-up took."""

    def __init__(
        self,
        request: Request,
        environment: Environment,
        plan: Plan,
        facts: HostFacts,
        progress: Progress,
        setup_seconds: float,
    ) -> None:
        self._request = request
        self._environment = environment
        self._plan = plan
        self._facts = facts
        self._progress = progress
        self._setup_seconds = setup_seconds
        self._patience = _patience(facts)
        self._measures = load_measures()
        self._consistency = Consistency()
        self._done = 0
        self._mhz: list[float] = []
        self._spent = 0.0
        self._failed = 0

    def run(self, opened: Mapping[str, object], earlier: "derive.Earlier | None") -> Outcome:
        """Run every unfinished block. The derived files are written even if an error or interrupt ends the loop."""
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
        """Apply the stopping rule and extend the plan. Returns the number of completed stages."""
        journal = journals.read(self._environment.folder)
        step = stopping.next_step(
            self._request.stopping, journal, self._request.baseline, stages, spent=self._setup_seconds
        )
        if step is None:
            return stages
        longer = extended(self._plan, step.wanted)
        more = longer.blocks[len(self._plan.blocks) :]
        self._environment.journal.append("stage-closed", **asdict(step), blocks=[asdict(block) for block in more])
        self._plan = longer
        self._progress.extended(len(longer.blocks), step.why)
        return stages + 1

    def _block(self, block: Block, attempt: int) -> None:
        """Run every variant once, adjacent in time. One discarded case discards the block, since its pairs are lost."""
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
        """Run one case; record a failure and continue. Returns the reasons to discard the block."""
        total = self._plan.cases
        self._progress.case_started(case, self._done, total, self._eta())
        began = time.monotonic()
        workload = self._environment.workloads[case.workload]
        self._environment.journal.append("case-opened", case=case.id, **events.case_opened(case))
        discards: list[str] = []
        reason: str | None = None
        for metric in workload.metrics:
            self._consistency.declare(workload.name, metric.name, metric.unit, metric.direction, metric.scale)
        try:
            deadline = Deadline.after(self._patience * CASE_SECONDS)
            measure = self._measures[workload.measure]
            with contained(f"the measure {workload.measure}", measure):
                for one in measure.measure(case, self._environment, deadline):
                    self._keep(case, workload, one)
                    if one.mhz is not None and one.phase == "measured":
                        self._mhz.append(one.mhz)
                    if not one.valid and one.phase == "measured":
                        discards.append(f"{case.variant}: {one.reason}")
        except TareError as error:
            reason = error.brief + (f": {error.details}" if error.details else "")
            self._failed += 1
            for one in events.failed_samples(workload, reason):
                with suppress(FieldError):  # the measure gave a row without a value itself
                    self._keep(case, workload, one)
        self._environment.journal.append("case-closed", case=case.id, failed=reason or "")
        self._done += 1
        self._spent += time.monotonic() - began
        self._progress.case_ended(case, reason)
        return discards

    def _keep(self, case: Case, workload: Workload, one: Sample) -> None:
        row = events.row(self._request, self._facts, self._environment, case, workload, one)
        checked = Row.from_data(row.as_data())
        self._consistency.check(checked)
        self._environment.journal.append("sample", **checked.as_data())

    def _eta(self) -> float:
        """The seconds left: the estimate for the remaining cases, scaled by actual over estimated time so far."""
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
    """The factor on all time-outs on this host."""
    return EMULATED_PATIENCE if facts.host_virtualized in SOFTWARE else 1.0


def _patient(workloads: Mapping[str, Workload], facts: HostFacts) -> dict[str, Workload]:
    """The workloads with their time-outs scaled for this host."""
    factor = _patience(facts)
    return {name: dataclasses.replace(one, timeout=factor * one.timeout) for name, one in workloads.items()}


def _needed(catalog: Catalog, request: Request) -> Catalog:
    """The catalog, reduced to the runtimes of the requested variants and of the peer."""
    names = {name for names in (*request.suite.variants.values(), request.suite.ladder) for name in names}
    chosen = {name.partition("/")[0] for name in request.variants or names}
    if any(workload.server for workload in request.workloads.values()):
        chosen.add(PEER_RUNTIME)
    kept = {name: runtime for name, runtime in catalog.runtimes.items() if name in chosen}
    return dataclasses.replace(catalog, runtimes=kept)


def _planned(request: Request, environment: Environment, progress: Progress) -> Plan:
    """The plan of the first stage. Builds the roots of other recipes and the full system if the plan needs them."""
    plan = _plan(request, environment)
    recipes = {str(workload.parameters.get("recipe", ROOT)) for workload in plan.workloads.values()} - {ROOT}
    names = {name for block in plan.blocks for name in block.variants}
    system = any(environment.catalog.variants[name].form == "system" for name in names)
    for recipe in sorted(recipes):
        environment.make_root(recipe, progress.notify, system=system)
    if system:
        environment.make_system(progress.notify)
    return _plan(request, environment) if system or recipes else plan


def _plan(request: Request, environment: Environment) -> Plan:
    """The plan of the first stage, for the variants that are available on this host."""
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
    """Create and return the folder `<utc>-<host>-<run>` below `out`."""
    host = re.sub(r"[^a-z0-9.]+", "-", facts.name.lower()).strip("-.")[:40] or "host"
    folder = out / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{host}-{run}"
    (folder / "raw").mkdir(parents=True)
    return folder
