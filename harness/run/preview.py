"""What a run would do, found out without starting, building or changing anything."""

import dataclasses
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.definitions.selection import choose_variants, choose_workloads
from harness.definitions.toml_file import suggest
from harness.errors import bad_input
from harness.host.daemons.private import missing_programs
from harness.host.daemons.reach import ask, named
from harness.model import Available, DaemonName, Skip, Stopping, Suite, Workload
from harness.rig.cpus import choose_shape
from harness.run.plan import Plan, make_plan
from harness.run.stopping import first_blocks
from harness.runtimes.catalog import Catalog, load_catalog

ASK_SECONDS = 10.0
KVM = "libvirt/kvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The runtimes of this host, and what is to be expected of each variant (see `survey`)."""

    catalog: Catalog
    availability: Mapping[str, Available]


@contextmanager
def survey() -> Iterator[Survey]:
    """Load the runtimes and ask each what it can do here.

    A daemon that does not answer, but that a run could start, counts as there: a runtime whose every variant is then
    unavailable lacks nothing but the daemon.
    """
    catalog = load_catalog()
    try:
        down: dict[str, Available] = {}
        for name, runtime in catalog.runtimes.items():
            if runtime.daemon and runtime.variants:
                answer = ask(runtime.daemon, Deadline.after(ASK_SECONDS))
                catalog.connect(name, answer.where)
                if not answer.ok:
                    down[runtime.daemon] = _startable(runtime.daemon, answer.reason)
        availability = catalog.availability()
        for name, runtime in catalog.runtimes.items():
            if name in catalog.failed:
                continue
            names = [variant.name for variant in runtime.variants]
            if (then := down.get(runtime.daemon)) and not (then.ok and any(availability[one].ok for one in names)):
                availability |= dict.fromkeys(names, then)
        yield Survey(catalog=catalog, availability=availability)
    finally:
        catalog.close()


def check_names(
    suite: Suite,
    workloads: Mapping[str, Workload],
    catalog: Catalog,
    *,
    only_workloads: tuple[str, ...] | None,
    only_variants: tuple[str, ...] | None,
    baseline: str,
) -> None:
    """Raise TareError (bad input) for any name that does not exist, before anything is created."""
    broken = {skip.what: skip for skip in catalog.broken if skip.what not in catalog.runtimes}
    for word in only_variants or ():
        if why := broken.get(word.partition("/")[0]):
            raise bad_input(f"--variant {word}", why.reason, why.fix)
    for workload in choose_workloads(suite, workloads, only_workloads):
        choose_variants(suite, workload, catalog.variants, "tcg", only_variants)
    if baseline not in catalog.variants:
        raise bad_input("--baseline", f"there is no variant {baseline!r}", suggest(baseline, catalog.variants))


def preview(
    suite: Suite,
    workloads: Mapping[str, Workload],
    *,
    only_workloads: tuple[str, ...] | None,
    only_variants: tuple[str, ...] | None,
    stopping: Stopping,
    seed: int,
) -> Plan:
    """The plan that a run with these would have, as far as can be told without starting it.

    Whether guests get KVM shows only when one boots: where that has not been shown yet, the plan says so and has `tcg`.
    """
    with survey() as found:
        kvm = found.availability.get(KVM)

        def plan_of(blocks: int) -> Plan:
            return make_plan(
                suite,
                workloads,
                found.catalog.variants,
                found.availability,
                choose_shape().shape,
                "kvm" if kvm and kvm.ok else "tcg",
                only_variants=only_variants,
                only_workloads=only_workloads,
                blocks=blocks,
                seed=seed,
            )

        plan = plan_of(first_blocks(stopping, suite.blocks, plan_of(1).estimate_seconds))
    emulated = any(name.startswith("libvirt/tcg") for block in plan.blocks for name in block.variants)
    if not emulated or kvm is None or kvm.ok or KVM in {skip.what for skip in plan.skips}:
        return plan
    why = Skip(what=KVM, reason=f"guests are emulated: {kvm.reason}", fix=kvm.fix)
    return dataclasses.replace(plan, skips=(*plan.skips, why))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What earlier runs of this host let expect of one workload: `blocks` in all, then half of the 95 % interval as a
    fraction, and seconds for them; `deviation` is the sd of block differences, over so many `runs`."""

    workload: str
    blocks: int
    half_width: float
    seconds: float
    deviation: float
    runs: int


def expectations(plan: Plan, stopping: Stopping, results: Path, fingerprint: str) -> list[Expectation]:
    """How precise a plan's figures are likely to be, and how long it takes, by this host's earlier noise.

    Workloads that no earlier fit run of this host measured are left out.
    """
    from harness.compare.history import past

    blocks = Counter(block.workload for block in plan.blocks)
    casts = {block.workload: tuple(sorted(block.variants)) for block in plan.blocks}
    asked = {name: (plan.workloads[name].definition, cast) for name, cast in casts.items()}
    found = []
    for name, known in sorted(past(results, fingerprint, asked).items()):
        count = known.blocks_for(stopping.precision) if stopping.precision is not None else blocks[name]
        found.append(
            Expectation(
                workload=name,
                blocks=count,
                half_width=known.half_width(count),
                seconds=known.seconds * count,
                deviation=known.deviation,
                runs=known.runs,
            )
        )
    return found


def plan_as_dict(plan: Plan, expected: Sequence[Expectation] = ()) -> dict[str, Any]:
    """A plan for a script."""
    return {
        "expected": [
            {**dataclasses.asdict(one), "half_width": one.half_width if math.isfinite(one.half_width) else None}
            for one in expected
        ],
        "seed": plan.seed,
        "estimate_seconds": round(plan.estimate_seconds, 1),
        "cases": plan.cases,
        "blocks": [
            {"number": block.number, "workload": block.workload, "variants": list(block.variants)}
            for block in plan.blocks
        ],
        "skips": [{"what": skip.what, "reason": skip.reason, "fix": skip.fix} for skip in plan.skips],
    }


def answers(daemon: DaemonName) -> bool:
    """Whether the user's Docker or libvirt answers."""
    return ask(daemon, Deadline.after(ASK_SECONDS)).ok


def _startable(daemon: str, reason: str) -> Available:
    if choice := named(daemon):
        reason = f"{daemon} does not answer: {reason}"
        return Available(ok=False, reason=reason, fix=f"start the daemon that {choice.by} names, or {choice.undo}")
    if os.geteuid() != 0:
        return Available(ok=False, reason=f"{daemon} does not answer: {reason}", fix=f"sudo systemctl start {daemon}")
    if missing := missing_programs([daemon]):
        return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix="make setup")
    return Available(ok=True, reason=f"{daemon} does not answer; a run starts one of its own")
