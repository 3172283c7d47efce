"""Lifecycle operations that every guest of QEMU has alike: saving, and cloning its qcow2 root disk."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from harness.deadline import Deadline
from harness.runtimes.archive import allocated
from harness.runtimes.capabilities import Clonable, Operation, Persistent, Savable
from harness.runtimes.guests.disks import make_copy, make_overlay

STORAGES: Mapping[str, str] = {"guest's disk": "/var/tmp", "tmpfs": "/tmp"}


class GuestLifecycle(ABC):
    """The operations on one guest, whose files are in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._saved = directory / "saved"
        self._directory = directory
        self._clones = 0

    @property
    @abstractmethod
    def _disk(self) -> Path:
        """The qcow2 root disk in use."""

    @abstractmethod
    def _use_clone(self, disk: Path, *, linked: bool) -> None:
        """Have the next start use `disk`, as a new guest; a `linked` one is an overlay of the disk in use."""

    @abstractmethod
    def _start(self, deadline: Deadline) -> None:
        """Start the guest again on its disk."""

    def _persistent(self) -> Persistent:
        return Persistent(storages=STORAGES, recreate=self._start)

    def _savable(self, how: str, save: Operation, restore: Operation) -> Savable:
        return Savable(how=how, save=save, restore=restore, size=self._saved_bytes)

    def _clonable(self, what: str) -> Clonable:
        return Clonable(
            how={"linked": f"{what} on a qcow2 overlay of the template's disk", "full": f"{what} on a copy (qemu-img)"},
            freeze=lambda _: None,
            ways={"linked": self._linked, "full": self._full},
        )

    def _saved_bytes(self) -> int | None:
        return allocated([self._saved]) if self._saved.exists() else None

    def _linked(self, deadline: Deadline) -> None:
        path = self._clone_path()
        make_overlay(self._disk, path, deadline, "qcow2")
        self._use_clone(path, linked=True)
        self._start(deadline)

    def _full(self, deadline: Deadline) -> None:
        path = self._clone_path()
        make_copy(self._disk, path, deadline)
        self._use_clone(path, linked=False)
        self._start(deadline)

    def _clone_path(self) -> Path:
        self._clones += 1
        return self._directory / f"clone{self._clones}.qcow2"
