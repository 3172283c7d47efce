"""One process tree of the host, in the root cgroup, and its lifecycle operations."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded
from harness.model import Milestone
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.process_tree import ProcessTree, send
from harness.runtimes.base import Place
from harness.runtimes.capabilities import (
    Clonable,
    Migratable,
    Pausable,
    Persistent,
    Savable,
    Snapshottable,
    Stoppable,
    Unsupported,
)

STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)


class NativeProcess(ProcessTree):
    """A native process tree; `spawned` starts it, also once it has been stopped."""

    def __init__(
        self,
        place: Place,
        channel: Channel,
        requested: float,
        scratch: Path | None,
        spawned: Callable[[], "subprocess.Popen[bytes]"],
    ) -> None:
        super().__init__(place, channel, requested, spawned(), "bubblewrap")
        self._scratch = scratch
        self._spawned = spawned

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """Return when `milestone` was reached; once ready, a tree that runs jobs is moved to the root cgroup."""
        moment = super().wait(milestone, deadline)
        # A beacon has ended its work by now, and to move it may take the kernel longer than that work.
        if milestone is Milestone.READY and self._place.entry == "agent":
            _enter_root_cgroup([process.pid for process in self._tree()])
        return moment

    def _offers(self) -> Mapping[type, object]:
        own = {"host's folder": "/scratch"} if self._scratch else {}
        return {
            Pausable: Pausable(how="SIGSTOP, SIGCONT", pause=self._pause, resume=self._resume),
            Stoppable: Stoppable(
                how="SIGTERM, SIGKILL, a new process", stop=self._stop, kill=self._kill, start=self._start
            ),
            Persistent: Persistent(storages={**own, "tmpfs": "/tmp"}, recreate=self._start),
            Snapshottable: Unsupported(reason="a process has no disk of its own to take a snapshot of"),
            Savable: Unsupported(reason="Linux saves no process by itself: that takes CRIU, which tare does not use"),
            Clonable: Unsupported(reason="a process has no template: it starts from the host's own files"),
            Migratable: Unsupported(reason="a process cannot be moved while it runs"),
        }

    def _pause(self, deadline: Deadline) -> None:
        tree = self._tree()
        send(tree, signal.SIGSTOP)
        while any(one.is_running() and one.status() not in STOPPED for one in tree):
            deadline.check("the stop of processes")

    def _resume(self, deadline: Deadline) -> None:
        send(self._tree(), signal.SIGCONT)

    def _stop(self, deadline: Deadline) -> None:
        send(self._tree()[1:], signal.SIGTERM)
        self._ended(deadline)

    def _kill(self, deadline: Deadline) -> None:
        send(self._tree(), signal.SIGKILL)
        self._ended(deadline)

    def _ended(self, deadline: Deadline) -> None:
        try:
            self._child.wait(deadline.left)
        except subprocess.TimeoutExpired as late:
            raise DeadlineExceeded("processes did not end in time", details=self.name) from late

    def _start(self, deadline: Deadline) -> None:
        assert self._child.stderr is not None
        self._child.stderr.close()
        self._begin()
        self._child = self._spawned()

    def _destroy(self) -> None:
        super()._destroy()
        if self._scratch is not None:
            shutil.rmtree(self._scratch)


def _enter_root_cgroup(pids: list[int]) -> None:
    """Move processes to the root of every cgroup hierarchy, where no limit and no accounting depth applies."""
    if os.geteuid() != 0:
        return
    base = Path("/sys/fs/cgroup")
    for procs in (base / "cgroup.procs", *base.glob("*/cgroup.procs")):
        for pid in pids:
            if procs.is_file() and (procs.parent == base or procs.parent.is_mount()):
                with contextlib.suppress(OSError):
                    procs.write_text(str(pid))
