"""One guest whose machine is a child process of the harness: of Firecracker, libkrun, User Mode Linux."""

import contextlib
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.process import kill_group, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import VMM, Counters, Place, Prepared, Processes
from harness.runtimes.guests.disks import data_disk, make_data
from harness.runtimes.guests.instance import DYING_SECONDS, GuestInstance, Launched, process_facts
from harness.runtimes.guests.labelled_processes import labels_for
from harness.runtimes.guests.tap import open_tap
from harness.runtimes.guests.vmm_process import VmmProcess

LOG = "log"
"""The file, beside the channel, to which the process writes."""


def begin(
    prepared: Prepared,
    place: Place,
    labels: Mapping[str, str],
    kernel: str,
    known: Mapping[str, str],
    deadline: Deadline,
    undo: ExitStack,
) -> Launched:
    """Make what the guest's process needs; `undo` removes it.

    The data disk is made before `requested`; the tap belongs to the launch. Raises TareError.
    """
    identity = str(uuid.uuid4())
    channel = Channel(place.directory)
    undo.callback(channel.close)
    if place.scratch_mib:
        undo.callback(data_disk(place).unlink, missing_ok=True)
        make_data(data_disk(place), place.scratch_mib, "raw", deadline)
    requested = time.monotonic()
    return Launched(
        identity=identity,
        place=place,
        channel=channel,
        accelerator=prepared.accelerator,
        kernel=kernel,
        requested=requested,
        known=known,
        tap=undo.enter_context(open_tap(identity, place.network, labels, deadline)),
    )


def start(argv: list[str], launched: Launched, labels: Mapping[str, str], undo: ExitStack) -> "subprocess.Popen[bytes]":
    """The guest's process, labelled; `undo` kills it. Raises TareError when its program is missing.

    Its standard input and output are the guest's channel, its standard error the log.
    """
    place = launched.place
    with socket.socket(socket.AF_UNIX) as line, (place.directory / LOG).open("ab") as log:
        line.connect(str(launched.channel.path))
        environment, channel = labels_for(place.name, labels), line.fileno()
        child = spawn(argv, stdin=channel, stdout=channel, stderr=log.fileno(), env=environment)
    undo.callback(kill_group, child)
    return child


class ChildGuest(GuestInstance):
    """A guest of a child process; `program` is its name in messages."""

    def __init__(
        self, program: str, launched: Launched, child: "subprocess.Popen[bytes]", resources: ExitStack
    ) -> None:
        super().__init__(launched, resources)
        self._program = program
        self._child = child

    def _dead(self) -> str | None:
        status = self._child.poll()
        return None if status is None else f"{self._program} ended with status {status}\n{self._tail()}"

    def _cause_of_death(self) -> str | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(DYING_SECONDS)
        return self._dead()


class VmmGuest(ChildGuest):
    """A guest whose child process is a virtual machine monitor: its threads tell where CPU time goes.

    It has no milestones `kernel` and `userspace`: init would need a second port for them.
    """

    output = LOG

    def __init__(
        self, program: str, launched: Launched, child: "subprocess.Popen[bytes]", resources: ExitStack
    ) -> None:
        super().__init__(program, launched, child, resources)
        self._process = VmmProcess(child.pid)

    def counters(self) -> Counters:
        """CPU seconds of the process by its threads: `vcpu`, `emulator`."""
        if self._child.poll() is not None:
            raise self._no_longer_running()
        return self._process.counters()

    def processes(self) -> Processes:
        """The monitor's own process."""
        return {VMM: (self._child.pid,)}

    def _host_facts(self) -> Mapping[str, str]:
        return {**self._known, **process_facts(self._process), "vhost": "no"}

    def _destroy(self) -> None:
        try:
            super()._destroy()
        finally:
            self._process.close()
