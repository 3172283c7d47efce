"""The isolation measure: what separates an instance from the host, observed and not judged.

It records whose kernel the instance runs on, what that kernel allows, what the host allows to the processes that serve
the instance, and how much of the host's kernel one small job reaches. Williams et al. (Unikernels as Processes, SoCC
2018) count the latter for the same purpose. No kernel module is ever loaded into the host's kernel.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import confinement
from harness.host.tracing import Kind, Untraceable, traced
from harness.measures.base import Environment, Measure
from harness.measures.command import launched, run_in, samples, values_of
from harness.model import Case, Role, Sample, Workload
from harness.readers import FieldNames
from harness.readers.gate import Gate
from harness.runtimes.base import Command, Instance

INSIDE = Path(__file__).resolve().parent.parent / "inside/boundary.py"
GATE = ("/opt/tare/gate",)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
VERSION = Path("/proc/version")
KINDS: tuple[Kind, ...] = ("syscalls", "functions")
INIT_MODULE = 175
"""The number of init_module on x86-64; the gate calls it with an empty module."""
NO_EXEC, NOT_PERMITTED = "E8", "E1"
SHOWN_DEVICES = 12
UNKNOWN = "unknown: the host cannot see which process serves it"


class IsolationMeasure(Measure):
    """Observes what separates an instance from its host."""

    needs = ("argv",)
    figures = FieldNames(
        ("syscalls-allowed", "capabilities", "devices", "own-namespaces", *(f"host-{kind}" for kind in KINDS))
    )

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """One instance, inspected and traced; see Measure.measure. A figure that is not available makes no sample;
        the reason is recorded."""
        workload = environment.workload(case.workload)
        with ExitStack() as stack:
            instance = launched(stack, environment, case, Role.SUBJECT, deadline)
            facts = instance.facts(deadline)
            environment.record(case, "facts", facts=dict(facts))
            meter = environment.meter()
            seen = _inspected(instance, deadline.within(workload.timeout))
            passed = instance.start(Command(argv=GATE), deadline).wait(deadline.within(workload.timeout))
            if passed.status != 0:
                raise TareError("the gate failed", details=passed.stderr[-500:])
            environment.keep(case, 0, passed, {})
            serving = int(facts["pid"]) if facts.get("pid", "").isdigit() else None
            reached = {kind: _reached(kind, serving, instance, workload, environment, deadline) for kind in KINDS}
            outside, unseen = _outside(serving)
            cost = meter.read()
        shared = seen["boot_id"] == BOOT_ID.read_text().strip()
        counts, shown = _summary(seen, passed.stdout, outside, shared=shared)
        for kind, (number, words) in reached.items():
            counts |= {} if number is None else {f"host-{kind}": number}
            shown[f"host {kind} reached"] = words
        shown |= {"on the host": unseen} if unseen else {}
        environment.record(case, "observed", what="isolation", shared_kernel=shared, told=shown, counts=counts)
        yield from samples(counts, workload.warmup, workload, cost, "")


def _inspected(instance: Instance, deadline: Deadline) -> dict[str, Any]:
    """What the instance sees of itself. Raises TareError for an output that is not JSON."""
    output = instance.start(Command(argv=("/usr/bin/python3", "-I", "-c", INSIDE.read_text())), deadline).wait(deadline)
    try:
        found: dict[str, Any] = json.loads(output.stdout)
        return found
    except ValueError:
        details = output.stderr[-500:]
        raise TareError("the inspection inside an instance failed", details=details) from None


def _outside(serving: int | None) -> tuple[Mapping[str, str], str]:
    """How the host confines the processes that serve the instance, and why that is unknown ("" where it is known)."""
    if serving is None:
        return {}, UNKNOWN
    try:
        return confinement.confinement(confinement.innermost(serving)), ""
    except TareError as error:
        return {}, f"unknown: {error.brief}"


def _reached(
    kind: Kind,
    serving: int | None,
    instance: Instance,
    workload: Workload,
    environment: Environment,
    deadline: Deadline,
) -> tuple[float | None, str]:
    """How many different calls or functions of the host's kernel the job reaches, and words; None with the reason."""
    if serving is None:
        return None, UNKNOWN
    values = values_of(workload, environment)
    try:
        with traced(kind, [serving]) as reached:
            run_in(instance, workload.argv, workload, values, deadline)
    except Untraceable as error:
        return None, f"unknown: {error.brief}" + (f" ({error.details})" if error.details else "")
    least = "at least " if reached.lost else ""
    return float(len(reached.found)), f"{least}{len(reached.found)}, in {reached.found.total():,} calls"


def _summary(
    seen: Mapping[str, Any], gated: str, outside: Mapping[str, str], *, shared: bool
) -> tuple[dict[str, float], dict[str, str]]:
    """The counts that become samples, and all findings in words."""
    status = confinement.fields(seen["status"])
    gate = Gate()
    calls, answers = gate.read(gated, {}), gate.answers(gated)
    held = confinement.capabilities(status["CapEff"])
    apart = outside.get("namespaces", "").split() if shared else list(seen["namespaces"])
    apart = [kind for kind in apart if kind != "none" and not kind.endswith("_for_children")]
    known = not shared or bool(outside)
    whose = "" if shared else ", of its own kernel"
    counts = {
        "syscalls-allowed": calls["allowed"],
        "capabilities": float(held),
        "devices": float(len(seen["devices"])),
        **({"own-namespaces": float(len(apart))} if known else {}),
    }
    refusals = ", ".join(f"{calls[word]:.0f} {word}" for word in gate.fields[1:])
    shown = {
        "kernel": "the host's" if shared else f"its own: {seen['release']}",
        "another kernel version than the host's": "yes" if seen["version"] != VERSION.read_text().strip() else "no",
        "kernel module": _module(answers.get(INIT_MODULE, ""), seen["modules"], shared=shared),
        "system calls that pass": f"{calls['allowed']:.0f}{whose} ({refusals})",
        "capabilities": f"{held}{whose}",
        "user inside": status["Uid"].split()[0],
        "seccomp": confinement.SECCOMP.get(status.get("Seccomp", ""), "unknown"),
        "no_new_privs": "yes" if status.get("NoNewPrivs") == "1" else "no",
        "LSM profile": seen["lsm"] or "none",
        "namespaces apart from the host's": " ".join(apart) + whose if apart else "none" if known else "unknown",
        "root": "read-only" if "ro" in seen["root"].split(",") else "writable",
        "devices": _devices(seen["devices"]),
    }
    return counts, shown | {f"on the host: {name}": value for name, value in outside.items()}


def _module(answer: str, loaded: int, *, shared: bool) -> str:
    if shared:
        if answer == NOT_PERMITTED:
            return "refused (EPERM)"
        return "not tried: the host's kernel would load it"
    if loaded:
        return f"yes: {loaded} are loaded, by its own init"
    return "possible (tried with an empty module)" if answer == NO_EXEC else "not supported by its kernel"


def _devices(names: list[str]) -> str:
    shown = " ".join(name.removeprefix("/dev/") for name in names[:SHOWN_DEVICES])
    return f"{len(names)}: {shown}{' …' if len(names) > SHOWN_DEVICES else ''}"
