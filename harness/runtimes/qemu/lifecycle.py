"""Lifecycle operations on a microvm, through its monitor and its process."""

import time
from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
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
from harness.runtimes.guests.instance import QemuGuest
from harness.runtimes.guests.lifecycle import GuestLifecycle
from harness.runtimes.qemu.vmm import Vmm

LOOK_SECONDS = 0.005


class Lifecycle(GuestLifecycle):
    """The operations on one microvm."""

    def __init__(self, vmm: Vmm, guest: QemuGuest, directory: Path) -> None:
        super().__init__(directory)
        self._vmm, self._guest = vmm, guest

    def offers(self) -> Mapping[type, object]:
        """By capability, its operations or why there are none."""
        return {
            Pausable: Pausable(how="QMP stop, cont", pause=self._pause, resume=self._resume),
            Stoppable: Stoppable(
                how="power-off from inside; SIGKILL to QEMU; a new QEMU",
                stop=self._stop,
                kill=lambda _: self._vmm.end(),
                start=self._start,
            ),
            Snapshottable: Unsupported(reason="tare has no snapshots of a microvm yet"),
            Savable: self._savable("QMP migrate to a file; a new QEMU with -incoming", self._save, self._restore),
            Persistent: self._persistent(),
            Clonable: self._clonable("QEMU"),
            Migratable: Unsupported(reason="a microvm has no daemon, so there is none to migrate it to"),
        }

    @property
    def _disk(self) -> Path:
        return self._vmm.disk

    def _use_clone(self, disk: Path, *, linked: bool) -> None:
        self._vmm.disk = disk

    def _pause(self, deadline: Deadline) -> None:
        self._ask("stop", deadline)

    def _resume(self, deadline: Deadline) -> None:
        self._ask("cont", deadline)

    def _ask(self, command: str, deadline: Deadline) -> None:
        self._vmm.monitor.ask(command, deadline)

    def _stop(self, deadline: Deadline) -> None:
        self._guest.power_off(deadline)
        self._vmm.ended(deadline)

    def _start(self, deadline: Deadline) -> None:
        self._guest.begin_again(self._vmm.identity)
        self._vmm.start(deadline)

    def _save(self, deadline: Deadline) -> None:
        self._ask("stop", deadline)
        self._migrate("migrate", f"exec:cat > {self._saved}", deadline)
        self._vmm.end()

    def _restore(self, deadline: Deadline) -> None:
        self._guest.channel.listen_anew()
        self._vmm.start(deadline, incoming=True)
        self._migrate("migrate-incoming", f"exec:cat {self._saved}", deadline)
        self._ask("cont", deadline)
        self._guest.go_on(deadline)
        self._saved.unlink()

    def _migrate(self, command: str, uri: str, deadline: Deadline) -> None:
        """Write the guest's state to a file or read it back; returns once that is complete. Raises TareError."""
        self._vmm.monitor.ask(command, deadline, {"uri": uri})
        while (state := self._migration(deadline)) != "completed":
            if state in ("failed", "cancelled"):
                raise TareError(f"QEMU did not complete {command}", details=f"query-migrate returned status {state}")
            time.sleep(LOOK_SECONDS)

    def _migration(self, deadline: Deadline) -> str:
        deadline.check("the transfer of a guest's state to or from the disk")
        answer = self._vmm.monitor.ask("query-migrate", deadline)
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""
