"""CPU and memory allotment: the shape's CPUs and memory, and the CPUs of the harness and the peer."""

import contextlib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ExitCode, TareError, bad_input
from harness.model import Shape, Skip

SYSFS = Path("/sys/devices")
MOST_VCPUS = 4
MEMORY_MIB = 1024
LEAST_MEMORY_MIB = 512
SLOW = 0.8  # a core with less than this share of the fastest core's capacity is an efficiency core


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The host's usable CPUs and memory.

    `cores` are tuples of logical CPUs, one per physical core, preferred cores last. Memory is in MiB.
    """

    cores: tuple[tuple[int, ...], ...]
    memory_mib: int
    available_mib: int

    @property
    def cpus(self) -> tuple[int, ...]:
        """The usable logical CPUs."""
        return tuple(sorted(cpu for core in self.cores for cpu in core))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """The shape, the CPUs of the harness and the peer, and notes for the report."""

    shape: Shape
    harness_cpus: tuple[int, ...]
    notes: tuple[str, ...] = ()


def topology() -> Topology:
    """The CPUs that this process may use and the host's memory (sched_getaffinity, sysfs, /proc/meminfo)."""
    usable = os.sched_getaffinity(0)
    cores = {_siblings(cpu) & usable for cpu in usable}
    slow = _slow_cpus(usable)
    ordered = sorted(
        (tuple(sorted(core)) for core in cores), key=lambda core: (core[0] not in slow, _node(core[0]), core)
    )
    memory = _meminfo()
    return Topology(cores=tuple(ordered), memory_mib=memory["MemTotal"], available_mib=memory["MemAvailable"])


def choose_shape(host: Topology | None = None, *, vcpus: int | None = None, memory_mib: int | None = None) -> Allotment:
    """Choose the shape: up to four vCPUs, one per physical core; at least one core stays outside if possible.

    The SMT siblings of the shape's CPUs stay idle, so that neither the harness nor another vCPU shares their core.
    `vcpus` and `memory_mib` (MiB) override the defaults; SMT siblings are then used if there are too few cores.
    Raises a bad-input error if they exceed the host, and HOST_NOT_FIT if the host has too little memory for any shape.
    """
    host = host or topology()
    available = host.cpus
    if vcpus is not None and not 1 <= vcpus <= len(available):
        problem = f"{vcpus} vCPUs, but this host has {len(available)} usable CPUs"
        raise bad_input("vcpus", problem, f"choose a number from 1 to {len(available)}")
    wanted = vcpus or max(1, min(MOST_VCPUS, len(host.cores) - 1))
    chosen = _one_cpu(host) if wanted == 1 else _pick(host.cores, wanted)
    siblings = {cpu for core in host.cores if set(core) & set(chosen) for cpu in core}
    notes = []
    harness = tuple(cpu for cpu in available if cpu not in siblings)
    if not harness and (harness := tuple(cpu for cpu in available if cpu not in chosen)):
        notes.append(
            f"harness and peer run on SMT siblings of the shape's CPUs ({_list(harness)}): no other core is available"
        )
    if not harness:
        harness = available
        notes.append(f"harness and peer share the shape's CPUs ({_list(chosen)}): no other CPU is available")
    if idle := sorted(siblings - set(chosen) - set(harness)):
        notes.append(f"CPUs {_list(idle)} stay idle: they are SMT siblings of the shape's CPUs")
    if len(harness) == 1 and len(available) > 1:
        notes.append(f"harness and peer share CPU {harness[0]}")
    memory = _memory(host, memory_mib, notes)
    return Allotment(shape=Shape(cpus=chosen, memory_mib=memory), harness_cpus=harness, notes=tuple(notes))


@contextlib.contextmanager
def pin_harness(cpus: Iterable[int]) -> Iterator[None]:
    """Pin every thread of this process to `cpus`, and restore the previous affinities at the end.

    Child processes inherit the affinity, so runtimes set the shape's affinity explicitly.
    """
    wanted = frozenset(cpus)
    own = os.sched_getaffinity(0)
    before = {thread: mask for thread in _threads() if (mask := _affinity(thread)) is not None}
    try:
        _move(dict.fromkeys(_threads(), wanted))
        yield
    finally:
        _move({thread: before.get(thread, own) for thread in _threads()})


