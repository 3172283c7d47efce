"""The footprint measure: what idle and loaded instances take of the host's memory, by three methods side by side.

Proportional sets of the processes that serve them; the memory of their cgroups, and of a guest's process what is not
the guest's RAM; and how much less memory the host has available. docs/measures.md explains each.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace

from harness.deadline import Deadline
from harness.definitions.demands import MEASURES
from harness.errors import TareError
from harness.host import memory
from harness.host.cgroups import Charged, own_memory
from harness.host.cost import Cost
from harness.host.memory import Resident
from harness.measures.base import Environment
from harness.measures.command import sample
from harness.measures.held_memory import free, hold
from harness.model import Case, Role, Sample, Workload
from harness.runtimes.base import SHARED, VMM, Instance

MIB = 2**20
ROOM = 0.8
"""Most of the host's available memory that a case may take, as a share."""
GLANCE_SECONDS = 0.5
"""How often the host is looked at after memory was freed inside."""
SHOWN = ("AnonPages", "Shmem", "Cached", "Slab", "KernelStack", "PageTables", "MemFree", "MemAvailable")
"""Of /proc/meminfo, what is kept of its change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A workload's parameters: how many instances of how much memory; seconds of settling, of watching idle CPUs and of
    waiting for freed memory; MiB that each instance writes, and reads of files."""

    instances: int
    instance_mib: int
    settle_seconds: int
    watch_seconds: int
    touch_mib: int
    read_mib: int
    free_seconds: int

    @classmethod
    def of(cls, workload: Workload) -> "Wanted":
        """From the parameters, which are in their ranges (harness.definitions.demands)."""
        return cls(**{name: int(workload.parameters[name]) for name in MEASURES["footprint"].parameters})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the host shows at one moment, in bytes: of all instances together, `resident` memory and `cgroup` (None
    where not each has one of its own), of guests' processes what is not guest RAM (`vmm`) and that RAM (`ram`); the
    `daemons` that they share with others; and the whole host's `meminfo`."""

    resident: Resident
    daemons: int
    cgroup: Charged | None
    vmm: int | None
    ram: int | None
    meminfo: Mapping[str, int]


class FootprintMeasure:
    """Launches instances beside each other and looks at them from the host."""

    def measure(self, case: Case, environment: Environment, deadline: Deadline) -> Iterator[Sample]:
        """Every iteration is a set of instances of its own; see Measure.measure. What cannot be seen of a variant makes
        no sample."""
        workload = environment.workload(case.workload)
        wanted = Wanted.of(workload)
        for number in range(workload.warmup + workload.iterations):
            fields, cost = _iterate(case, environment, wanted, number, deadline.within(workload.timeout))
            for metric in workload.metrics:
                if (value := fields.get(metric.source)) is not None:
                    yield sample(metric, value, number, workload, cost, "")


def _iterate(
    case: Case, environment: Environment, wanted: Wanted, number: int, deadline: Deadline
) -> tuple[Mapping[str, float | None], Cost]:
    """One set of instances from launch to end: the workload's fields, and what the host spent meanwhile."""
    time.sleep(wanted.settle_seconds)  # for what the case before freed
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
        fields = _fields(wanted, before, alone, looks)
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
    return {**fields, "idle-cpu": busy}, meter.read()


def _launch(
    case: Case,
    environment: Environment,
    stack: ExitStack,
    wanted: Wanted,
    instances: list[Instance],
    deadline: Deadline,
) -> int:
    """Fill `instances`, one after another. Returns what the shared daemons had once there was one, in bytes."""
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
    """Have every instance hold memory, then free it, and look. Returns seconds since then with the resident bytes."""
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
    """What the host shows of these instances now. Raises TareError where it may not be seen, or one is gone."""
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
        hint = "run it as root (sudo): /proc/PID/smaps_rollup of others is root's"
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
    """Bytes for each instance, loaded where they were. Nothing that is zero: what the host does not see has no size."""
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
    """Host CPU seconds for each second of an instance that has nothing to do; daemons apart, which serve others too."""
    pids = [
        pid
        for one in instances
        for part, found in one.processes().items()
        for pid in found
        if part not in SHARED
    ]  # fmt: skip
    began, before = time.monotonic(), memory.cpu_seconds(pids)
    time.sleep(seconds)
    spent = memory.cpu_seconds(pids) - before
    return spent / (time.monotonic() - began) / len(instances) if pids else None


def _check_room(wanted: Wanted, host: Mapping[str, int]) -> None:
    needs, has = wanted.instances * wanted.instance_mib * MIB, host["MemAvailable"]
    if needs > ROOM * has:
        words = f"{wanted.instances} instances of {wanted.instance_mib} MiB, and {has // MIB} MiB are available"
        raise TareError("the host has too little memory for so many instances", details=words, hint="fewer instances")


def _sum(charged: Sequence[Charged]) -> Charged:
    return Charged(*(sum(values) for values in zip(*((c.whole, c.cache, c.kernel) for c in charged), strict=True)))


def _change(before: Mapping[str, int], after: Look) -> dict[str, int]:
    return {name: after.meminfo[name] - before[name] for name in SHOWN if name in before and name in after.meminfo}
