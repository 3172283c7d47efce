"""What a guest of libvirt's can be put through: paused, stopped, saved, gone back to a snapshot, cloned, moved."""

import dataclasses
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import libvirt

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons.private import Kvm, missing_programs
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Place
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
from harness.runtimes.guests.boot_arguments import mac_of
from harness.runtimes.guests.disks import make_copy, make_overlay
from harness.runtimes.libvirt.domain import Domain, render
from harness.runtimes.libvirt.interface import forward
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.migration import Move
from harness.runtimes.libvirt.session import Session, bounded, create, end, is_no_domain

SNAPSHOT = "kept"
SNAPSHOT_XML = f"<domainsnapshot><name>{SNAPSHOT}</name></domainsnapshot>"
LOOK_SECONDS = 0.005
STORAGES: Mapping[str, str] = {"guest's disk": "/var/tmp", "tmpfs": "/tmp"}


class Subject(Protocol):
    """The guest: its channel, and its beginnings."""

    @property
    def channel(self) -> Channel:
        """Its channel."""
        ...

    def begin_again(self, identity: str) -> None:
        """Before it is started again, as the domain of that UUID: forget what was known of the last start."""
        ...

    def go_on(self, deadline: Deadline) -> None:
        """It runs on in another QEMU: take its channel's next connection."""
        ...

    def power_off(self, deadline: Deadline) -> None:
        """Have it end itself, from inside."""
        ...


