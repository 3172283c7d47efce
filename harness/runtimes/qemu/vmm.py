"""The QEMU process of one microvm, with its tap and its monitor."""

import contextlib
import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Accelerator
from harness.process import kill_group, spawn
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests import labelled_processes
from harness.runtimes.guests.tap import open_tap
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.qemu import specification
from harness.runtimes.qemu.monitor import Monitor

QUIT_SECONDS = 5.0
VHOST_NET = Path("/dev/vhost-net")
ERRORS = "errors"
"""The file, beside the channel, for QEMU's own standard error."""


class Vmm:
    """One microvm's QEMU, labelled in its environment and started as often as needed; `disk` is its root disk."""

    monitor: Monitor

    def __init__(self, prepared: Prepared, place: Place, labels: Mapping[str, str], identity: str) -> None:
        self.identity = identity
        self.disk = specification.root_disk(place)
        self._prepared, self._place, self._labels = prepared, place, labels
        self._resources = ExitStack()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, deadline: Deadline, incoming: bool = False) -> None:
        """Start QEMU and pin its vCPUs; an `incoming` one waits for a state. Raises TareError with QEMU's own words."""
        place = self._place
        with ExitStack() as undo:
            tap = undo.enter_context(open_tap(self.identity, place.network, self._labels, deadline))
            monitor = undo.enter_context(Monitor(place.directory / specification.MONITOR))
            emulated = self._prepared.accelerator is Accelerator.TCG
            argv = specification.command(
                self._prepared,
                place,
                self.identity,
                tap,
                vhost=not emulated and VHOST_NET.exists(),
                counter_khz=counter_khz() if emulated else 0,
                disk=self.disk,
                incoming=incoming,
            )
            with (place.directory / ERRORS).open("wb") as errors:
                child = spawn(argv, stderr=errors.fileno(), env=labelled_processes.labels_for(place.name, self._labels))
            undo.callback(stop, child, monitor)
            try:
                monitor.accept(child, deadline)
                pin(monitor, place.shape.cpus, deadline)
            except TareError as error:
                details = f"{complaint(place.directory)}{error}"
                raise TareError(f"{place.name} did not start", details=details, hint=error.hint) from error
            self.monitor, self._child, self._resources = monitor, child, undo.pop_all()

    def end(self) -> None:
        """Kill QEMU; remove its tap and its monitor's socket."""
        if self._child is not None:
            kill_group(self._child)
        self._resources.close()

    def ended(self, deadline: Deadline) -> None:
        """Wait until QEMU has ended by itself, then remove what it had. Raises DeadlineExceeded."""
        assert self._child is not None
        try:
            self._child.wait(deadline.left)
        except subprocess.TimeoutExpired as late:
            raise DeadlineExceeded("a guest did not power off in time", details=self._place.name) from late
        self._resources.close()

    def close(self) -> None:
        """Ask QEMU to quit, then remove what it had."""
        self._resources.close()


def pin(monitor: Monitor, cpus: tuple[int, ...], deadline: Deadline) -> None:
    """Pin vCPU i to the i-th of `cpus`; all other threads of QEMU may use any of them. Raises TareError."""
    vcpus = monitor.ask("query-cpus-fast", deadline)
    assert isinstance(vcpus, list)
    try:
        for vcpu in vcpus:
            os.sched_setaffinity(vcpu["thread-id"], {cpus[vcpu["cpu-index"]]})
    except OSError as error:
        raise TareError("a vCPU cannot be pinned", details=str(error)) from error


def stop(child: "subprocess.Popen[bytes]", monitor: Monitor) -> None:
    """Ask QEMU to quit; kill it when it does not."""
    if child.poll() is not None:
        return
    with contextlib.suppress(TareError, subprocess.TimeoutExpired):
        monitor.ask("quit", Deadline.after(QUIT_SECONDS))
        child.wait(QUIT_SECONDS)
    if child.poll() is None:
        kill_group(child)


def complaint(directory: Path) -> str:
    """What QEMU printed to standard error, as a line of its own; "" when nothing."""
    try:
        text = (directory / ERRORS).read_text(errors="replace").strip()
    except OSError:
        return ""
    return f"QEMU printed: {text[-1000:]}\n" if text else ""
