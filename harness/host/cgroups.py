"""The cgroup (v1 or v2) of a process: its CPU time, CPU weight, memory and memory events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from harness.errors import TareError

DEFAULT, UNKNOWN = "default", "unknown"
SHARES, WEIGHT = ("cpu.shares", 1024), ("cpu.weight", 100)
"""The file of a cgroup's CPU weight and its default value, for version 1 and for version 2."""
OWN = re.compile(r"tare-[0-9a-f]{6}-\d+|[0-9a-f]{12,}")
"""Matches the cgroup names of a single instance: they contain the instance's name or a container id."""


@dataclass(frozen=True, slots=True)
class Charged:
    """The memory that is charged to a cgroup, in bytes.

    `whole` is the total. `cache` is its page cache without shared memory. `kernel` is its kernel memory: slab,
    stacks, and page tables if the kernel counts them.
    """

    whole: int
    cache: int
    kernel: int


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroup of a process: its directories for CPU time and memory; `unified` is True for version 2."""

    cpu: Path
    memory: Path | None
    unified: bool

    def cpu_seconds(self) -> float:
        """The CPU seconds of all processes that have run in the cgroup. Raises OSError if the cgroup is gone."""
        if self.unified:
            return _field(self.cpu / "cpu.stat", "usage_usec") / 1e6
        return int((self.cpu / "cpuacct.usage").read_text()) / 1e9

    def oom_kills(self) -> int | None:
        """The number of OOM kills in the cgroup; None if no controller counts them."""
        if self.memory is None:
            return None
        try:
            return _field(self.memory / ("memory.events" if self.unified else "memory.oom_control"), "oom_kill")
        except OSError:
            return None

    def charged(self) -> Charged | None:
        """The memory charged to the cgroup; None if no controller counts it.

        Version 1 is accurate to about 100 kB per CPU, because memory.usage_in_bytes is cached. Sources: the kernel's
        admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
        """
        if self.memory is None:
            return None
        names = ("file", "shmem", "kernel") if self.unified else ("total_cache", "total_shmem", "")
        try:
            if self.unified:
                kernel = _fields(self.memory / "memory.stat").get("kernel", 0)
                whole = int((self.memory / "memory.current").read_text())
            else:
                kernel = int((self.memory / "memory.kmem.usage_in_bytes").read_text())
                whole = int((self.memory / "memory.usage_in_bytes").read_text())
            stat = _fields(self.memory / "memory.stat")
        except OSError:
            return None
        return Charged(whole=whole, cache=stat.get(names[0], 0) - stat.get(names[1], 0), kernel=kernel)

    def pids(self) -> tuple[int, ...]:
        """The ids of the processes in the cgroup; empty if the cgroup is gone."""
        try:
            return tuple(map(int, (self.cpu / "cgroup.procs").read_text().split()))
        except OSError:
            return ()


def cgroup_of(pid: int) -> Cgroup:
    """The cgroup of a process. Raises TareError if no mounted hierarchy accounts its CPU time."""
    paths, mounts = _paths(pid), _mounts()
    # In the hybrid layout the unified hierarchy is mounted too, but without controllers: version 1 comes first.
    if "cpuacct" in paths and "cpuacct" in mounts:
        memory = mounts["memory"] / paths["memory"] if "memory" in paths and "memory" in mounts else None
        return Cgroup(mounts["cpuacct"] / paths["cpuacct"], memory, unified=False)
    if "" in paths and "" in mounts:
        directory = mounts[""] / paths[""]
        return Cgroup(directory, _counting(directory, mounts[""]), unified=True)
    raise TareError(
        f"no mounted cgroup hierarchy accounts the CPU time of process {pid}",
        details=f"/proc/{pid}/cgroup lists the controllers {sorted(paths)}",
        hint="mount cgroup v2 at /sys/fs/cgroup, or the cpuacct controller of v1",
    )


def cpu_weight(pid: int) -> str:
    """The CPU weights of a process's cgroup and its parents, in the format of `weights`, for the parity table.

    Returns `unknown` instead of raising when the process is gone.
    """
    try:
        return weights(_paths(pid), _mounts())
    except TareError:
        return UNKNOWN


def weights(paths: Mapping[str, str], mounts: Mapping[str, Path]) -> str:
    """The CPU weights from the root cgroup down to a process, e.g. `machine=4096 (4 × the default)`.

    `paths` and `mounts` are by controller. Only levels whose weight is not the default are listed; the result is
    `default` if there are none, and `unknown` if the cgroup is not visible from this namespace. The names of an
    instance's own levels become `…`, so that two instances compare equal. Sources: the kernel's
    admin-guide/cgroup-v2.rst and scheduler/sched-design-CFS.rst.
    """
    # The CPU controller belongs to version 1 if /proc/PID/cgroup lists it, even if it is not mounted.
    controller, (file, usual) = ("cpu", SHARES) if "cpu" in paths else ("", WEIGHT)
    if controller not in paths or controller not in mounts:
        return UNKNOWN
    top, parts = mounts[controller], PurePosixPath(paths[controller]).parts
    if ".." in parts or not top.joinpath(*parts).is_dir():
        return UNKNOWN
    levels = [parts[:depth] for depth in range(1, len(parts) + 1)]
    found = [(_level(level), _weight(top.joinpath(*level, file))) for level in levels]
    # In version 2 a level has no weight if its parent does not delegate the controller; levels below have none either.
    if controller and any(weight is None for _, weight in found):
        return UNKNOWN
    odd = [(level, weight) for level, weight in found if weight is not None and weight != usual]
    return ", ".join(f"{level}={weight} ({weight / usual:.3g} × the default)" for level, weight in odd) or DEFAULT


def own_memory(pid: int, mine: int) -> Charged | None:
    """The memory charged to the memory cgroup of `pid`.

    Returns None if other processes share that cgroup: it is the root, or it is also the cgroup of process `mine`.
    """
    try:
        theirs, ours = cgroup_of(pid), cgroup_of(mine)
    except TareError:
        return None
    if theirs.memory is None or theirs.memory == ours.memory or theirs.memory in _mounts().values():
        return None
    return theirs.charged()


def _level(parts: tuple[str, ...]) -> str:
    """A cgroup path with instance names replaced by `…`; systemd escapes hyphens as \\x2d."""
    return "/".join("…" if OWN.search(part.replace("\\x2d", "-")) else part for part in parts)


def _weight(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _counting(directory: Path, top: Path) -> Path:
    """The nearest directory, from `directory` up to `top`, that counts memory; threaded cgroups (libvirt's) do not."""
    for folder in (directory, *directory.parents):
        if folder == top or (folder / "memory.current").exists():
            return folder
    return directory


def _paths(pid: int) -> dict[str, str]:
    """The cgroup paths of a process by controller; "" is the unified hierarchy (v2)."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as error:
        raise TareError(f"cannot read the cgroup of process {pid}", details=str(error)) from error
    paths: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    return paths


def _mounts() -> dict[str, Path]:
    mounts: dict[str, Path] = {}
    for mount in psutil.disk_partitions(all=True):
        if mount.fstype == "cgroup2":
            mounts[""] = Path(mount.mountpoint)
        elif mount.fstype == "cgroup":
            mounts |= dict.fromkeys(mount.opts.split(","), Path(mount.mountpoint))
    return mounts


def _field(path: Path, name: str) -> int:
    found = _fields(path)
    if name not in found:
        raise FileNotFoundError(f"{path} has no field {name}")
    return found[name]


def _fields(path: Path) -> dict[str, int]:
    """The fields of a file that has a name and a number on each line."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
