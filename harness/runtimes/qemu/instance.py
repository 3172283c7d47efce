"""One microvm: started, held by its monitor, and ended."""

import contextlib
import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.process import kill_group
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.qemu.monitor import Monitor

MONITOR_SECONDS = 10.0
QUIT_SECONDS = 5.0
ERRORS = "errors"
"""The file, beside the channel, that QEMU itself complains into."""


class Guest(QemuGuest):
    """A running microvm; leaving it ends QEMU and closes `resources`, in which all that the launch made is held."""

    def __init__(self, launched: Launched, identity: str, monitor: Monitor, resources: ExitStack) -> None:
        super().__init__(launched)
        self._identity = identity
        self._monitor = monitor
        self._resources = resources

    def _find(self) -> Qemu | None:
        return Qemu.find(self._identity)

    def _ask(self, command: str) -> Mapping[str, object]:
        answer = self._monitor.ask(command, Deadline.after(MONITOR_SECONDS))
        return answer if isinstance(answer, dict) else {}

    def _end(self) -> None:
        self._resources.close()

    def _tail(self) -> str:
        return f"{complaint(self._place.directory)}{super()._tail()}"


def pin(monitor: Monitor, cpus: tuple[int, ...], deadline: Deadline) -> None:
    """Tie vCPU i to the i-th of `cpus`; all other threads of QEMU may use any of them. Raises TareError."""
    vcpus = monitor.ask("query-cpus-fast", deadline)
    assert isinstance(vcpus, list)
    try:
        for vcpu in vcpus:
            os.sched_setaffinity(vcpu["thread-id"], {cpus[vcpu["cpu-index"]]})
    except OSError as error:
        raise TareError("a vCPU cannot be pinned", details=str(error)) from error


def stop(child: "subprocess.Popen[bytes]", monitor: Monitor) -> None:
    """Ask QEMU to quit; kill what then is still there."""
    if child.poll() is not None:
        return
    with contextlib.suppress(TareError, subprocess.TimeoutExpired):
        monitor.ask("quit", Deadline.after(QUIT_SECONDS))
        child.wait(QUIT_SECONDS)
    if child.poll() is None:
        kill_group(child)


def complaint(directory: Path) -> str:
    """What QEMU itself complained of, as a sentence with a line's end, or nothing."""
    try:
        text = (directory / ERRORS).read_text(errors="replace").strip()
    except OSError:
        return ""
    return f"QEMU said: {text[-1000:]}\n" if text else ""
