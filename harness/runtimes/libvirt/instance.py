"""One guest of a libvirtd: its domain is asked and destroyed through libvirt."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.host.listener import listener_of
from harness.runtimes.base import Endpoint, Processes
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.network import outer
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0
SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
"""Where a URI that names no socket leads."""
DESTROY_SECONDS = 90.0
"""Xen's toolstack alone gives the script that takes a network card down 40 s, on a host that is slow."""


class Guest(QemuGuest):
    """A running domain; leaving it closes `resources`: the domain and all that was made for it."""

    def __init__(
        self,
        launched: Launched,
        identity: str,
        handle: "libvirt.virDomain",
        network: Network,
        resources: ExitStack,
        uri: str = "",
    ) -> None:
        super().__init__(launched)
        self._identity = identity
        self._handle = handle
        self._network = network
        self._resources = resources
        self._uri = uri

    def processes(self) -> Processes:
        """QEMU, vhost's threads, and the libvirtd that is shared by all guests."""
        daemon = daemon_of(self._uri)
        return {**super().processes(), **({"libvirtd": (daemon,)} if daemon else {})}

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


def daemon_of(uri: str) -> int | None:
    """The libvirtd behind a URI of this host's; None where another program, such as systemd, holds its socket."""
    named = parse_qs(urlsplit(uri).query).get("socket", [])
    pid = next(filter(None, (listener_of(Path(path)) for path in named or SOCKETS)), None)
    if pid is None or not Path(f"/proc/{pid}/comm").read_text().strip().startswith(("libvirtd", "virtqemud")):
        return None
    return pid


def end(handle: "libvirt.virDomain", deadline: Deadline | None = None) -> None:
    """Destroy a domain, in 90 s unless told; one that is gone is fine. Raises TareError when libvirt cannot."""

    def destroy() -> None:
        try:
            handle.destroy()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise

    bounded("destroy a domain", deadline or Deadline.after(DESTROY_SECONDS), destroy)
