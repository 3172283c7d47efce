"""The footprint measure: the host memory that idle and loaded instances take, by three methods side by side.

The methods are: the proportional set size (PSS) of the processes that serve the instances; the memory of their cgroups
and, of a guest's process, everything but the guest's RAM; and the decrease of the host's available memory. See
docs/measures.md for what each method counts.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, replace

from harness.deadline import Deadline
from harness.definitions.declaration import Number
from harness.errors import TareError
from harness.host import memory
from harness.host.cgroups import Charged, own_memory
from harness.host.cost import Cost
from harness.host.memory import Resident
from harness.measures.base import Environment, Measure
from harness.measures.command import samples
from harness.measures.held_memory import free, hold
from harness.model import Case, Role, Sample, Workload
from harness.readers import FieldNames
from harness.runtimes.base import SHARED, VMM, Instance

MIB = 2**20
ROOM = 0.8
"""The largest share of the host's available memory that a case may take."""
GLANCE_SECONDS = 0.5
"""The interval between two readings after memory was freed inside."""
SHOWN = ("AnonPages", "Shmem", "Cached", "Slab", "KernelStack", "PageTables", "MemFree", "MemAvailable")
"""The fields of /proc/meminfo whose change is recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workload's parameters: the number of instances and their memory; seconds to settle, to watch idle CPUs and to
    wait for freed memory; MiB that each instance writes, and MiB of files that it reads."""

    instances: int
    instance_mib: int
    settle_seconds: int
    watch_seconds: int
    touch_mib: int
    read_mib: int
    free_seconds: int

    @classmethod
    def of(cls, workload: Workload) -> "Wanted":
        """From the workload's parameters, which have been validated."""
        return cls(**{one.name: int(workload.parameters[one.name]) for one in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One reading of the host, in bytes.

    Of all instances together: `resident` memory, their `cgroup` (None unless each has one of its own), a guest's
    process without the guest's RAM (`vmm`), and that RAM (`ram`). `daemons` are shared with other instances. `meminfo`
    is of the whole host.
    """

    resident: Resident
    daemons: int
    cgroup: Charged | None
    vmm: int | None
    ram: int | None
    meminfo: Mapping[str, int]


class FootprintMeasure(Measure):
    """Launches instances beside each other and reads their memory from the host."""

    parameters = (
        Number("instances", 1, 100),
        Number("instance_mib", 64, 10**6),
        Number("settle_seconds", 1, 60),
        Number("watch_seconds", 1, 600),
        Number("touch_mib", 0, 10**6),
        Number("read_mib", 0, 10**6),
        Number("free_seconds", 0, 600),
    )
    figures = FieldNames(
        ("pss", "cgroup", "cgroup-uncached", "vmm", "available", "daemons", "daemons-each", "returned", "idle-cpu")
    )

    def case_seconds(self, workload: Workload, launch_seconds: float) -> float:
        """In each iteration: launches one after another, then pauses."""
        wanted = Wanted.of(workload)
        pauses = 3 * wanted.settle_seconds + wanted.watch_seconds + wanted.free_seconds
        return workload.all_iterations * (wanted.instances * launch_seconds + pauses)

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Every iteration has a new set of instances; see Measure.measure. A figure that a variant lacks makes no
        sample."""
        workload = environment.workload(case.workload)
        wanted = Wanted.of(workload)
        for number in range(workload.all_iterations):
            found, cost = _iterate(case, environment, wanted, number, deadline.within(workload.timeout))
            yield from samples(found, number, workload, cost, "")


def _iterate(
    case: Case, environment: Environment, wanted: Wanted, number: int, deadline: Deadline
) -> tuple[Mapping[str, float | None], Cost]:
    """One set of instances, from launch to removal: the fields, and the host's cost meanwhile."""
    time.sleep(wanted.settle_seconds)  # the previous case freed memory
    before, merging, meter = memory.meminfo(), memory.merging(), environment.meter()
    _check_room(wanted, before)
    with ExitStack() as stack:
        instances: list[Instance] = []
        alone = _launch(case, environment, stack, wanted, instances, deadline)
        time.sleep(wanted.settle_seconds)
        busy = _busy(instances, wanted.watch_seconds)
        looks = {"idle": look(instances, wanted.instance_mib)}
        curve: list[tuple[float, int]] = []
        if wanted.touch_mib:
            curve = _hold_and_free(instances, wanted, looks, deadline)
        found = _fields(wanted, before, alone, looks)
    environment.record(
        case,
        "observed",
        what="footprint",
        iteration=number,
        wanted=asdict(wanted),
        looks={name: asdict(one) | {"meminfo": _change(before, one)} for name, one in looks.items()},
        alone=alone,
        curve=curve,
        merging={"before": merging, "after": memory.merging()},
    )
    return {**found, "idle-cpu": busy}, meter.read()


def _launch(
    case: Case,
    environment: Environment,
    stack: ExitStack,
    wanted: Wanted,
    instances: list[Instance],
    deadline: Deadline,
) -> int:
    """Fill `instances`, one after another. Returns the bytes of the shared daemons beside the first one."""
    shape = replace(environment.shape, memory_mib=wanted.instance_mib)
    alone = 0
    for _ in range(wanted.instances):
        one = stack.enter_context(environment.launch(case, Role.SUBJECT, "agent", deadline, shape=shape))
        one.wait(one.last, deadline)
        instances.append(one)
        if len(instances) == 1:
            environment.record(case, "facts", facts=dict(one.facts(deadline)))
            alone = look(instances, wanted.instance_mib).daemons
    return alone


def _hold_and_free(
    instances: Sequence[Instance], wanted: Wanted, looks: dict[str, Look], deadline: Deadline
) -> list[tuple[float, int]]:
    """Let every instance hold memory and free it again. Returns seconds since the release, with the resident bytes."""
    for one in instances:
        hold(one, wanted.touch_mib, wanted.read_mib, deadline)
    time.sleep(wanted.settle_seconds)
    looks["held"] = look(instances, wanted.instance_mib)
    for one in instances:
        free(one, deadline)
    began, curve = time.monotonic(), []
    while (since := time.monotonic() - began) < wanted.free_seconds:
        curve.append((round(since, 2), look(instances, wanted.instance_mib).resident.pss))
        time.sleep(GLANCE_SECONDS)
    looks["freed"] = look(instances, wanted.instance_mib)
    return curve


def look(instances: Sequence[Instance], ram_mib: int) -> Look:
    """Read these instances' memory from the host. Raises TareError without permission, or when an instance is gone."""
    own, daemons, guests, charged = Resident(), set[int](), list[tuple[int, int]](), list[Charged | None]()
    try:
        for one in instances:
            parts = one.processes()
            daemons |= {pid for part in SHARED & parts.keys() for pid in parts[part]}
            own += memory.resident(pid for part in parts.keys() - SHARED for pid in parts[part])
            first = next((pids[0] for pids in parts.values() if pids), None)
            charged.append(own_memory(first, os.getpid()) if first else None)
            for pid in parts.get(VMM, ()):
                if (ram := memory.guest_ram(pid, ram_mib * MIB)) is not None:
                    guests.append((memory.resident([pid]).rss, ram))
        shared = memory.resident(daemons)
    except PermissionError as error:
        hint = "run tare as root (sudo): only root reads /proc/PID/smaps_rollup of other users"
        raise TareError("the memory of an instance's processes cannot be read", details=str(error), hint=hint) from None
    known = [one for one in charged if one is not None]
    return Look(
        resident=own,
        daemons=shared.pss,
        cgroup=_sum(known) if len(known) == len(instances) else None,
        vmm=sum(rss - ram for rss, ram in guests) if guests else None,
        ram=sum(ram for _, ram in guests) if guests else None,
        meminfo=memory.meminfo(),
    )


def _fields(
    wanted: Wanted, before: Mapping[str, int], alone: int, looks: Mapping[str, Look]
) -> dict[str, float | None]:
    """Bytes per instance, under load where there was one; None for a figure that is zero, since it cannot be seen."""
    many, idle = wanted.instances, looks["idle"]
    full = looks.get("held", idle)
    charged = full.cgroup
    found: dict[str, float | None] = {
        "pss": full.resident.pss / many or None,
        "cgroup": charged.whole / many if charged else None,
        "cgroup-uncached": (charged.whole - charged.cache) / many if charged else None,
        "vmm": full.vmm / many if full.vmm else None,
        "available": (before["MemAvailable"] - full.meminfo["MemAvailable"]) / many,
        "daemons": full.daemons or None,
        "daemons-each": (idle.daemons - alone) / (many - 1) if many > 1 and idle.daemons else None,
    }
    if "freed" in looks and full.resident.pss:
        found["returned"] = (full.resident.pss - looks["freed"].resident.pss) / (many * wanted.touch_mib * MIB)
    return found


def _busy(instances: Sequence[Instance], seconds: int) -> float | None:
    """Host CPU seconds per second of an idle instance, without daemons that serve other instances too."""
    shown = [parts for one in instances for part, parts in one.processes().items() if part not in SHARED]
    pids = [pid for parts in shown for pid in parts]
    began, before = time.monotonic(), memory.cpu_seconds(pids)
    time.sleep(seconds)
    spent = memory.cpu_seconds(pids) - before
    return spent / (time.monotonic() - began) / len(instances) if pids else None


def _check_room(wanted: Wanted, host: Mapping[str, int]) -> None:
    needs, has = wanted.instances * wanted.instance_mib * MIB, host["MemAvailable"]
    if needs > ROOM * has:
        words = f"{wanted.instances} instances of {wanted.instance_mib} MiB, and {has // MIB} MiB are available"
        hint = "lower the workload's parameter instances or instance_mib"
        raise TareError("the host has too little memory for so many instances", details=words, hint=hint)


def _sum(charged: Sequence[Charged]) -> Charged:
    return Charged(*(sum(values) for values in zip(*((c.whole, c.cache, c.kernel) for c in charged), strict=True)))


def _change(before: Mapping[str, int], after: Look) -> dict[str, int]:
    return {name: after.meminfo[name] - before[name] for name in SHOWN if name in before and name in after.meminfo}
