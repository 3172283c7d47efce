"""What a microvm can be put through: by its monitor paused, saved and brought back; ended and begun again."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import TareError
from harness.runtimes.agent.channel import Channel
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
from harness.runtimes.guests.disks import make_copy, make_overlay
from harness.runtimes.qemu.monitor import Monitor

LOOK_SECONDS = 0.005
STORAGES: Mapping[str, str] = {"guest's disk": "/var/tmp", "tmpfs": "/tmp"}


class Machine(Protocol):
    """The microvm's process: ended and begun with its disk."""

    monitor: Monitor
    disk: Path

    def start(self, deadline: Deadline, incoming: bool = False) -> None:
        """Start QEMU on the disk; with `incoming` it waits for a state."""
        ...

    def end(self) -> None:
        """End QEMU at once."""
        ...

    def ended(self, deadline: Deadline) -> None:
        """Wait until QEMU has ended by itself."""
        ...


class Subject(Protocol):
    """The guest: its channel, and its beginnings."""

    @property
    def channel(self) -> Channel:
        """Its channel."""
        ...

    def begin_again(self) -> None:
        """Before it is started again: forget what was known of the last start."""
        ...

    def go_on(self, deadline: Deadline) -> None:
        """It runs on in another QEMU: take its channel's next connection."""
        ...

    def power_off(self, deadline: Deadline) -> None:
        """Have it end itself, from inside."""
        ...


class Life:
    """The operations on one microvm."""

    def __init__(self, machine: Machine, subject: Subject, directory: Path) -> None:
        self._machine, self._subject, self._directory = machine, subject, directory
        self._clones = 0

    def offers(self) -> Mapping[type, object]:
        """By kind, what it can do or why not."""
        return {
            Pausable: Pausable(how="QMP stop, cont", pause=self._ask("stop"), resume=self._ask("cont")),
            Stoppable: Stoppable(
                how="power-off from inside; SIGKILL to QEMU; QEMU anew",
                stop=self._stop,
                kill=lambda _: self._machine.end(),
                start=self._start,
            ),
            Snapshottable: Unsupported(reason="snapshots of a microvm are not built yet"),
            Savable: Savable(how="QMP migrate to a file, QEMU anew with -incoming", save=self._save,
                             restore=self._restore, size=self._size),
            Persistent: Persistent(storages=STORAGES, recreate=self._start),
            Clonable: Clonable(
                how={"linked": "QEMU on a qcow2 overlay of the template's disk", "full": "on a copy (qemu-img)"},
                freeze=lambda _: None,
                ways={"linked": self._linked, "full": self._full},
            ),
            Migratable: Unsupported(reason="there is no daemon to move a microvm to"),
        }  # fmt: skip

    @property
    def _saved(self) -> Path:
        return self._directory / "saved"

    def _ask(self, command: str) -> Callable[[Deadline], None]:
        def ask(deadline: Deadline) -> None:
            self._machine.monitor.ask(command, deadline)

        return ask

    def _stop(self, deadline: Deadline) -> None:
        self._subject.power_off(deadline)
        self._machine.ended(deadline)

    def _start(self, deadline: Deadline) -> None:
        self._subject.begin_again()
        self._machine.start(deadline)

    def _size(self) -> int | None:
        return self._saved.stat().st_blocks * 512 if self._saved.exists() else None

    def _save(self, deadline: Deadline) -> None:
        monitor = self._machine.monitor
        monitor.ask("stop", deadline)
        monitor.ask("migrate", deadline, {"uri": f"exec:cat > {self._saved}"})
        while (state := self._state(monitor, deadline)) != "completed":
            if state in ("failed", "cancelled"):
                raise TareError("QEMU could not save a guest", details=f"its migration {state}")
            time.sleep(LOOK_SECONDS)
        self._machine.end()

    def _restore(self, deadline: Deadline) -> None:
        self._subject.channel.listen_anew()
        self._machine.start(deadline, incoming=True)
        monitor = self._machine.monitor
        monitor.ask("migrate-incoming", deadline, {"uri": f"exec:cat {self._saved}"})
        while (state := self._state(monitor, deadline)) != "completed":
            if state in ("failed", "cancelled"):
                raise TareError("QEMU could not bring a saved guest back", details=f"its migration {state}")
            time.sleep(LOOK_SECONDS)
        monitor.ask("cont", deadline)
        self._subject.go_on(deadline)
        self._saved.unlink()

    def _state(self, monitor: Monitor, deadline: Deadline) -> str:
        deadline.check("a guest's state on its way to or from the disk")
        answer = monitor.ask("query-migrate", deadline)
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    def _linked(self, deadline: Deadline) -> None:
        self._become(lambda path: make_overlay(self._machine.disk, path, deadline, "qcow2"), deadline)

    def _full(self, deadline: Deadline) -> None:
        self._become(lambda path: make_copy(self._machine.disk, path, deadline), deadline)

    def _become(self, make: Callable[[Path], None], deadline: Deadline) -> None:
        self._clones += 1
        path = self._directory / f"clone{self._clones}.qcow2"
        make(path)
        self._machine.disk = path
        self._start(deadline)
