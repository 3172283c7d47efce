"""One guest of User Mode Linux: its processes on the host, and their CPU time."""

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from harness.host.cgroups import cpu_weight
from harness.process import kill_group
from harness.runtimes.agent.process_tree import tree
from harness.runtimes.base import VMM, Counters, Processes
from harness.runtimes.guests.boot_arguments import EARLY_DEVICE
from harness.runtimes.guests.child import ChildGuest

USERSPACE = "userspace"
"""The socket, beside the channel, on which the beacon writes its first line."""
END_SECONDS = 10.0


class Guest(ChildGuest):
    """A running kernel with its processes; leaving it kills them and removes what the launch made."""

    early = (EARLY_DEVICE, USERSPACE)

    def counters(self) -> Counters:
        """CPU seconds: `kernel` of the guest's kernel, `guest` of the guest's own processes, `helper` of the rest.

        A process of the guest that ended is counted by the kernel's process, which was its parent.
        """
        parts = {"kernel": 0.0, "guest": 0.0, "helper": 0.0}
        processes = tree(self._child.pid)
        kernel = next((one for one in processes if is_kernel(one)), None)
        if kernel is None or self._child.poll() is not None:
            raise self._no_longer_running()
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                part = "kernel" if process == kernel else "guest" if tracer(process.pid) == kernel.pid else "helper"
                parts[part] += times.user + times.system
                if process == kernel:
                    parts["guest"] += times.children_user + times.children_system
        return parts

    def processes(self) -> Processes:
        """The guest's kernel, whose memory is the guest's RAM, then the guest's own processes and the `helper`s."""
        processes = tree(self._child.pid)
        kernel = next((one.pid for one in processes if is_kernel(one)), None)
        if kernel is None:
            raise self._no_longer_running()
        rest = [one.pid for one in processes if one.pid != kernel]
        guest = tuple(pid for pid in rest if tracer(pid) == kernel)
        return {VMM: (kernel,), "guest": guest, "helper": tuple(pid for pid in rest if pid not in guest)}

    def _host_facts(self) -> Mapping[str, str]:
        pid = self._child.pid
        return {**self._known, "pid": str(pid), "cgroup_cpu_weight": cpu_weight(pid)}


def is_kernel(process: psutil.Process) -> bool:
    """Whether a process of a guest's tree is its kernel: the first with the kernel's own arguments."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return len(words) > 1 and words[1].startswith("umid=")
    return False


def tracer(pid: int) -> int:
    """The process that traces another, as a guest's kernel does the guest's processes; 0 for none."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    return 0


def end(child: "subprocess.Popen[bytes]") -> None:
    """Kill a guest with all its processes.

    The first process of its namespace goes first: with it the host's kernel kills all others and has reaped them before
    bubblewrap, which waits for it, ends.
    """
    if child.poll() is not None:
        return  # another process may have its id by now
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(child.pid).children():
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)
    kill_group(child)
