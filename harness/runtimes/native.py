"""Native: the root's programs as plain processes of the host, which others are divided by.

The root is entered by bubblewrap (a mount namespace, nothing else), in the root cgroup, with the CPU affinity of the
shape.
"""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Mark, Shape, Variant
from harness.process import have, kill_group, spawn
from harness.runtimes.agent import AgentInstance, Channel
from harness.runtimes.base import (
    ENTRY_ARGV,
    ENVIRONMENT,
    Available,
    Counters,
    Endpoint,
    Leftover,
    Place,
    Prepared,
    RootForms,
)
from harness.runtimes.copies import TreeCopies

PROGRAMS = ("bwrap", "taskset", "nsenter")
END_SECONDS = 5.0


class Native:
    """Processes of the host itself."""

    name = "native"
    daemon = ""
    needs_root = True
    variants = (Variant(name="native", runtime="native", summary="processes of the host in the root's directory"),)

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
        asked = time.monotonic()
        try:
            child = spawn(
                _argv(prepared, place, scratch), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=dict(labels)
            )
        except BaseException:
            channel.close()
            raise
        return Process(place, channel, child, asked, scratch)

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
        self, place: Place, channel: Channel, child: "subprocess.Popen[bytes]", asked: float, scratch: Path | None
    ) -> None:
        super().__init__(place.name, channel, Accelerator.NONE, platform.release(), asked)
        self._place = place
        self._child = child
        self._scratch = scratch
        self._marks[Mark.CREATED] = time.monotonic()

    def wait(self, mark: Mark, deadline: Deadline) -> float:
        """The moment of `mark`; once ready, a tree that is to work is moved to the root cgroup."""
        moment = super().wait(mark, deadline)
        # A beacon has done its work by now, and to move it may take the kernel longer than that work.
        if mark is Mark.READY and self._place.entry == "agent":
            _enter_root_cgroup([process.pid for process in self._tree()])
        return moment

    def counters(self) -> Counters:
        """CPU seconds of the tree, ended children included."""
        times = [process.cpu_times() for process in self._tree()]
        return {"workload": sum(t.user + t.system + t.children_user + t.children_system for t in times)}

    def endpoint(self) -> Endpoint:
        """The address of the bridge itself (or of the namespace that it runs in), never loopback."""
        if self._place.network is None or self._place.port is None:
            raise TareError(f"{self.name} has no network place")
        address = self._place.network.host_address
        return Endpoint(address=address, port=self._place.port, bind=address)

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._child.pid)
            return [root, *root.children(recursive=True)]
        return []

    def _dead(self) -> str | None:
        if self._child.poll() is None:
            return None
        assert self._child.stderr is not None
        return f"exit status {self._child.returncode}: {self._child.stderr.read().decode(errors='replace')[-500:]}"

    def _host_facts(self) -> Mapping[str, str]:
        return {"runtime": "bubblewrap", "pid": str(self._child.pid)}

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
        *("bwrap", *mounts, "--die-with-parent", "--clearenv", *settings, "--chdir", "/tmp", "--"),
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
