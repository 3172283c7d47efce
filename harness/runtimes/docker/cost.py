"""What a container costs its host: CPU seconds of its cgroup and of the processes that serve it."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.errors import TareError


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A process's cgroup: the directories that hold its CPU time and its memory events, by version."""

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


def cgroup_of(pid: int) -> Cgroup:
    """The cgroup of a process, as seen from here. Raises TareError when no mounted hierarchy accounts its CPU time."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError as error:
        raise TareError("a container's cgroup cannot be found", details=str(error)) from error
    paths: dict[str, str] = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        paths |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    mounts = _cgroup_mounts()
    # In the hybrid layout the unified hierarchy is mounted too, but without controllers: version 1 comes first.
    if "cpuacct" in paths and "cpuacct" in mounts:
        memory = mounts["memory"] / paths["memory"] if "memory" in paths and "memory" in mounts else None
        return Cgroup(mounts["cpuacct"] / paths["cpuacct"], memory, unified=False)
    if "" in paths and "" in mounts:
        directory = mounts[""] / paths[""]
        return Cgroup(directory, directory, unified=True)
    raise TareError("a container's cgroup cannot be found", details=f"/proc/{pid}/cgroup names {sorted(paths)}")


def _cgroup_mounts() -> dict[str, Path]:
    mounts: dict[str, Path] = {}
    for mount in psutil.disk_partitions(all=True):
        if mount.fstype == "cgroup2":
            mounts[""] = Path(mount.mountpoint)
        elif mount.fstype == "cgroup":
            mounts |= dict.fromkeys(mount.opts.split(","), Path(mount.mountpoint))
    return mounts


def _field(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    raise FileNotFoundError(f"{path} has no {name}")


class Servants:
    """The processes outside a container that work for it, found once; `daemon` and `container` are process ids.

    The daemon, containerd and proxies of other containers' ports are shared: their figures are details.
    """

    def __init__(self, daemon: int | None, container: int, published: tuple[str, int] | None) -> None:
        everything = [(process, process.info) for process in psutil.process_iter(["name", "ppid"])]
        daemons = [process for process, info in everything if (info["name"] or "").startswith("dockerd")]
        chosen = [process for process in daemons if process.pid == daemon] or (daemons if len(daemons) == 1 else [])
        ours = {process.pid for process in chosen}
        containerds = [(process, info["ppid"]) for process, info in everything if info["name"] == "containerd"]
        others = {process.pid for process in daemons} - ours
        own = [process for process, parent in containerds if parent in ours]
        proxies = [
            process
            for process, info in everything
            if published and info["name"] == "docker-proxy" and info["ppid"] in ours and _serves(process, *published)
        ]
        self._seen: dict[int, float] = {}
        self._parts: dict[str, list[psutil.Process]] = {
            "dockerd": chosen,
            "containerd": own or [process for process, parent in containerds if parent not in others],
            "shim": list(_parent(container)),
            "proxy": proxies,
        }

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time by part; what has ended keeps the last figure seen."""
        return {part: sum(self._seconds(process) for process in found) for part, found in self._parts.items() if found}

    def _seconds(self, process: psutil.Process) -> float:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            self._seen[process.pid] = times.user + times.system
        return self._seen.get(process.pid, 0.0)


def _parent(pid: int) -> Iterable[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid).parent()
        if parent is not None and parent.name().startswith("containerd-shim"):
            yield parent


def _serves(proxy: psutil.Process, address: str, port: int) -> bool:
    with contextlib.suppress(psutil.Error):
        words = proxy.cmdline()
        options = dict(zip(words[1::2], words[2::2], strict=False))
        return options.get("-host-ip") == address and options.get("-host-port") == str(port)
    return False
