"""A process's cgroup of either version: its CPU time and weight, its memory and its memory events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from harness.errors import TareError

DEFAULT, UNKNOWN = "default", "unknown"
SHARES, WEIGHT = ("cpu.shares", 1024), ("cpu.weight", 100)
"""The file of a cgroup's CPU weight and what a new one has, of version 1 and of version 2."""
OWN = re.compile(r"tare-[0-9a-f]{6}-\d+|[0-9a-f]{12,}")
"""What the names of one instance's own cgroups hold: its name, or a container's id."""


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


def cpu_weight(pid: int) -> str:
    """The CPU weights that a process's cgroup and those above it have, in the words of `weights`, for the parity table.

    It never raises: `unknown` where the process is gone.
    """
    try:
        return weights(_paths(pid), _mounts())
    except TareError:
        return UNKNOWN


def weights(paths: Mapping[str, str], mounts: Mapping[str, Path]) -> str:
    """In words, the CPU weights from below the root down to where a process is: `machine=4096 (4 × the default)`.

    `paths` and `mounts` are by controller. Only levels with another weight than the default are named, `default` when
    there are none; names of an instance's own levels are `…`, so that two instances compare. `unknown` where it cannot
    be seen from here. Sources: the kernel's admin-guide/cgroup-v2.rst and scheduler/sched-design-CFS.rst.
    """
    # Version 1 is where the kernel has the CPU controller as soon as it names it there, mounted or not.
    controller, (file, usual) = ("cpu", SHARES) if "cpu" in paths else ("", WEIGHT)
    if controller not in paths or controller not in mounts:
        return UNKNOWN
    top, parts = mounts[controller], PurePosixPath(paths[controller]).parts
    if ".." in parts or not top.joinpath(*parts).is_dir():
        return UNKNOWN
    levels = [parts[:depth] for depth in range(1, len(parts) + 1)]
    found = [(_level(level), _weight(top.joinpath(*level, file))) for level in levels]
    # In version 2 a level whose parent does not hand the controller down has no weight, and none below it has.
    if controller and any(weight is None for _, weight in found):
        return UNKNOWN
    odd = [(level, weight) for level, weight in found if weight is not None and weight != usual]
    return ", ".join(f"{level}={weight} ({weight / usual:.3g} × the default)" for level, weight in odd) or DEFAULT


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


def _level(parts: tuple[str, ...]) -> str:
    """A cgroup's path, without what is one instance's own; systemd writes a name's hyphens as \\x2d."""
    return "/".join("…" if OWN.search(part.replace("\\x2d", "-")) else part for part in parts)


def _weight(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


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
