"""CPU seconds of the processes outside a container's cgroup that serve it."""

import contextlib
from collections.abc import Iterable

import psutil


class DaemonProcesses:
    """The processes outside a container that serve it, found once; `daemon` and `container` are process ids.

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

    def pids(self) -> dict[str, tuple[int, ...]]:
        """Process ids by part."""
        return {part: tuple(process.pid for process in found) for part, found in self._parts.items() if found}

    def cpu_seconds(self) -> dict[str, float]:
        """User and system time by part; a process that has ended keeps its last figure."""
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
