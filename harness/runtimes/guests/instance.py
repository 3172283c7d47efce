"""One guest of a QEMU process, however that was started: its milestones, counters, end and last output."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cgroups import cpu_weight
from harness.model import Accelerator, Milestone
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import VMM, Counters, Place, Processes
from harness.runtimes.guests.accel import nested_paging
from harness.runtimes.guests.boot_arguments import EARLY_DEVICE, first_milestones
from harness.runtimes.guests.qemu_process import Qemu

MOMENTS = "moments"
"""The socket, beside the channel, on which each moment of the guest's start has a line."""
STAMPED = (Milestone.LOADER, Milestone.LOADED, Milestone.SERVICE)
"""Those that a full system has besides its first userspace byte."""
CONSOLE = "console"
"""The file that the guest's kernel and init write."""
DYING_SECONDS = 2.0
TAIL_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What a launch settled: `requested` and `created` on the host's monotonic clock, the guest's facts for the parity
    table, and its last milestone."""

    place: Place
    channel: Channel
    accelerator: Accelerator
    kernel: str
    requested: float
    created: float
    known: Mapping[str, str]
    last: Milestone = Milestone.READY


class QemuGuest(AgentInstance):
    """A running guest; leaving it ends QEMU. Runtimes say how QEMU is found, asked and ended with all that it had."""

    early = (EARLY_DEVICE, MOMENTS)

    def __init__(self, launched: Launched) -> None:
        super().__init__(launched.place, launched.channel, launched.requested, launched.accelerator, launched.kernel)
        self._milestones[Milestone.CREATED] = launched.created
        self._known = launched.known
        self._qemu: Qemu | None = None
        self.last = launched.last

    @abstractmethod
    def _find(self) -> Qemu | None:
        """The QEMU process, None once it is gone."""

    @abstractmethod
    def _ask(self, command: str) -> Mapping[str, object]:
        """QEMU's own answer to a monitor command that returns an object."""

    @abstractmethod
    def _end(self) -> None:
        """End QEMU, with its disks; one that is gone already is fine."""

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; a guest that died or never came gets the end of its console quoted.

        Once ready, QEMU itself is asked whether KVM runs the guest: raises TareError when it is called otherwise.
        """
        new = Milestone.READY not in self._milestones
        try:
            moment = super().wait(milestone, deadline)
        except DeadlineExceeded as late:
            raise DeadlineExceeded(late.brief, details=f"{late.details}\n{self._tail()}") from late
        except TareError as error:
            raise TareError(error.brief, details=self._obituary() or error.details, hint=error.hint) from error
        if new and Milestone.READY in self._milestones:
            self._prove()
        return moment

    def counters(self) -> Counters:
        """CPU seconds of QEMU by its threads: `vcpu`, `emulator`, `iothread`, `vhost`."""
        process = self._process()
        if process is None or process.gone():
            raise TareError(f"{self.name} is no longer running", details=self._tail())
        return process.counters()

    def processes(self) -> Processes:
        """QEMU itself, and kernel threads of vhost where they are processes of their own."""
        process = self._process()
        if process is None or process.gone():
            raise TareError(f"{self.name} is no longer running", details=self._tail())
        threads = process.vhost_threads()
        return {VMM: (process.pid,), **({"vhost": threads} if threads else {})}

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Milestone, float]:
        found = {milestone: stamps[milestone.value][0] for milestone in STAMPED if milestone.value in stamps}
        early = stamps.get(Milestone.USERSPACE.value)
        return {**found, **(first_milestones(self.name, early) if early else {})}

    def _process(self) -> Qemu | None:
        if self._qemu is None:
            self._qemu = self._find()
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
        return tail(self._place.directory / CONSOLE)

    def _prove(self) -> None:
        enabled = self._ask("query-kvm").get("enabled") is True
        if enabled != (self.accelerator is not Accelerator.TCG):
            raise TareError(f"{self.name} is called {self.accelerator}, but QEMU says kvm enabled: {enabled}")
        self._known = {**self._known, "query-kvm": "enabled" if enabled else "disabled"}

    def _host_facts(self) -> Mapping[str, str]:
        process = self._process()
        huge = process.huge_mib() if process else None
        return {
            **self._known,
            **({"pid": str(process.pid), "cgroup_cpu_weight": cpu_weight(process.pid)} if process else {}),
            "vhost": "yes" if process and process.uses_vhost() else "no",
            "host_thp": _chosen(Path("/sys/kernel/mm/transparent_hugepage/enabled")),
            "memory_huge_mib": "unknown" if huge is None else str(huge),
            "nested_paging": {True: "yes", False: "no", None: "unknown"}[nested_paging()],
            "halt_poll_ns": _read(Path("/sys/module/kvm/parameters/halt_poll_ns")),
        }

    def _forget(self) -> None:
        """Its QEMU is another one from now on."""
        if self._qemu is not None:
            self._qemu.close()
            self._qemu = None

    def _destroy(self) -> None:
        try:
            self._end()
        finally:
            self._forget()


def tail(console: Path) -> str:
    """The end of a guest's console, in words."""
    try:
        text = console.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").strip()
    except OSError as error:
        return f"its console cannot be read: {error}"
    return f"its console ends with:\n{text}" if text else "its console is empty"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "none"


def _chosen(path: Path) -> str:
    """The word in brackets of a kernel setting such as `always [madvise] never`."""
    return _read(path).partition("[")[2].partition("]")[0] or "none"
