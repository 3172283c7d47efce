"""Lifecycle operations on a guest of libvirt."""

import dataclasses
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import libvirt

from harness.deadline import Deadline
from harness.host.daemons.private import Kvm, missing_programs
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
from harness.runtimes.guests.instance import QemuGuest
from harness.runtimes.guests.lifecycle import GuestLifecycle
from harness.runtimes.libvirt.domain import Domain, render
from harness.runtimes.libvirt.interface import forward
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.migration import Migration
from harness.runtimes.libvirt.session import Refused, Session, bounded, create, end

SNAPSHOT = "kept"
SNAPSHOT_XML = f"<domainsnapshot><name>{SNAPSHOT}</name></domainsnapshot>"
LOOK_SECONDS = 0.005


class Lifecycle(GuestLifecycle):
    """The operations on one guest; `handle` is its current domain, which has no AUTODESTROY."""

    def __init__(
        self,
        session: Session,
        domain: Domain,
        handle: "libvirt.virDomain",
        guest: QemuGuest,
        place: Place,
        network: Network,
    ) -> None:
        super().__init__(place.directory)
        self.handle = handle
        self._session, self._domain, self._guest = session, domain, guest
        self._place, self._network = place, network
        kvm: Kvm = "offered" if domain.type == "kvm" else "hidden"
        netns = place.network.netns if place.network else ""
        self._migration = Migration(session, netns, kvm, place.directory)
        self._system = domain.boot.firmware != "none"

    def offers(self) -> Mapping[type, object]:
        """By capability, its operations or why there are none."""
        stop = "ACPI's power button" if self._system else "power-off from inside (the agent sees no power button)"
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
            Savable: self._savable("virsh save, restore", self._save, self._restore),
            Persistent: self._persistent(),
            Clonable: self._clonable("a domain"),
            Migratable: self._migratable(),
        }

    def _migratable(self) -> Migratable | Unsupported:
        if os.geteuid() != 0 or missing_programs(["libvirt"]):
            return Unsupported(reason="a second libvirtd needs root, tini and libvirtd")
        if not (self._place.network and self._place.network.netns):
            # The second daemon ends with this process: after a kill nothing would find a guest there.
            return Unsupported(reason="tare migrates guests only between libvirtds of its own, not from the system's")
        if self._domain.mac and not self._domain.bridge:
            return Unsupported(reason="tare migrates only a guest on the rig's bridge")
        return Migratable(
            how="virsh migrate --live to a second libvirtd on this host, over a unix socket",
            ready=self._migration.open,
            migrate=self._migrate,
        )

    def end(self) -> None:
        """Destroy the domain on whichever daemon it is, then end the second daemon."""
        try:
            end(self.handle)
        finally:
            self._migration.close()

    @property
    def _disk(self) -> Path:
        return self._domain.disks[0].path

    def _use_clone(self, disk: Path, *, linked: bool) -> None:
        """A new domain on that disk, with a name, UUID and MAC address of its own."""
        domain, identity = self._domain, str(uuid.uuid4())
        old, *rest = domain.disks
        root = dataclasses.replace(
            old, path=disk, between=(old.path, *old.between) if linked else (), base=old.base if linked else None
        )
        self._domain = dataclasses.replace(
            domain,
            name=f"{domain.name.partition('+')[0]}+{self._clones}",
            uuid=identity,
            mac=mac_of(identity) if domain.mac else "",
            disks=(root, *rest),
        )

    def _start(self, deadline: Deadline) -> None:
        self._guest.begin_again(self._domain.uuid)
        self.handle = create(self._session.connection(deadline), render(self._domain), 0, deadline)
        forward(self._network, self.handle, self._place, deadline)

    def _pause(self, deadline: Deadline) -> None:
        bounded("pause a domain", deadline, self.handle.suspend)

    def _resume(self, deadline: Deadline) -> None:
        bounded("resume a domain", deadline, self.handle.resume)

    def _stop(self, deadline: Deadline) -> None:
        if self._system:
            bounded("press a domain's power button", deadline, self.handle.shutdown)
        else:
            self._guest.power_off(deadline)
        while self._active(deadline):
            deadline.check("a guest's power-off")
            time.sleep(LOOK_SECONDS)

    def _active(self, deadline: Deadline) -> bool:
        try:
            return bool(bounded("check a domain", deadline, self.handle.isActive))
        except Refused as error:
            if error.code != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return False

    def _kill(self, deadline: Deadline) -> None:
        end(self.handle, deadline)

    def _take(self, deadline: Deadline) -> None:
        bounded("take a snapshot", deadline, lambda: self.handle.snapshotCreateXML(SNAPSHOT_XML, 0))

    def _revert(self, deadline: Deadline) -> None:
        """libvirt replaces the QEMU; the guest in it does not notice."""

        def revert() -> None:
            self.handle.revertToSnapshot(self.handle.snapshotLookupByName(SNAPSHOT))

        self._guest.channel.listen_anew()
        bounded("revert to a snapshot", deadline, revert)
        self._guest.go_on(deadline)

    def _drop(self, deadline: Deadline) -> None:
        bounded("delete a snapshot", deadline, lambda: self.handle.snapshotLookupByName(SNAPSHOT).delete())

    def _save(self, deadline: Deadline) -> None:
        bounded("save a domain", deadline, lambda: self.handle.save(str(self._saved)))

    def _restore(self, deadline: Deadline) -> None:
        connection = self._session.connection(deadline)
        self._guest.channel.listen_anew()
        bounded("restore a domain", deadline, lambda: connection.restore(str(self._saved)))
        self._guest.go_on(deadline)
        self._saved.unlink(missing_ok=True)

    def _migrate(self, deadline: Deadline) -> None:
        """To the other daemon; both QEMUs have a connection each until the first one ends."""
        self._guest.channel.listen_anew()
        self.handle = self._migration.move(self.handle, deadline)
        self._guest.go_on(deadline)
