"""One microvm: how its monitor is reached, and its end."""

from collections.abc import Mapping
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.qemu.lifecycle import Lifecycle
from harness.runtimes.qemu.vmm import Vmm, complaint

MONITOR_SECONDS = 10.0


class Guest(QemuGuest):
    """A running microvm; leaving it ends QEMU and closes `resources`."""

    def __init__(self, launched: Launched, vmm: Vmm, resources: ExitStack) -> None:
        super().__init__(launched, resources)
        self._vmm = vmm
        self._lifecycle = Lifecycle(vmm, self, launched.place.directory) if launched.place.lasting else None

    def _offers(self) -> Mapping[type, object]:
        return self._lifecycle.offers() if self._lifecycle else {}

    def _ask(self, command: str) -> Mapping[str, object]:
        answer = self._vmm.monitor.ask(command, Deadline.after(MONITOR_SECONDS))
        return answer if isinstance(answer, dict) else {}

    def _tail(self) -> str:
        return f"{complaint(self._place.directory)}{super()._tail()}"
