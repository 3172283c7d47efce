"""The instances of runtimes whose guests have a kernel of their own."""

import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.cgroups import cpu_weight
from harness.host.facts import chosen, read
from harness.model import Accelerator, Milestone
from harness.runtimes.agent.channel import Channel
from harness.runtimes.agent.instance import AgentInstance
from harness.runtimes.base import VMM, Command, Counters, Place, Prepared, Processes
from harness.runtimes.guests.accel import nested_paging
from harness.runtimes.guests.boot_arguments import EARLY_DEVICE, POWER_OFF, first_milestones
from harness.runtimes.guests.vmm_process import VmmProcess

MILESTONES = "milestones"
"""The socket, beside the channel, on which the guest writes a line for each early milestone."""
STAMPED = (Milestone.LOADER, Milestone.LOADED, Milestone.SERVICE)
"""Early milestones of a full system, beside its first userspace byte."""
CONSOLE = "console"
"""The file to which the guest's kernel and init write."""
DYING_SECONDS = 2.0
"""How long a process may live after it closed its end of the channel."""
TAIL_BYTES = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What a launch settled.

    - `identity` finds the guest's process: its UUID, or Xen's domain id.
    - `requested` and `created` are seconds of the host's CLOCK_MONOTONIC; the default of `created` is the construction
      of the instance.
    - `known` are facts for the parity table, `last` is the guest's last milestone.
    - `tap` is its interface on the bridge, "" for none and for libvirt's.
    """

    identity: str
    place: Place
    channel: Channel
    accelerator: Accelerator
    kernel: str
    requested: float
    known: Mapping[str, str]
    created: float | None = None
    tap: str = ""
    last: Milestone = Milestone.READY


class GuestInstance(AgentInstance):
    """A running guest; leaving it closes `resources`, which hold the guest and everything that was made for it."""

    output = CONSOLE
    """The file, beside the channel, whose end is quoted when the guest fails."""

    def __init__(self, launched: Launched, resources: ExitStack) -> None:
        super().__init__(launched.place, launched.channel, launched.requested, launched.accelerator, launched.kernel)
        self._milestones[Milestone.CREATED] = launched.created or time.monotonic()
        self._known = launched.known
        self._resources = resources
        self.last = launched.last

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; the errors quote the end of the guest's output."""
        try:
            return super().wait(milestone, deadline)
        except DeadlineExceeded as late:
            raise DeadlineExceeded(late.brief, details=f"{late.details}\n{self._tail()}") from late
        except TareError as error:
            raise TareError(error.brief, details=self._cause_of_death() or error.details, hint=error.hint) from error

    @abstractmethod
    def _cause_of_death(self) -> str | None:
        """`_dead`, after a short wait: a process closes its channel a moment before it is gone."""

    def _read_stamps(self, stamps: Mapping[str, tuple[float, str]]) -> dict[Milestone, float]:
        found = {milestone: stamps[milestone.value][0] for milestone in STAMPED if milestone.value in stamps}
        early = stamps.get(Milestone.USERSPACE.value)
        return {**found, **(first_milestones(self.name, early) if early else {})}

    def _tail(self) -> str:
        return tail(self._place.directory / self.output)

    def _no_longer_running(self) -> TareError:
        return TareError(f"{self.name} is no longer running", details=self._tail())

    def _destroy(self) -> None:
        self._resources.close()


