"""A process's cgroup of either version: its CPU time, its memory and its memory events."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import TareError


@dataclass(frozen=True, slots=True)
class Charged:
    """What a cgroup is charged for, in bytes: `whole`, and of it `cache` (files in the page cache, shared memory not
    among them) and `kernel` (slab, stacks, and the page tables where the kernel counts them)."""

    whole: int
    cache: int
    kernel: int


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A process's cgroup: the directories that hold its CPU time and its memory, by version."""

    cpu: Path
    memory: Path | None
    unified: bool

    def cpu_seconds(self) -> float:
        """CPU time of everything that ever ran in it. Raises OSError once it is gone."""
        if self.unified:
            return _field(self.cpu / "cpu.stat", "usage_usec") / 1e6
        return int((self.cpu / "cpuacct.usage").read_text()) / 1e9

    def oom_kills(self) -> int | None:
        """How many of its processes the kernel has killed for memory; None where nothing counts that."""
        if self.memory is None:
            return None
        try:
            return _field(self.memory / ("memory.events" if self.unified else "memory.oom_control"), "oom_kill")
        except OSError:
            return None

    def charged(self) -> Charged | None:
        """Its memory; None where nothing counts that.

        Version 1 counts to about 100 kB for each CPU (memory.usage_in_bytes is cached). Sources: the kernel's
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
        """Its processes, none once it is gone."""
        try:
            return tuple(map(int, (self.cpu / "cgroup.procs").read_text().split()))
        except OSError:
            return ()


def cgroup_of(pid: int) -> Cgroup:
    """The cgroup of a process, as seen from here. Raises TareError when no mounted hierarchy accounts its CPU time."""
    paths, mounts = _paths(pid), _mounts()
    # In the hybrid layout the unified hierarchy is mounted too, but without controllers: version 1 comes first.
    if "cpuacct" in paths and "cpuacct" in mounts:
        memory = mounts["memory"] / paths["memory"] if "memory" in paths and "memory" in mounts else None
        return Cgroup(mounts["cpuacct"] / paths["cpuacct"], memory, unified=False)
    if "" in paths and "" in mounts:
        directory = mounts[""] / paths[""]
        return Cgroup(directory, _counting(directory, mounts[""]), unified=True)
    raise TareError("a process's cgroup cannot be found", details=f"/proc/{pid}/cgroup names {sorted(paths)}")


def own_memory(pid: int, mine: int) -> Charged | None:
    """What the memory cgroup of `pid` is charged for; None where that also holds others: it is the root, or the one
    that the process `mine` is in."""
    try:
        theirs, ours = cgroup_of(pid), cgroup_of(mine)
    except TareError:
        return None
    if theirs.memory is None or theirs.memory == ours.memory or theirs.memory in _mounts().values():
        return None
    return theirs.charged()


def _counting(directory: Path, top: Path) -> Path:
    """The nearest directory from here up that counts memory: parts of a threaded domain, such as libvirt's, do not."""
    for folder in (directory, *directory.parents):
        if folder == top or (folder / "memory.current").exists():
            return folder
    return directory


def _paths(pid: int) -> dict[str, str]:
    """Where a process is, by controller; "" is the unified hierarchy."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as error:
        raise TareError("a process's cgroup cannot be found", details=str(error)) from error
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
        raise FileNotFoundError(f"{path} has no {name}")
    return found[name]


def _fields(path: Path) -> dict[str, int]:
    """The numbers of a file with a name and a number a line."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
