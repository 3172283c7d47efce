"""Native: the root's programs as plain processes of the host, which others are divided by.

The root is entered by bubblewrap (namespaces of mounts and of System V IPC, nothing else), in the root cgroup, with the
CPU affinity of the shape.
"""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cgroups import cpu_weight
from harness.model import Accelerator, Milestone, Shape, Variant
from harness.process import have, kill_group, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.archive import TreeCopies
from harness.runtimes.base import (
    ENTRY_ARGV,
    ENVIRONMENT,
    Available,
    Counters,
    Endpoint,
    Leftover,
    Place,
    Prepared,
    Processes,
    RootForms,
)
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

PROGRAMS = ("bwrap", "taskset", "nsenter")
END_SECONDS = 5.0
LOOKS = 100
STOPPED = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)


class Native:
    """Processes of the host itself."""

    name = "native"
    daemon = ""
    needs_root = True
    variants: tuple[Variant, ...] = (
        Variant(name="native", runtime="native", summary="processes of the host in the root's directory"),
    )

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """The host's own processors."""
        return Accelerator.NONE

    def connect(self, address: str) -> None:
        """Never called: there is no daemon."""

    def available(self, variant: Variant) -> Available:
        """Native runs wherever bubblewrap does."""
        if missing := have(*PROGRAMS):
            return Available(
                ok=False, reason=f"not installed: {', '.join(missing)}", fix="apt-get install bubblewrap util-linux"
            )
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Nothing to do: the root's directory is there."""
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's directory."""
        return (prepared.root.directory,)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> TreeCopies:
        """Of the root's directory."""
        return TreeCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> "Process":
        """Start the agent or the beacon in the root."""
        scratch = _scratch(place)
        channel = Channel(place.directory)
        requested = time.monotonic()
        argv = _argv(prepared, place, scratch)

        def spawned() -> "subprocess.Popen[bytes]":
            return spawn(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(labels))

        try:
            child = spawned()
        except BaseException:
            channel.close()
            raise
        return Process(place, channel, child, requested, scratch, spawned)

    def leftovers(self) -> Iterable[Leftover]:
        """None: bubblewrap and the agent end with the harness."""
        return ()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Never called: there are no leftovers."""
        raise TareError(f"native has no {leftover.kind} to remove")

    def close(self) -> None:
        """Nothing is held."""


class Process(AgentInstance):
    """A native process tree."""

    def __init__(
        self,
        place: Place,
        channel: Channel,
        child: "subprocess.Popen[bytes]",
        requested: float,
        scratch: Path | None,
        spawned: Callable[[], "subprocess.Popen[bytes]"],
    ) -> None:
        super().__init__(place.name, channel, Accelerator.NONE, platform.release(), requested)
        self._place = place
        self._child = child
        self._scratch = scratch
        self._spawned = spawned
        self._milestones[Milestone.CREATED] = time.monotonic()

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; once ready, a tree that is to work is moved to the root cgroup."""
        moment = super().wait(milestone, deadline)
        # A beacon has done its work by now, and to move it may take the kernel longer than that work.
        if milestone is Milestone.READY and self._place.entry == "agent":
            _enter_root_cgroup([process.pid for process in self._tree()])
        return moment

    def counters(self) -> Counters:
        """CPU seconds of the tree, ended children included."""
        return {"workload": cpu_seconds(self._tree)}

    def processes(self) -> Processes:
        """Bubblewrap and all below it."""
        return {"workload": tuple(process.pid for process in self._tree())}

    def endpoint(self) -> Endpoint:
        """The address of the bridge itself (or of the namespace that it runs in), never loopback."""
        if self._place.network is None or self._place.port is None:
            raise TareError(f"{self.name} has no network place")
        address = self._place.network.host_address
        return Endpoint(address=address, port=self._place.port, bind=address)

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
        _signal(tree, signal.SIGSTOP)
        while any(one.is_running() and one.status() not in STOPPED for one in tree):
            deadline.check("the stop of processes")

    def _resume(self, deadline: Deadline) -> None:
        _signal(self._tree(), signal.SIGCONT)

    def _stop(self, deadline: Deadline) -> None:
        _signal(self._tree()[1:], signal.SIGTERM)
        self._ended(deadline)

    def _kill(self, deadline: Deadline) -> None:
        _signal(self._tree(), signal.SIGKILL)
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

    def _tree(self) -> list[psutil.Process]:
        found = []
        for pid in (self._child.pid, *_below(self._child.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def _dead(self) -> str | None:
        if self._child.poll() is None:
            return None
        assert self._child.stderr is not None
        return f"exit status {self._child.returncode}: {self._child.stderr.read().decode(errors='replace')[-500:]}"

    def _host_facts(self) -> Mapping[str, str]:
        pid = self._child.pid
        return {"runtime": "bubblewrap", "pid": str(pid), "cgroup_cpu_weight": cpu_weight(pid)}

    def _destroy(self) -> None:
        """Ask the entry to end, so that bubblewrap reaps it at once; kill what is still there."""
        _signal(self._tree()[1:], signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(END_SECONDS)
        _signal(self._tree(), signal.SIGKILL)
        kill_group(self._child)
        assert self._child.stderr is not None
        self._child.stderr.close()
        if self._scratch is not None:
            shutil.rmtree(self._scratch)


def _below(pid: int) -> Iterator[int]:
    """The descendants of a process, as the kernel lists them: psutil would read every process of the host each time."""
    try:
        listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # it has ended
        return
    for child in (int(word) for text in listed for word in text.split()):
        yield child
        yield from _below(child)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _argv(prepared: Prepared, place: Place, scratch: Path | None) -> list[str]:
    """Enter the network namespace, the CPU set and the root, and run the entry there."""
    enter = ["nsenter", f"--net=/run/netns/{place.network.netns}"] if place.network and place.network.netns else []
    mounts = [
        *("--ro-bind", str(prepared.root.directory), "/"),
        *("--dev-bind", "/dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys"),
        *("--tmpfs", "/tmp", "--tmpfs", "/run", "--bind", str(place.directory), "/run/tare"),
        *(("--bind", str(scratch), "/scratch") if scratch else ()),
    ]
    settings = [word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)]
    return [
        *enter,
        *("taskset", "--cpu-list", place.shape.cpu_list),
        # What a killed server leaves in System V shared memory goes with its namespace.
        *("bwrap", *mounts, "--unshare-ipc", "--die-with-parent", "--clearenv", *settings, "--chdir", "/tmp", "--"),
        *ENTRY_ARGV[place.entry],
    ]


def _scratch(place: Place) -> Path | None:
    if place.scratch_mib == 0:
        return None
    directory = place.scratch_directory / place.name
    directory.mkdir(mode=0o755)
    return directory


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


def cpu_seconds(look: Callable[[], Iterable[psutil.Process]]) -> float:
    """CPU seconds of the processes that `look` finds, ended children included.

    One that ends while they are read is its parent's child that ended, who may have been read before: so all are read
    again. Raises TareError when that never ends.
    """
    for _ in range(LOOKS):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = [process.cpu_times() for process in look()]
            return sum(t.user + t.system + t.children_user + t.children_system for t in times)
    raise TareError("processes come and go faster than their CPU time can be read")
