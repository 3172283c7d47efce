"""One guest of a libvirtd: its domain is asked and destroyed through libvirt."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.host.unix_socket import listener_of
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Command, Endpoint, Processes
from harness.runtimes.guests.boot_arguments import POWER_OFF
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu_process import Qemu
from harness.runtimes.libvirt.interface import outer
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.lifecycle import Life
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0
SOCKETS = ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")
"""Where a URI that names no socket leads."""


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
        self._life: Life | None = None

    def live(self, life: Life) -> None:
        """It is a lasting one: that is what it can be put through."""
        self._life = life

    @property
    def channel(self) -> Channel:
        """Its channel."""
        return self._channel

    def begin_again(self, identity: str) -> None:
        """Before it is started again, as the domain of that UUID: forget what was known of the last start."""
        self._forget()
        self._identity = identity
        self._begin()

    def go_on(self, deadline: Deadline) -> None:
        """It runs on in another QEMU: take its channel's next connection. Raises DeadlineExceeded."""
        self._forget()
        self._channel.switch(deadline)

    def power_off(self, deadline: Deadline) -> None:
        """Have it end itself, once all is written. Raises TareError when it cannot be asked."""
        self.start(Command(argv=POWER_OFF), deadline)

    def processes(self) -> Processes:
        """QEMU, vhost's threads, and the libvirtd that is shared by all guests."""
        daemon = daemon_of(self._uri)
        return {**super().processes(), **({"libvirtd": (daemon,)} if daemon else {})}

    def endpoint(self) -> Endpoint:
        """The guest's own static address, or that of the host's which stands for it."""
        return outer(self._network, self._place.network, super().endpoint())

    def _offers(self) -> Mapping[type, object]:
        return self._life.offers() if self._life else {}

    def _find(self) -> Qemu | None:
        return Qemu.find(self._identity)

    def _ask(self, command: str) -> Mapping[str, object]:
        request = json.dumps({"execute": command})

        def ask() -> str:
            handle = self._life.handle if self._life else self._handle
            return str(libvirt_qemu.qemuMonitorCommand(handle, request, 0))

        answer = json.loads(bounded(f"ask QEMU {command}", Deadline.after(MONITOR_SECONDS), ask))
        returned = answer.get("return")
        return returned if isinstance(returned, dict) else {}

    def _end(self) -> None:
        try:
            if self._life is not None:
                self._life.end()
        finally:
            self._resources.close()


def daemon_of(uri: str) -> int | None:
    """The libvirtd behind a URI of this host's; None where another program, such as systemd, holds its socket."""
    named = parse_qs(urlsplit(uri).query).get("socket", [])
    pid = next(filter(None, (listener_of(Path(path)) for path in named or SOCKETS)), None)
    if pid is None or not Path(f"/proc/{pid}/comm").read_text().strip().startswith(("libvirtd", "virtqemud")):
        return None
    return pid
