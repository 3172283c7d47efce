"""One microvm: what it is requested, and its end."""

from collections.abc import Mapping
from contextlib import ExitStack

from harness.deadline import Deadline
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Command
from harness.runtimes.guests.boot_arguments import POWER_OFF
from harness.runtimes.guests.instance import Launched, QemuGuest
from harness.runtimes.guests.qemu_process import Qemu
from harness.runtimes.qemu.lifecycle import Life
from harness.runtimes.qemu.vmm import Box, complaint

MONITOR_SECONDS = 10.0


class Guest(QemuGuest):
    """A running microvm; leaving it ends QEMU and closes `resources`, in which all that the launch made is held."""

    def __init__(self, launched: Launched, box: Box, resources: ExitStack) -> None:
        super().__init__(launched)
        self._box = box
        self._resources = resources
        self._life = Life(box, self, launched.place.directory) if launched.place.lasting else None

    @property
    def channel(self) -> Channel:
        """Its channel."""
        return self._channel

    def begin_again(self) -> None:
        """Before it is started again: forget what was known of the last start."""
        self._forget()
        self._begin()

    def go_on(self, deadline: Deadline) -> None:
        """It runs on in another QEMU: take its channel's next connection. Raises DeadlineExceeded."""
        self._forget()
        self._channel.switch(deadline)

    def power_off(self, deadline: Deadline) -> None:
        """Have it end itself, once all is written. Raises TareError when it cannot be asked."""
        self.start(Command(argv=POWER_OFF), deadline)

    def _offers(self) -> Mapping[type, object]:
        return self._life.offers() if self._life else {}

    def _find(self) -> Qemu | None:
        return Qemu.find(self._box.identity)

    def _ask(self, command: str) -> Mapping[str, object]:
        answer = self._box.monitor.ask(command, Deadline.after(MONITOR_SECONDS))
        return answer if isinstance(answer, dict) else {}

    def _end(self) -> None:
        self._resources.close()

    def _tail(self) -> str:
        return f"{complaint(self._place.directory)}{super()._tail()}"