def missing_memory(instances: int, each_mib: int, what: str) -> Skip | None:
    """The skip of `what` if so many instances of `each_mib` MiB do not fit into memory at once; else None."""
    wanted, available = instances * each_mib, _meminfo().get("MemAvailable", 0)
    if wanted <= available * 3 // 4:
        return None
    reason = (
        f"{instances} concurrent instances need {wanted * 4 // 3} MiB of memory (a quarter in reserve), "
        f"{available} MiB are available"
    )
    return Skip(what=what, reason=reason, fix=f"end programs to free {wanted * 4 // 3 - available} MiB of memory")


def cpu_list(text: str) -> frozenset[int]:
    """The CPUs of a kernel list such as `0-3,8`."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _one_cpu(host: Topology) -> tuple[int, ...]:
    return (host.cores[-1][-1],)


def _pick(cores: tuple[tuple[int, ...], ...], wanted: int) -> tuple[int, ...]:
    """One CPU of each preferred core, then their SMT siblings; one core is kept for the harness if possible."""
    inner = cores[1:] if sum(map(len, cores[1:])) >= wanted else cores
    depth = max(map(len, inner))
    order = [core[thread] for thread in range(depth) for core in reversed(inner) if thread < len(core)]
    return tuple(sorted(order[:wanted]))


def _memory(host: Topology, requested: int | None, notes: list[str]) -> int:
    if requested is not None:
        least, most = LEAST_MEMORY_MIB // 2, host.memory_mib * 3 // 4
        if not least <= requested <= most:
            raise bad_input("memory_mib", f"{requested} MiB is out of range", f"choose {least} to {most} MiB")
        return requested
    if host.available_mib < LEAST_MEMORY_MIB * 3 // 2:
        raise TareError(
            f"{host.available_mib} MiB of memory are available, a run needs {LEAST_MEMORY_MIB * 3 // 2} MiB",
            hint=f"end programs to free {LEAST_MEMORY_MIB * 3 // 2 - host.available_mib} MiB of memory",
            code=ExitCode.HOST_NOT_FIT,
        )
    fitting = min(MEMORY_MIB, max(LEAST_MEMORY_MIB, host.available_mib // 3 // 128 * 128))
    if fitting < MEMORY_MIB:
        notes.append(f"instances get {fitting} MiB of memory: this host has {host.available_mib} MiB available")
    return fitting


def _siblings(cpu: int) -> frozenset[int]:
    text = _read(SYSFS / f"system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return cpu_list(text) if text else frozenset({cpu})


def _node(cpu: int) -> int:
    nodes = (SYSFS / f"system/cpu/cpu{cpu}").glob("node[0-9]*")
    return next((int(node.name.removeprefix("node")) for node in nodes), 0)


def _slow_cpus(usable: Iterable[int]) -> frozenset[int]:
    """Efficiency cores: Intel lists them in cpu_atom/cpus, ARM has a cpu_capacity per CPU."""
    if atom := _read(SYSFS / "cpu_atom/cpus"):
        return cpu_list(atom)
    texts = {cpu: _read(SYSFS / f"system/cpu/cpu{cpu}/cpu_capacity") for cpu in usable}
    capacity = {cpu: int(text) for cpu, text in texts.items() if text.strip().isdigit()}
    return frozenset(cpu for cpu, has in capacity.items() if has < SLOW * max(capacity.values()))


def _meminfo() -> dict[str, int]:
    """The fields of /proc/meminfo, in MiB."""
    fields = (line.split() for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
    return {words[0].rstrip(":"): int(words[1]) // 1024 for words in fields}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _threads() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]


def _affinity(thread: int) -> frozenset[int] | None:
    try:
        return frozenset(os.sched_getaffinity(thread))
    except ProcessLookupError:
        return None


def _move(masks: Mapping[int, Collection[int]]) -> None:
    for thread, mask in masks.items():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, mask)


def _list(cpus: Iterable[int]) -> str:
    return ",".join(map(str, cpus))
