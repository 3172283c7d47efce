"""One guest of a libvirtd: its domain is asked and destroyed through libvirt."""

import json
from collections.abc import Mapping
from contextlib import ExitStack

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.runtimes.agent import Channel
from harness.runtimes.base import Command, Endpoint
from harness.runtimes.guests.boot import POWER_OFF
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu import Qemu
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.lifecycle import Life
from harness.runtimes.libvirt.network import outer
from harness.runtimes.libvirt.session import bounded

MONITOR_SECONDS = 10.0


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