class QemuGuest(GuestInstance):
    """A guest of a QEMU process, whoever started that. Each runtime adds how its monitor is reached."""

    early = (EARLY_DEVICE, MILESTONES)
    option = "-uuid"
    """The argument of QEMU that holds the guest's identity."""

    def __init__(self, launched: Launched, resources: ExitStack) -> None:
        super().__init__(launched, resources)
        self._identity = launched.identity
        self._qemu: VmmProcess | None = None

    @abstractmethod
    def _ask(self, command: str) -> Mapping[str, object]:
        """QEMU's answer to a monitor command that returns an object."""

    @property
    def channel(self) -> Channel:
        """The guest's channel."""
        return self._channel

    def begin_again(self, identity: str) -> None:
        """Prepare for another start, as the guest of that UUID: forget the last one's process and milestones."""
        self._forget_process()
        self._identity = identity
        self._begin()

    def go_on(self, deadline: Deadline) -> None:
        """Follow the guest into another QEMU: take its channel's next connection. Raises DeadlineExceeded."""
        self._forget_process()
        self._channel.switch(deadline)

    def power_off(self, deadline: Deadline) -> None:
        """Have the guest write everything to its disk and end itself. Raises TareError when the agent refuses."""
        self.start(Command(argv=POWER_OFF), deadline)

    def wait(self, milestone: Milestone, deadline: Deadline) -> float:
        """The moment of `milestone`; once ready, QEMU's monitor must confirm the accelerator, else raises TareError."""
        new = Milestone.READY not in self._milestones
        moment = super().wait(milestone, deadline)
        if new and Milestone.READY in self._milestones:
            self._prove()
        return moment

    def counters(self) -> Counters:
        """CPU seconds of QEMU by its threads: `vcpu`, `emulator`, `iothread`, `vhost`."""
        return self._running().counters()

    def processes(self) -> Processes:
        """QEMU itself, and vhost's kernel threads where they are processes of their own."""
        process = self._running()
        threads = process.vhost_threads()
        return {VMM: (process.pid,), **({"vhost": threads} if threads else {})}

    def _process(self) -> VmmProcess | None:
        if self._qemu is None:
            self._qemu = VmmProcess.find(self._identity, self.option)
        return self._qemu

    def _running(self) -> VmmProcess:
        process = self._process()
        if process is None or process.gone():
            raise self._no_longer_running()
        return process

    def _dead(self) -> str | None:
        process = self._process()
        return None if process is not None and not process.gone() else f"QEMU ended\n{self._tail()}"

    def _cause_of_death(self) -> str | None:
        process = self._process()
        return self._dead() if process is None or process.gone(DYING_SECONDS) else None

    def _prove(self) -> None:
        enabled = self._ask("query-kvm").get("enabled") is True
        if enabled != (self.accelerator is not Accelerator.TCG):
            details = f"query-kvm returned enabled: {enabled}"
            raise TareError(f"{self.name} does not run on {self.accelerator}", details=details, hint="tare doctor")
        self._known = {**self._known, "query-kvm": "enabled" if enabled else "disabled"}

    def _host_facts(self) -> Mapping[str, str]:
        process = self._process()
        return {
            **self._known,
            **(process_facts(process) if process else {"memory_huge_mib": "unknown"}),
            "vhost": "yes" if process and process.uses_vhost() else "no",
            "host_thp": chosen(read(Path("/sys/kernel/mm/transparent_hugepage/enabled"))) or "none",
            "nested_paging": {True: "yes", False: "no", None: "unknown"}[nested_paging()],
            "halt_poll_ns": read(Path("/sys/module/kvm/parameters/halt_poll_ns")) or "none",
        }

    def _forget_process(self) -> None:
        if self._qemu is not None:
            self._qemu.close()
            self._qemu = None

    def _destroy(self) -> None:
        try:
            super()._destroy()
        finally:
            self._forget_process()


def guest_facts(name: str, prepared: Prepared, place: Place, kernel: str, root: str, data: str) -> dict[str, str]:
    """Facts before the guest runs, for the parity table: `name` of runtime and machine, `root` and `data` disk."""
    known = {
        "runtime": name,
        "machine": name,
        "vcpus_pinned": "no",
        "memory_preallocated": "no",
        "network_queues": "1",
        "image": prepared.image,
        "kernel_release": kernel,
        "root_disk": root,
    }
    return known | ({"data_disk": data} if place.scratch_mib else {})


def process_facts(process: VmmProcess) -> dict[str, str]:
    """The facts of every guest's process: its id, its cgroup's weight, its huge pages."""
    huge = process.huge_mib()
    return {
        "pid": str(process.pid),
        "cgroup_cpu_weight": cpu_weight(process.pid),
        "memory_huge_mib": "unknown" if huge is None else str(huge),
    }


def tail(path: Path) -> str:
    """The end of a guest's console or log, as a sentence."""
    try:
        text = path.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").replace("\r", "").strip()
    except OSError as error:
        return f"its {path.name} cannot be read: {error}"
    return f"its {path.name} ends with:\n{text}" if text else f"its {path.name} is empty"
