"""One guest whose machine is a child process of ours, with a log: Firecracker's, libkrun's."""

import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.cgroups import cpu_weight
from harness.model import Accelerator, Milestone
from harness.process import kill_group, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import VMM, Counters, Place, Processes
from harness.runtimes.guests.disks import data_disk, make_data
from harness.runtimes.guests.labelled_processes import labels_for
from harness.runtimes.guests.qemu_process import Qemu
from harness.runtimes.guests.tap import open_tap

LOG = "log"
"""The file, beside the channel, that the process writes."""
LOG_BYTES = 1500


@dataclass(frozen=True, slots=True)
class Begun:
    """A guest before its process: its UUID, its channel, its tap ("" without a network), and when it was asked for."""

    identity: str
    channel: Channel
    requested: float
    tap: str


def begin(place: Place, labels: Mapping[str, str], deadline: Deadline, undo: ExitStack) -> Begun:
    """Make what the guest's process needs; `undo` takes it away again.

    The data disk is made before `requested`; the tap belongs to the launch. Raises TareError.
    """
    identity = str(uuid.uuid4())
    channel = Channel(place.directory)
    undo.callback(channel.close)
    if place.scratch_mib:
        undo.callback(data_disk(place).unlink, missing_ok=True)
        make_data(data_disk(place), place.scratch_mib, "raw", deadline)
    requested = time.monotonic()
    return Begun(identity, channel, requested, undo.enter_context(open_tap(identity, place.network, labels, deadline)))


def start(
    argv: list[str], begun: Begun, place: Place, labels: Mapping[str, str], undo: ExitStack
) -> "subprocess.Popen[bytes]":
    """The guest's process, labelled; `undo` kills it. Raises TareError when its program is not there.

    Its standard input and output are the guest's channel, its standard error the log.
    """
    with socket.socket(socket.AF_UNIX) as line, (place.directory / LOG).open("ab") as log:
        line.connect(str(begun.channel.path))
        environment = labels_for(place.name, labels)
        child = spawn(argv, stdin=line.fileno(), stdout=line.fileno(), stderr=log.fileno(), env=environment)
    undo.callback(kill_group, child)
    return child


class ChildGuest(AgentInstance):
    """A running guest; leaving it closes `resources`, in which the process and all that it used are held.

    `program` is its name in messages. It has no milestones `kernel` and `userspace`: init would need a second port
    for them.
    """

    def __init__(
        self,
        program: str,
        place: Place,
        begun: Begun,
        child: "subprocess.Popen[bytes]",
        accelerator: Accelerator,
        kernel: str,
        known: Mapping[str, str],
        resources: ExitStack,
    ) -> None:
        super().__init__(place, begun.channel, begun.requested, accelerator, kernel)
        self._milestones[Milestone.CREATED] = time.monotonic()
        self._program = program
        self._child = child
        self._known = known
        self._process = Qemu(child.pid, ())
        self._resources = resources

    def counters(self) -> Counters:
        """CPU seconds of the process by its threads: `vcpu`, `emulator`."""
        if self._child.poll() is not None:
            raise TareError(f"{self.name} is no longer running", details=said(self._place.directory))
        return self._process.counters()

    def processes(self) -> Processes:
        """The machine's own."""
        return {VMM: (self._child.pid,)}

    def _dead(self) -> str | None:
        return None if self._child.poll() is None else f"{self._program} ended\n{said(self._place.directory)}"

    def _host_facts(self) -> Mapping[str, str]:
        huge = self._process.huge_mib()
        return {
            **self._known,
            "vhost": "no",
            "memory_huge_mib": "unknown" if huge is None else str(huge),
            "cgroup_cpu_weight": cpu_weight(self._child.pid),
        }

    def _destroy(self) -> None:
        try:
            self._resources.close()
        finally:
            self._process.close()


def said(directory: Path) -> str:
    """The end of the process's own log."""
    try:
        text = (directory / LOG).read_bytes()[-LOG_BYTES:].decode("utf-8", "replace").strip()
    except OSError as error:
        return f"its log cannot be read: {error}"
    return f"its log ends with:\n{text}" if text else "its log is empty"
