"""One guest of a libvirtd."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.host.unix_socket import listener_of
from harness.runtimes.base import Endpoint, Processes
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.libvirt.interface import outer
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.lifecycle import Lifecycle
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0
SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
"""The sockets behind a URI that names none."""


class Guest(QemuGuest):
    """A running domain; leaving it closes `resources`: the domain and all that was made for it.

    A lasting guest gets its `lifecycle` after the launch.
    """

    def __init__(
        self, launched: Launched, handle: "libvirt.virDomain", network: Network, resources: ExitStack, uri: str = ""
    ) -> None:
        super().__init__(launched, resources)
        self._handle = handle
        self._network = network
        self._uri = uri
        self.lifecycle: Lifecycle | None = None

    def processes(self) -> Processes:
        """QEMU, vhost's threads, and the libvirtd that all guests share."""
        daemon = daemon_of(self._uri)
        return {**super().processes(), **({"libvirtd": (daemon,)} if daemon else {})}

    def endpoint(self) -> Endpoint:
        """The guest's own static address, or the host's address that is forwarded to it."""
        return outer(self._network, self._place.network, super().endpoint())

    def _offers(self) -> Mapping[type, object]:
        return self.lifecycle.offers() if self.lifecycle else {}

    def _ask(self, command: str) -> Mapping[str, object]:
        request = json.dumps({"execute": command})

        def ask() -> str:
            handle = self.lifecycle.handle if self.lifecycle else self._handle
            return str(libvirt_qemu.qemuMonitorCommand(handle, request, 0))

        answer = json.loads(bounded(f"pass {command} to QEMU", Deadline.after(MONITOR_SECONDS), ask))
        returned = answer.get("return")
        return returned if isinstance(returned, dict) else {}

    def _destroy(self) -> None:
        try:
            if self.lifecycle is not None:
                self.lifecycle.end()
        finally:
            super()._destroy()


def daemon_of(uri: str) -> int | None:
    """The libvirtd behind a URI of this host's; None where another program, such as systemd, holds its socket."""
    named = parse_qs(urlsplit(uri).query).get("socket", [])
    pid = next(filter(None, (listener_of(Path(path)) for path in named or SOCKETS)), None)
    if pid is None or not Path(f"/proc/{pid}/comm").read_text().strip().startswith(("libvirtd", "virtqemud")):
        return None
    return pid
