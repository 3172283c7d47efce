"""One guest whose machine is a child process of ours, with a log: Firecracker's, libkrun's."""

import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.errors import TareError
from harness.model import Accelerator, Mark
from harness.runtimes.agent import AgentInstance, Channel
from harness.runtimes.base import VMM, Counters, Endpoint, Place, Processes
from harness.runtimes.guests.qemu import Qemu

LOG = "log"
"""The file, beside the channel, that the process writes."""
LOG_BYTES = 1500


class ChildGuest(AgentInstance):
    """A running guest; leaving it closes `resources`, in which the process and all that it used are held.

    `program` is what a person calls it. There are no marks `kernel` and `userspace`: init would need a second port to
    speak first.
    """

    def __init__(
        self,
        program: str,
        place: Place,
        channel: Channel,
        child: "subprocess.Popen[bytes]",
        accelerator: Accelerator,
        kernel: str,
        asked: float,
        known: Mapping[str, str],
        resources: ExitStack,
    ) -> None:
        super().__init__(place.name, channel, accelerator, kernel, asked)
        self._marks[Mark.CREATED] = time.monotonic()
        self._program = program
        self._place = place
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
        """Firecracker itself."""
        return {VMM: (self._child.pid,)}

    def endpoint(self) -> Endpoint:
        """The guest's own static address."""
        if self._place.network is None or self._place.port is None:
            raise TareError(f"{self.name} has no network place")
        return Endpoint(address=self._place.network.address, port=self._place.port, bind=self._place.network.address)

    def _dead(self) -> str | None:
        return None if self._child.poll() is None else f"{self._program} ended\n{said(self._place.directory)}"

    def _host_facts(self) -> Mapping[str, str]:
        huge = self._process.huge_mib()
        return {**self._known, "vhost": "no", "memory_huge_mib": "unknown" if huge is None else str(huge)}

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
