"""One guest of a libvirtd: its domain is asked and destroyed through libvirt."""

import json
from collections.abc import Mapping
from contextlib import ExitStack

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.runtimes.base import Endpoint
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.network import outer
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0
DESTROY_SECONDS = 90.0
"""Xen's toolstack alone gives the script that takes a network card down 40 s, on a host that is slow."""


class Guest(QemuGuest):
    """A running domain; leaving it closes `resources`: the domain and all that was made for it."""

    def __init__(
        self, launched: Launched, identity: str, handle: "libvirt.virDomain", network: Network, resources: ExitStack
    ) -> None:
        super().__init__(launched)
        self._identity = identity
        self._handle = handle
        self._network = network
        self._resources = resources

    def endpoint(self) -> Endpoint:
        """The guest's own static address, or that of the host's which stands for it."""
        return outer(self._network, self._place.network, super().endpoint())

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
        self._resources.close()


def end(handle: "libvirt.virDomain", deadline: Deadline | None = None) -> None:
    """Destroy a domain, in 90 s unless told; one that is gone is fine. Raises TareError when libvirt cannot."""

    def destroy() -> None:
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise

    bounded("destroy a domain", deadline or Deadline.after(DESTROY_SECONDS), destroy)
