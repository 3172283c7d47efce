"""One guest of a libvirtd: its domain is asked and destroyed through libvirt."""

import json
from collections.abc import Mapping

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0
DESTROY_SECONDS = 90.0
"""Xen's toolstack alone gives the script that takes a network card down 40 s, on a host that is slow."""


class Guest(QemuGuest):
    """A running domain; leaving it destroys the domain and removes its disks."""

    def __init__(self, launched: Launched, identity: str, handle: "libvirt.virDomain") -> None:
        super().__init__(launched)
        self._identity = identity
        self._handle = handle

    def _find(self) -> Qemu | None:
        return Qemu.find(self._identity)

    def _ask(self, command: str) -> Mapping[str, object]:
        request = json.dumps({"execute": command})

        def ask() -> str:
            return str(libvirt_qemu.qemuMonitorCommand(self._handle, request, 0))

        answer = json.loads(bounded(f"ask QEMU {command}", Deadline.after(MONITOR_SECONDS), ask))
        returned = answer.get("return")
        return returned if isinstance(returned, dict) else {}

    def _end(self) -> None:
        end(self._handle, Deadline.after(DESTROY_SECONDS))


def end(handle: "libvirt.virDomain", deadline: Deadline) -> None:
    """Destroy a domain; one that is gone already is fine. Raises TareError when libvirt cannot."""

    def destroy() -> None:
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise

    bounded("destroy a domain", deadline, destroy)