class Life:
    """The operations on one guest: `handle` is its domain's now, which has no AUTODESTROY."""

    def __init__(
        self,
        session: Session,
        domain: Domain,
        handle: "libvirt.virDomain",
        subject: Subject,
        place: Place,
        network: Network,
    ) -> None:
        self.handle = handle
        self._place, self._network = place, network
        self._session, self._domain, self._subject, self._directory = session, domain, subject, place.directory
        kvm: Kvm = "offered" if domain.type == "kvm" else "hidden"
        netns = place.network.netns if place.network else ""
        self._move = Move(session, netns, kvm, place.directory)
        self._system = domain.boot.firmware != "none"
        self._clones = 0

    def offers(self) -> Mapping[type, object]:
        """By kind, what it can do."""
        stop = "ACPI's power button" if self._system else "power-off from inside (no one there hears the button)"
        return {
            Pausable: Pausable(how="virsh suspend, resume", pause=self._pause, resume=self._resume),
            Stoppable: Stoppable(
                how=f"{stop}; virsh destroy; virsh create", stop=self._stop, kill=self._kill, start=self._start
            ),
            Snapshottable: Snapshottable(
                how="virsh snapshot-create, of disk and memory inside the qcow2 file; snapshot-revert",
                take=self._take,
                restore=self._revert,
                drop=self._drop,
                size=lambda: None,
                fresh=False,
            ),
            Savable: Savable(
                how="virsh save, restore", save=self._save, restore=self._restore, size=lambda: allocated(self._saved)
            ),
            Persistent: Persistent(storages=STORAGES, recreate=self._start),
            Clonable: Clonable(
                how={"linked": "a domain on a qcow2 overlay of the template's disk", "full": "on a copy (qemu-img)"},
                freeze=lambda _: None,
                ways={"linked": self._linked, "full": self._full},
            ),
            Migratable: self._migratable(),
        }

    def _migratable(self) -> Migratable | Unsupported:
        if os.geteuid() != 0 or missing_programs(["libvirt"]):
            return Unsupported(reason="a second libvirtd beside the one in use takes root, tini and libvirtd")
        if not (self._place.network and self._place.network.netns):
            # A guest there would be found by nobody if this process were killed: its daemon would end with us.
            return Unsupported(reason="guests are moved between libvirtds of tare's own only, not from the system's")
        if self._domain.mac and not self._domain.bridge:
            return Unsupported(reason="only a guest on the rig's bridge is moved")
        return Migratable(
            how="virsh migrate --live to a second libvirtd on this host, over a unix socket",
            ready=self._move.open,
            migrate=self._migrate,
        )

    def end(self) -> None:
        """End the domain wherever it is, and what else was opened for it."""
        try:
            end(self.handle)
        finally:
            self._move.close()

    @property
    def _saved(self) -> Path:
        return self._directory / "saved"

    def _pause(self, deadline: Deadline) -> None:
        bounded("pause a domain", deadline, self.handle.suspend)

    def _resume(self, deadline: Deadline) -> None:
        bounded("resume a domain", deadline, self.handle.resume)

    def _stop(self, deadline: Deadline) -> None:
        if self._system:
            bounded("press a domain's power button", deadline, self.handle.shutdown)
        else:
            self._subject.power_off(deadline)
        while bounded("look for a domain", deadline, self._there):
            deadline.check("a guest's end in good order")
            time.sleep(LOOK_SECONDS)

    def _there(self) -> bool:
        try:
            return bool(self.handle.isActive())
        except libvirt.libvirtError as error:
            if is_no_domain(error):
                return False
            raise

    def _kill(self, deadline: Deadline) -> None:
        end(self.handle, deadline)

    def _start(self, deadline: Deadline) -> None:
        self._subject.begin_again(self._domain.uuid)
        self.handle = create(self._session.connection(deadline), render(self._domain), 0, deadline)
        forward(self._network, self.handle, self._place, deadline)

    def _take(self, deadline: Deadline) -> None:
        bounded("take a snapshot", deadline, lambda: self.handle.snapshotCreateXML(SNAPSHOT_XML, 0))

    def _revert(self, deadline: Deadline) -> None:
        """QEMU is replaced by another, and the guest in it knows nothing of that."""

        def revert() -> None:
            self.handle.revertToSnapshot(self.handle.snapshotLookupByName(SNAPSHOT))

        self._subject.channel.listen_anew()
        bounded("go back to a snapshot", deadline, revert)
        self._subject.go_on(deadline)

    def _drop(self, deadline: Deadline) -> None:
        bounded("drop a snapshot", deadline, lambda: self.handle.snapshotLookupByName(SNAPSHOT).delete())

    def _save(self, deadline: Deadline) -> None:
        bounded("save a domain", deadline, lambda: self.handle.save(str(self._saved)))

    def _restore(self, deadline: Deadline) -> None:
        connection = self._session.connection(deadline)
        self._subject.channel.listen_anew()
        bounded("restore a domain", deadline, lambda: connection.restore(str(self._saved)))
        self._subject.go_on(deadline)
        self._saved.unlink(missing_ok=True)

    def _linked(self, deadline: Deadline) -> None:
        root = self._domain.disks[0]
        path = self._clone_path()
        make_overlay(root.path, path, deadline, "qcow2")
        self._become(dataclasses.replace(root, path=path, between=(root.path, *root.between)), deadline)

    def _full(self, deadline: Deadline) -> None:
        root = self._domain.disks[0]
        path = self._clone_path()
        make_copy(root.path, path, deadline)
        self._become(dataclasses.replace(root, path=path, between=(), base=None), deadline)

    def _clone_path(self) -> Path:
        self._clones += 1
        return self._directory / f"clone{self._clones}.qcow2"

    def _become(self, root: object, deadline: Deadline) -> None:
        """A new domain on that disk, of its own name, UUID and MAC address."""
        identity = str(uuid.uuid4())
        domain = self._domain
        self._domain = dataclasses.replace(
            domain,
            name=f"{domain.name.partition('+')[0]}+{self._clones}",
            uuid=identity,
            mac=mac_of(identity) if domain.mac else "",
            disks=(root, *domain.disks[1:]),  # type: ignore[arg-type]
        )
        self._start(deadline)

    def _migrate(self, deadline: Deadline) -> None:
        """There, or back; both QEMUs have their connections until the one is gone."""
        self._subject.channel.listen_anew()
        self.handle = self._move.go(self.handle, deadline)
        self._subject.go_on(deadline)


def allocated(path: Path) -> int | None:
    """The bytes that a file takes on the disk; None when it is not there."""
    try:
        return path.stat().st_blocks * 512
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            return None
        raise TareError("a saved guest's size cannot be told", details=str(error)) from error
