"""One guest: its marks, its QEMU process, what proves its accelerator, and its end."""

import json
from collections.abc import Mapping
from pathlib import Path

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.model import Accelerator, Mark
from harness.runtimes.agent import AgentInstance, Channel
from harness.runtimes.base import Counters, Endpoint, Place
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.libvirt.domain import Domain
from harness.runtimes.libvirt.session import bounded

MOMENTS = "moments"
"""The socket behind the guest's second serial port, on which each moment of its start has a line."""
STAMPED = (Mark.LOADER, Mark.LOADED, Mark.USERSPACE, Mark.SERVICE)
MONITOR_SECONDS = 10.0
DESTROY_SECONDS = 30.0
DYING_SECONDS = 2.0
TAIL_BYTES = 1500


class Guest(AgentInstance):
    """A running domain; leaving it destroys the domain and removes its disks."""

    def __init__(
        self,
        place: Place,
        channel: Channel,
        domain: Domain,
        handle: "libvirt.virDomain",
        accelerator: Accelerator,
        kernel: str,
        marks: tuple[float, float],
        known: Mapping[str, str],
    ) -> None:
        asked, created = marks
        super().__init__(place.name, channel, accelerator, kernel, asked)
        self._marks[Mark.CREATED] = created
        self._place = place
        self._domain = domain
        self._handle = handle
        self._known = known
        self._qemu: Qemu | None = None
        if domain.boot.firmware != "none":
            self.last = Mark.SERVICE

    def wait(self, mark: Mark, deadline: Deadline) -> float:
        """The moment of `mark`; a guest that died or never came gets the end of its console quoted.

        Once ready, QEMU itself is asked whether KVM runs the guest: raises TareError when it is called otherwise.
        """
        new = Mark.READY not in self._marks
        try:
            moment = super().wait(mark, deadline)
        except DeadlineExceeded as late:
            raise DeadlineExceeded(late.brief, details=f"{late.details}\n{self._tail()}") from late
        except TareError as error:
            raise TareError(error.brief, details=self._obituary() or error.details, hint=error.hint) from error
        if new and Mark.READY in self._marks:
            self._prove()
        return moment

    def counters(self) -> Counters:
        """CPU seconds of QEMU by its threads: `vcpu`, `emulator`, `iothread`, `vhost`."""
        process = self._process()
        if process is None or process.gone():
            raise TareError(f"{self.name} is no longer running", details=self._tail())
        return process.counters()

    def endpoint(self) -> Endpoint:
        """The guest's own static address."""
        if self._place.network is None or self._place.port is None:
            raise TareError(f"{self.name} has no network place")
        return Endpoint(address=self._place.network.address, port=self._place.port, bind=self._place.network.address)

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Mark, float]:
        """As the host stamped them; `kernel` is `userspace` less the guest's own clock, which began with its kernel."""
        found = {mark: stamps[mark.value][0] for mark in STAMPED if mark.value in stamps}
        if Mark.USERSPACE in found:
            at, line = stamps[Mark.USERSPACE.value]
            try:
                found[Mark.KERNEL] = at - float(line.split()[1])
            except (IndexError, ValueError):
                raise TareError(f"{self.name} sent no userspace mark", details=line[:200]) from None
        return found

    def _process(self) -> Qemu | None:
        if self._qemu is None:
            self._qemu = Qemu.find(self._domain.uuid)
        return self._qemu

    def _dead(self) -> str | None:
        process = self._process()
        return None if process is not None and not process.gone() else f"QEMU ended\n{self._tail()}"

    def _obituary(self) -> str | None:
        """What is known once the channel broke: QEMU closes it a moment before it is gone."""
        process = self._process()
        return self._dead() if process is None or process.gone(DYING_SECONDS) else None

    def _tail(self) -> str:
        """The end of the guest's console."""
        try:
            text = self._domain.console.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip()
        except OSError as error:
            return f"its console cannot be read: {error}"
        return f"its console ends with:\n{text}" if text else "its console is empty"

    def _prove(self) -> None:
        enabled = self._ask("query-kvm").get("enabled") is True
        if enabled != (self.accelerator is not Accelerator.TCG):
            raise TareError(f"{self.name} is called {self.accelerator}, but QEMU says kvm enabled: {enabled}")
        self._known = {**self._known, "query-kvm": "enabled" if enabled else "disabled"}

    def _ask(self, command: str) -> dict[str, object]:
        """QEMU's own answer to a monitor command."""
        request = json.dumps({"execute": command})

        def ask() -> str:
            return str(libvirt_qemu.qemuMonitorCommand(self._handle, request, 0))

        answer = json.loads(bounded(f"ask QEMU {command}", Deadline.after(MONITOR_SECONDS), ask))
        returned = answer.get("return")
        return returned if isinstance(returned, dict) else {}

    def _host_facts(self) -> Mapping[str, str]:
        process = self._process()
        huge = process.huge_mib() if process else None
        return {
            **self._known,
            "vhost": "yes" if process and process.uses_vhost() else "no",
            "host_thp": _chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
            "memory_huge_mib": "unknown" if huge is None else str(huge),
            "halt_poll_ns": _read(Path("/sys/module/kvm/parameters/halt_poll_ns")),
        }

    def _destroy(self) -> None:
        try:
            end(self._handle, Deadline.after(DESTROY_SECONDS))
        finally:
            if self._qemu is not None:
                self._qemu.close()
            for path in self._domain.files:
                path.unlink(missing_ok=True)


def end(handle: "libvirt.virDomain", deadline: Deadline) -> None:
    """Destroy a domain; one that is gone already is fine. Raises TareError when libvirt cannot."""

    def destroy() -> None:
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise

    bounded("destroy a domain", deadline, destroy)


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "none"


def _chosen(path: Path) -> str:
    """The word in brackets of a kernel setting such as `always [madvise] never`."""
    return _read(path).partition("[")[2].partition("]")[0] or "none"
