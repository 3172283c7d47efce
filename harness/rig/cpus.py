"""Who runs where: the shape's CPUs, and the CPUs that the harness and the peer keep to."""

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
    """What there is to share out: `cores` are the usable logical CPUs by physical core, the cores to prefer last."""

    cores: tuple[tuple[int, ...], ...]
    memory_mib: int
    available_mib: int

    @property
    def cpus(self) -> tuple[int, ...]:
        """The usable logical CPUs."""
        return tuple(sorted(cpu for core in self.cores for cpu in core))


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """Who gets what: the shape, the CPUs of harness and peer, and what the report must say about it."""

    shape: Shape
    harness_cpus: tuple[int, ...]
    notes: tuple[str, ...] = ()


def topology() -> Topology:
    """The CPUs that this process may use and the memory, from sched_getaffinity, sysfs and /proc/meminfo."""
    usable = os.sched_getaffinity(0)
    cores = {_siblings(cpu) & usable for cpu in usable}
    slow = _slow_cpus(usable)
    ordered = sorted(
        (tuple(sorted(core)) for core in cores), key=lambda core: (core[0] not in slow, _node(core[0]), core)
    )
    memory = _meminfo()
    return Topology(cores=tuple(ordered), memory_mib=memory["MemTotal"], available_mib=memory["MemAvailable"])


def choose_shape(host: Topology | None = None, *, vcpus: int | None = None, memory_mib: int | None = None) -> Allotment:
    """Share the host out: up to four vCPUs, one per physical core from the last ones, at least one core left outside.

    The SMT siblings of the shape's CPUs stay idle, so that neither the harness nor a second vCPU shares their core.
    `vcpus` and `memory_mib` (MiB) are the user's own choice; siblings are then used where the cores do not suffice.
    Raises a bad-input error when they exceed the host, and HOST_NOT_FIT when memory is too small for any shape.
    """
    host = host or topology()
    available = host.cpus
    if vcpus is not None and not 1 <= vcpus <= len(available):
        raise bad_input("--vcpus", f"{vcpus} is not between 1 and this host's {len(available)}", "choose fewer vCPUs")
    wanted = vcpus or max(1, min(MOST_VCPUS, len(host.cores) - 1))
    chosen = _one_cpu(host) if wanted == 1 else _pick(host.cores, wanted)
    siblings = {cpu for core in host.cores if set(core) & set(chosen) for cpu in core}
    notes = []
    harness = tuple(cpu for cpu in available if cpu not in siblings)
    if not harness and (harness := tuple(cpu for cpu in available if cpu not in chosen)):
        notes.append(
            f"harness and peer run on SMT siblings of the shape's CPUs ({_list(harness)}): one core is all there is"
        )
    if not harness:
        harness = available
        notes.append(f"harness and peer share the shape's CPUs ({_list(chosen)}): nothing is left outside")
    if idle := sorted(siblings - set(chosen) - set(harness)):
        notes.append(f"CPUs {_list(idle)} stay idle: they are SMT siblings of the shape's")
    if len(harness) == 1 and len(available) > 1:
        notes.append(f"harness and peer share CPU {harness[0]}")
    memory = _memory(host, memory_mib, notes)
    return Allotment(shape=Shape(cpus=chosen, memory_mib=memory), harness_cpus=harness, notes=tuple(notes))


@contextlib.contextmanager
def pin_harness(cpus: Iterable[int]) -> Iterator[None]:
    """Keep every thread of this process on `cpus`, and put each back at the end.

    Children inherit this, so a runtime sets the shape's affinity explicitly on what it starts.
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
    """None where so many instances of `each_mib` MiB have room at once; else the skip, with reason and fix."""
    wanted, available = instances * each_mib, _meminfo().get("MemAvailable", 0)
    if wanted <= available * 3 // 4:
        return None
    reason = (
        f"{instances} instances at once need {wanted} MiB of memory and a third to spare, {available} are available"
    )
    return Skip(what=what, reason=reason, fix="end something that uses memory, or choose a smaller shape with --memory")


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
    """One CPU of each preferred core, then their siblings, keeping one core back where that is possible."""
    inner = cores[1:] if sum(map(len, cores[1:])) >= wanted else cores
    depth = max(map(len, inner))
    order = [core[thread] for thread in range(depth) for core in reversed(inner) if thread < len(core)]
    return tuple(sorted(order[:wanted]))


def _memory(host: Topology, asked: int | None, notes: list[str]) -> int:
    if asked is not None:
        if not LEAST_MEMORY_MIB // 2 <= asked <= host.memory_mib * 3 // 4:
            limit = f"{LEAST_MEMORY_MIB // 2} and three quarters of this host's {host.memory_mib} MiB"
            raise bad_input("--memory", f"{asked} MiB is not between {limit}", "choose another size")
        return asked
    if host.available_mib < LEAST_MEMORY_MIB * 3 // 2:
        raise TareError(
            f"only {host.available_mib} MiB of memory are available, a shape takes at least {LEAST_MEMORY_MIB} MiB",
            hint="end something that uses memory, or choose a smaller shape with --memory",
            code=ExitCode.HOST_NOT_FIT,
        )
    fitting = min(MEMORY_MIB, max(LEAST_MEMORY_MIB, host.available_mib // 3 // 128 * 128))
    if fitting < MEMORY_MIB:
        notes.append(f"instances get {fitting} MiB: this host has {host.available_mib} MiB available")
    return fitting


def _siblings(cpu: int) -> frozenset[int]:
    text = _read(SYSFS / f"system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return cpu_list(text) if text else frozenset({cpu})


def _node(cpu: int) -> int:
    nodes = (SYSFS / f"system/cpu/cpu{cpu}").glob("node[0-9]*")
    return next((int(node.name.removeprefix("node")) for node in nodes), 0)


def _slow_cpus(usable: Iterable[int]) -> frozenset[int]:
    """Efficiency cores: Intel names them in cpu_atom, ARM gives every CPU a capacity."""
    if atom := _read(SYSFS / "cpu_atom/cpus"):
        return cpu_list(atom)
    texts = {cpu: _read(SYSFS / f"system/cpu/cpu{cpu}/cpu_capacity") for cpu in usable}
    capacity = {cpu: int(text) for cpu, text in texts.items() if text.strip().isdigit()}
    return frozenset(cpu for cpu, has in capacity.items() if has < SLOW * max(capacity.values()))


def _meminfo() -> dict[str, int]:
    """MiB by /proc/meminfo's field name."""
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
