"""The data of a run's journal events: the run, its cases, and a row for every sample."""

from collections.abc import Iterator
from dataclasses import asdict

from harness import __version__
from harness.host.facts import HostFacts
from harness.model import Case, Sample, Workload
from harness.record.journal import now
from harness.record.row import Row, parameters_text
from harness.run.environment import Environment
from harness.run.plan import Plan
from harness.run.request import Request


def run_opened(request: Request, facts: HostFacts, environment: Environment, plan: Plan) -> dict[str, object]:
    """The data of the run-opened event: everything that a resume or the manifest needs."""
    return {
        "tare": __version__,
        "run": environment.run,
        "suite": request.suite.name,
        "workloads_dir": str(request.workloads_dir),
        "variants": request.variants,
        "only_workloads": request.only_workloads,
        "seed": request.seed,
        "baseline": request.baseline,
        "command_line": request.command_line,
        "host": asdict(facts),
        "shape": str(environment.shape),
        "harness_cpus": environment.allotment.harness_cpus,
        "notes": [*environment.allotment.notes, *environment.daemons.notes, *environment.notes],
        "root": environment.root.digest,
        "system": environment.root.system.digest if environment.root.system else "",
        "versions": environment.versions(),
        "rig": environment.rig_facts(),
        "plan": [asdict(block) for block in plan.blocks],
        "skips": [asdict(skip) for skip in plan.skips],
        "workloads": {name: asdict(workload) for name, workload in plan.workloads.items()},
        "stopping": asdict(request.stopping),
        "limits": asdict(request.suite.limits),
        "ladder": request.suite.on(environment.guests_on).ladder,
        "options": {name: dict(environment.catalog.variants[name].options) for name in _planned(plan)},
    }


def _planned(plan: Plan) -> list[str]:
    return sorted({name for block in plan.blocks for name in block.variants})


def case_opened(one: Case) -> dict[str, object]:
    """The data of the case-opened event."""
    return {
        "workload": one.workload,
        "block": one.block,
        "position": one.position,
        "attempt": one.attempt,
        "cast": {role.value: variant for role, variant in one.cast.items()},
    }


def failed_samples(workload: Workload, reason: str) -> Iterator[Sample]:
    """One sample without a value for each metric of a failed case."""
    for metric in workload.metrics:
        yield Sample(
            metric=metric.name,
            unit=metric.unit,
            direction=metric.direction,
            scale=metric.scale,
            summary=metric.summary,
            iteration=workload.warmup,
            phase="measured",
            value=None,
            valid=False,
            reason=reason,
        )


def row(
    request: Request, facts: HostFacts, environment: Environment, case: Case, workload: Workload, one: Sample
) -> Row:
    """The CSV row of a sample."""
    prepared = environment.subjects.get(case.id)
    shape = prepared.shape if prepared else environment.shape
    instance = environment.instances.get(case.id)
    return Row(
        run=environment.run,
        suite=request.suite.name,
        host=facts.fingerprint,
        host_virtualized=facts.host_virtualized,
        time=now(),
        workload=workload.name,
        definition=workload.definition,
        parameters=parameters_text(workload.parameters),
        block=case.block,
        position=case.position,
        case=case.id,
        attempt=case.attempt,
        instance=instance.name if instance else "",
        role=one.role.value,
        variant=case.variant,
        runtime=environment.catalog.variants[case.variant].runtime,
        accelerator=prepared.accelerator.value if prepared else "",
        image=prepared.image if prepared else "",
        kernel=instance.kernel if instance else "",
        shape=str(shape),
        cpus=shape.cpu_list,
        metric=one.metric,
        unit=one.unit,
        direction=one.direction,
        scale=one.scale,
        summary=one.summary,
        iteration=one.iteration,
        phase=one.phase,
        value=one.value,
        elapsed=one.elapsed,
        mhz=one.mhz,
        steal=one.steal,
        valid=one.valid,
        reason=one.reason,
    )
