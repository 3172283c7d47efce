"""The enclosure: a network namespace and a control group for private daemons and the processes that they start.

A process belongs to tare when its network namespace is the enclosure's, or its control group is below the
enclosure's. So the processes of a dead run are found without pid files. The alias of the namespace's loopback device
holds the label of its owner. A namespace of the same name without the label is never touched.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.links import NETNS as NAMESPACES
from harness.host.links import add_namespace, links_of, remove_namespace, with_links

CGROUPS = Path("/sys/fs/cgroup")
MARK = "tare-bench"
NETNS = "tare"


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A network namespace `name`, and a control group in every hierarchy for the processes of its containers."""

    name: str

    @property
    def cgroup(self) -> str:
        """The control group's name, directly below the root of a hierarchy."""
        return f"{MARK}-{self.name}"

    @property
    def handle(self) -> Path:
        """The file that refers to the network namespace."""
        return NAMESPACES / self.name

    def create(self, deadline: Deadline) -> None:
        """Make the network namespace with its loopback up. Raises TareError when the name is taken."""
        if self.handle.exists():
            owner = self.owner(deadline)
            raise TareError(
                f"the network namespace {self.name} exists already",
                details="it carries no label of ours" if owner is None else f"process {owner.split()[0]} made it",
                hint=f"ip netns delete {self.name}, if nothing needs it" if owner is None else "tare clean",
            )
        add_namespace(self.name, deadline)
        label = f"{MARK} {os.getpid()} {_started(os.getpid())}"
        try:
            with_links(self.name, deadline, lambda links: links.change("lo", ifalias=label, state="up"))
        except BaseException:
            with contextlib.suppress(TareError):
                remove_namespace(self.name)
            raise

    def owner(self, deadline: Deadline) -> str | None:
        """Process id and start time of the process that made the network namespace; None without our label."""
        if not self.handle.exists():
            return None
        try:
            labels = [link.alias for link in links_of(self.name, deadline) if link.name == "lo"]
        except DeadlineExceeded:
            raise
        except TareError:
            return None
        return next((label.removeprefix(MARK).strip() for label in labels if label.startswith(MARK)), None)

    def in_use(self, deadline: Deadline) -> bool:
        """Whether the process that made the network namespace still runs."""
        pid, _, started = (self.owner(deadline) or "").partition(" ")
        return pid.isdigit() and alive(int(pid)) and _started(int(pid)) == started

    def processes(self) -> list[int]:
        """The processes that are proven to be of the enclosure; never this one or its ancestors."""
        spared = _ancestors()
        found = set(self._of_cgroups())
        with contextlib.suppress(OSError):
            inode = self.handle.stat().st_ino
            found.update(pid for pid in psutil.pids() if _netns(pid) == inode)
        return sorted(found - spared)

    def contained(self) -> list[int]:
        """The processes of the enclosure's control groups: those of the private dockerd's containers."""
        return sorted(set(self._of_cgroups()) - _ancestors())

    def remove(self, deadline: Deadline) -> None:
        """End every process of the enclosure, then remove its control groups and its network namespace.

        The caller is its owner or knows that the owner is dead. Without our label on the namespace nothing is done.
        """
        there = self.handle.exists()
        if there and self.owner(deadline) is None:
            return
        end(self.processes, deadline)
        self.remove_cgroups(deadline)
        if there:
            remove_namespace(self.name)

    def remove_cgroups(self, deadline: Deadline) -> None:
        """Remove the enclosure's control groups; waits for ended processes to have left them."""
        for root in self.cgroups():
            folders = [Path(folder) for folder, _, _ in os.walk(root, topdown=False)]
            for folder in folders:
                remove_cgroup(folder, deadline)

    def cgroups(self) -> list[Path]:
        """The folders of the control groups that are there."""
        # One level of hierarchies under cgroup v1 and hybrid, none under v2.
        return [path for path in (CGROUPS / self.cgroup, *CGROUPS.glob(f"*/{self.cgroup}")) if path.is_dir()]

    def _of_cgroups(self) -> Iterator[int]:
        for root in self.cgroups():
            # os.walk passes over a group that is removed meanwhile; rglob raises before Python 3.13.
            for folder, _, _ in os.walk(root):
                with contextlib.suppress(OSError):
                    listed = Path(folder, "cgroup.procs").read_text().split()
                    yield from (int(line) for line in listed if line != "0")


def remove_cgroup(folder: Path, deadline: Deadline) -> None:
    """Remove one empty control group; one that stays busy to the deadline (at most 1 s) is left."""
    until = deadline.within(1.0)
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if until.left == 0.0:
                return
            time.sleep(0.01)
        else:
            return


def end(listed: Callable[[], list[int]], deadline: Deadline, *, grace: float = 2.0) -> None:
    """End the processes that `listed` returns, by TERM and, after `grace` seconds, KILL, until none is left.

    Raises DeadlineExceeded when some do not end.
    """
    polite = deadline.within(grace)
    signalled: set[int] = set()
    while pending := [pid for pid in listed() if alive(pid)]:
        for pid in pending:
            if polite.left == 0.0:
                send(pid, signal.SIGKILL)
            elif pid not in signalled:
                send(pid, signal.SIGTERM)
                signalled.add(pid)
        deadline.check(f"the end of processes {pending}")
        time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may have ended already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _netns(pid: int) -> int | None:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return None


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended (a zombie only waits for its parent)."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.NoSuchProcess:
        return False


def _started(pid: int) -> str:
    # Field 22 of proc(5), in clock ticks after boot, distinguishes a process from a later one with its id. psutil
    # adds the time of the boot, which changes when the host's clock is set.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _ancestors() -> set[int]:
    return {1, os.getpid(), *(process.pid for process in psutil.Process().parents())}
