"""Instances that are a process tree of the host below one child of this process."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from harness.errors import TareError
from harness.host.cgroups import cpu_weight
from harness.model import Milestone, NetworkPlace
from harness.process import kill_group
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import Counters, Place, Processes

END_SECONDS = 5.0
"""How long the agent may take to end before it is killed."""
ATTEMPTS = 100
STDERR_CHARACTERS = 500


class ProcessTree(AgentInstance):
    """A process tree of the host, in the host's network, below `child` with its standard error in a pipe.

    `requested` is the host's CLOCK_MONOTONIC in seconds just before the child was started; `runtime` is the fact of
    that name: what started the tree.
    """

    def __init__(
        self, place: Place, channel: Channel, requested: float, child: "subprocess.Popen[bytes]", runtime: str
    ) -> None:
        super().__init__(place, channel, requested)
        self._milestones[Milestone.CREATED] = time.monotonic()
        self._child = child
        self._runtime = runtime

    def counters(self) -> Counters:
        """`workload`: CPU seconds of the tree, ended children included."""
        return {"workload": cpu_seconds(self._tree)}

    def processes(self) -> Processes:
        """`workload`: the child and all processes below it."""
        return {"workload": tuple(process.pid for process in self._tree())}

    def _address(self, network: NetworkPlace) -> str:
        """The bridge's own address, in the namespace that it is in; never loopback."""
        return network.host_address

    def _dead(self) -> str | None:
        if self._child.poll() is None:
            return None
        assert self._child.stderr is not None
        text = self._child.stderr.read().decode(errors="replace")[-STDERR_CHARACTERS:]
        return f"exit status {self._child.returncode}: {text}"

    def _host_facts(self) -> Mapping[str, str]:
        pid = self._child.pid
        return {"runtime": self._runtime, "pid": str(pid), "cgroup_cpu_weight": cpu_weight(pid)}

    def _destroy(self) -> None:
        """End what runs below the child, so that the child reaps it at once; kill what still runs then."""
        send(self._tree()[1:], signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_SECONDS)
        send(self._tree(), signal.SIGKILL)
        kill_group(self._child)
        assert self._child.stderr is not None
        self._child.stderr.close()

    def _tree(self) -> list[psutil.Process]:
        return tree(self._child.pid)


def tree(pid: int) -> list[psutil.Process]:
    """A process and all processes below it; empty once it is gone."""
    found = []
    for one in (pid, *_below(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(one))
    return found


def send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each process that still exists."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def cpu_seconds(look: Callable[[], Iterable[psutil.Process]]) -> float:
    """CPU seconds of the processes that `look` finds, ended children included.

    A process that ends during the reading is then counted as an ended child of its parent, which may have been read
    before: so all are read again. Raises TareError after 100 such attempts.
    """
    for _ in range(ATTEMPTS):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = [process.cpu_times() for process in look()]
            return sum(t.user + t.system + t.children_user + t.children_system for t in times)
    raise TareError("processes come and go faster than their CPU time can be read")


def _below(pid: int) -> Iterator[int]:
    """The descendants of a process, as the kernel lists them: psutil would read every process of the host each time."""
    try:
        listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return
    for child in (int(word) for text in listed for word in text.split()):
        yield child
        yield from _below(child)
