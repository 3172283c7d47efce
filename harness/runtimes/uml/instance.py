"""One guest of User Mode Linux: its milestones, what its processes cost the host, and its end."""

import contextlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cgroups import cpu_weight
from harness.model import Milestone
from harness.process import kill_group
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import VMM, Counters, Place, Processes
from harness.runtimes.guests.boot_arguments import EARLY_DEVICE, first_milestones

USERSPACE = "userspace"
CONSOLE = "console"
TAIL_BYTES = 1500
END_SECONDS = 10.0
DYING_SECONDS = 2.0


class Guest(AgentInstance):
    """A running kernel with its processes; leaving it kills them and undoes what launch made."""

    early = (EARLY_DEVICE, USERSPACE)

    def __init__(
        self,
        place: Place,
        channel: Channel,
        child: "subprocess.Popen[bytes]",
        kernel: str,
        milestones: tuple[float, float],
        known: Mapping[str, str],
        undo: Callable[[], None],
    ) -> None:
        requested, created = milestones
        super().__init__(place, channel, requested, kernel=kernel)
        self._milestones[Milestone.CREATED] = created
        self._child = child
        self._known = known
        self._undo = undo

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; a guest that died or never came gets the end of its console quoted."""
        try:
            return super().wait(milestone, deadline)
        except DeadlineExceeded as late:
            raise DeadlineExceeded(late.brief, details=f"{late.details}\n{self._tail()}") from late
        except TareError as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(DYING_SECONDS)  # its end of the channel closes a moment before it is gone
            raise TareError(error.brief, details=self._dead() or error.details, hint=error.hint) from error

    def counters(self) -> Counters:
        """CPU seconds: `kernel` of the guest's kernel, `guest` of the guest's own processes, `helper` of the rest.

        A process of the guest that ended is counted by the kernel's process, which was its parent.
        """
        parts = {"kernel": 0.0, "guest": 0.0, "helper": 0.0}
        processes = tree(self._child.pid)
        kernel = next((one for one in processes if is_kernel(one)), None)
        if kernel is None or self._child.poll() is not None:
            raise TareError(f"{self.name} is no longer running", details=self._tail())
        for process in processes:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                part = "kernel" if process == kernel else "guest" if tracer(process.pid) == kernel.pid else "helper"
                parts[part] += times.user + times.system
                if process == kernel:
                    parts["guest"] += times.children_user + times.children_system
        return parts

    def processes(self) -> Processes:
        """The guest's kernel, whose memory is the guest's RAM, with the guest's own processes, and `helper`s."""
        processes = tree(self._child.pid)
        kernel = next((one.pid for one in processes if is_kernel(one)), None)
        if kernel is None:
            raise TareError(f"{self.name} is no longer running", details=self._tail())
        rest = [one.pid for one in processes if one.pid != kernel]
        guest = tuple(pid for pid in rest if tracer(pid) == kernel)
        return {VMM: (kernel,), "guest": guest, "helper": tuple(pid for pid in rest if pid not in guest)}

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Milestone, float]:
        return first_milestones(self.name, stamps[USERSPACE]) if USERSPACE in stamps else {}

    def _dead(self) -> str | None:
        if self._child.poll() is None:
            return None
        return f"User Mode Linux ended with status {self._child.returncode}\n{self._tail()}"

    def _tail(self) -> str:
        """The end of the guest's console."""
        try:
            data = (self._place.directory / CONSOLE).read_bytes()
        except OSError as error:
            return f"its console cannot be read: {error}"
        text = data[-TAIL_BYTES:].decode("utf-8", "replace").replace("\r", "").strip()
        return f"its console ends with:\n{text}" if text else "its console is empty"

    def _host_facts(self) -> Mapping[str, str]:
        pid = self._child.pid
        return {**self._known, "pid": str(pid), "cgroup_cpu_weight": cpu_weight(pid)}

    def _destroy(self) -> None:
        self._undo()


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; empty once it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


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
        return  # its number may be another's by now
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(child.pid).children():
            process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(END_SECONDS)
    kill_group(child)
