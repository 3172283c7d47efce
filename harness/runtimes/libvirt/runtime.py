"""The libvirt runtime: guests of one libvirtd."""

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import libvirt

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons.reach import LIBVIRT_NAMED
from harness.model import Accelerator, Leftover, Milestone, Shape, Variant
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Available, Place, Prepared, RootForms, Runtime
from harness.runtimes.guests import accel
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import kernel_and_disk, make_data, make_overlay
from harness.runtimes.guests.firmware import uefi
from harness.runtimes.guests.instance import MILESTONES, Launched
from harness.runtimes.libvirt.domain import NAMESPACE, RUN_LABEL, labels_of, render
from harness.runtimes.libvirt.instance import Guest
from harness.runtimes.libvirt.interface import attached, forward, obstacle
from harness.runtimes.libvirt.knobs import DRIVERS, UNTESTED, XEN, Knobs, driver_of, variants
from harness.runtimes.libvirt.lifecycle import Lifecycle
from harness.runtimes.libvirt.session import Refused, Session, bounded, create, end
from harness.runtimes.libvirt.specification import describe, facts, kernel_of, system_of
from harness.runtimes.libvirt.xen import XenGuest
from harness.runtimes.requirements import missing, require, unavailable

LIST_SECONDS = 20.0
VHOST_NET = Path("/dev/vhost-net")
HUGE_PAGES = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
TRY = "read CONTRIBUTING.md, `Add a hypervisor that libvirt reaches`"
START = "make bench (starts one), or systemctl start libvirtd"
PACKAGES = "apt-get install --no-install-recommends libvirt-daemon-system qemu-system-x86 qemu-utils"


class Libvirt(Runtime):
    """Guests of one libvirtd."""

    name = "libvirt"
    daemon = "libvirt"
    variants = variants()

    def __init__(self) -> None:
        self._session = Session()
        self._kvm = accel.Kvm()

    @property
    def uri(self) -> str | None:
        """The libvirtd in use, None before `connect`."""
        return self._session.uri

    def connect(self, uri: str) -> None:
        """Use the libvirtd at `uri` from now on."""
        self._session.connect(uri)

    def prove(self, root: RootForms, deadline: Deadline, *, again: bool = False) -> Accelerator:
        """Return what guests run on here: boot one on KVM (at most 15 s) unless the answer is stored.

        `again` boots one in any case. It needs no libvirtd: one can then be started to fit the answer. Raises TareError
        when QEMU is missing.
        """
        return self._kvm.prove(root, deadline, again=again)

    def accelerator(self) -> Accelerator:
        """What guests run on here: `kvm` or `kvm-nested` once `prove` has found that, else `tcg`."""
        return self._kvm.accelerator

    def available(self, variant: Variant) -> Available:
        """Whether `variant` can run here; for KVM `prove` decides."""
        knobs = Knobs.of(variant.options)
        if lacking := _unreached(self.uri, knobs) or _lacking(knobs, 1):
            return lacking
        if knobs.accelerator == "kvm" and (refusal := self._kvm.lacking()):
            return refusal
        if self.uri is None:
            return unavailable("no libvirtd answers", fix=START)
        return obstacle(knobs.network) or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Check that the variant can run and that libvirt's user can read the root's forms. Raises TareError."""
        made = super().prepare(variant, shape, root, deadline)
        require(variant, _lacking(Knobs.of(variant.options), shape.memory_mib))
        self._session.connection(deadline)
        accelerator = Accelerator(variant.options["accelerator"])
        if accelerator is Accelerator.KVM:
            self._require_kvm(deadline)
            accelerator = self.accelerator()
        system = system_of(made)
        for path in (system.disk,) if system else kernel_and_disk(root):
            _readable(path)
        return replace(made, image=system.digest if system else made.image, accelerator=accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The full system's disk, or the root's disk with kernel and initramfs; firmware belongs to the host."""
        system = system_of(prepared)
        return (system.disk,) if system else kernel_and_disk(prepared.root)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of the disk, with kernel and initramfs unless the disk boots itself."""
        return DiskCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Guest:
        """Start one guest. The data disk is made before `requested`; overlay and network belong to the launch.

        Under Xen the guest's side listens: the domain starts paused and resumes once the channel is connected.
        """
        connection = self._session.connection(deadline)
        domain, network = describe(prepared, place, labels), Knobs.of(prepared.variant.options).network
        text = render(domain)
        root, *data = (disk for disk in domain.disks if not disk.medium)
        xen = domain.type == "xen"
        ends_with_us = 0 if place.lasting else libvirt.VIR_DOMAIN_START_AUTODESTROY
        flags = libvirt.VIR_DOMAIN_START_PAUSED if xen else ends_with_us
        with ExitStack() as undo:
            channel = Channel(place.directory, dials=xen)
            undo.callback(channel.close)
            channel.watch(MILESTONES)
            domain.console.touch(mode=0o644)
            for path in domain.files:
                undo.callback(path.unlink, missing_ok=True)
            for disk in data:
                _passable(disk.path)
                make_data(disk.path, place.scratch_mib, disk.format, deadline)
            requested = time.monotonic()
            assert root.base is not None
            make_overlay(root.base, root.path, deadline)
            undo.enter_context(attached(network, domain, place, self.uri or "", deadline))
            handle = create(connection, text, flags, deadline)
            undo.callback(end, handle)
            if xen:
                channel.dial(deadline)
                bounded("resume a domain", deadline, handle.resume)
            created = time.monotonic()
            forward(network, handle, place, deadline)
            launched = Launched(
                identity=str(handle.ID()) if xen else domain.uuid,
                place=place,
                channel=channel,
                accelerator=prepared.accelerator,
                kernel=kernel_of(prepared),
                requested=requested,
                created=created,
                known=facts(domain, prepared),
                last=Milestone.READY if domain.boot.firmware == "none" else Milestone.SERVICE,
            )
            if xen:
                return XenGuest(launched, handle, undo.pop_all())
            guest = Guest(launched, handle, network, undo.pop_all(), self.uri or "")
            if place.lasting:
                guest.lifecycle = Lifecycle(self._session, domain, handle, guest, place, network)
            return guest

    def leftovers(self) -> Iterable[Leftover]:
        """Every domain with tare's labels, of any run; none without a libvirtd."""
        if self.uri is None:
            return []
        deadline = Deadline.after(LIST_SECONDS)
        connection = self._session.connection(deadline)
        domains = bounded("list the domains", deadline, connection.listAllDomains)
        found = ((handle, _labels(handle, deadline)) for handle in domains)
        return [
            Leftover(kind="domain", name=handle.name(), run=labels.get(RUN_LABEL, ""))
            for handle, labels in found
            if labels is not None
        ]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Destroy a domain that carries tare's labels. Raises TareError for any other, whatever its name."""
        connection = self._session.connection(deadline)
        try:
            handle = bounded("find a domain", deadline, lambda: connection.lookupByName(leftover.name))
        except Refused as error:
            if error.code != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return
        if _labels(handle, deadline) is None:
            raise TareError(
                f"the domain {leftover.name} carries no label of tare",
                hint=f"virsh destroy {leftover.name}, if it is yours",
            )
        persistent = handle.isPersistent()
        end(handle, deadline)
        if persistent:
            bounded("undefine a domain", deadline, handle.undefine)

    def close(self) -> None:
        """Close the connection; libvirtd then destroys this run's remaining domains."""
        self._session.close()

    def _require_kvm(self, deadline: Deadline) -> None:
        """Raise TareError unless libvirtd, which runs QEMU as another user, offers KVM."""
        connection = self._session.connection(deadline)
        try:
            bounded(
                "describe KVM domains",
                deadline,
                lambda: connection.getDomainCapabilities(None, "x86_64", "q35", "kvm"),
            )
        except TareError as error:
            fix = "chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
            raise TareError("libvirtd offers no KVM", details=error.details, hint=fix) from error


def _unreached(uri: str | None, knobs: Knobs) -> Available | None:
    """Why the libvirt in use cannot have guests of this hypervisor; None when it may."""
    if knobs.accelerator in UNTESTED:
        return unavailable(f"untested: {UNTESTED[knobs.accelerator][1]}", fix=TRY)
    xen = knobs.accelerator in XEN
    if refusal := missing([*([] if xen else [accel.EMULATOR]), "qemu-img"], fix=PACKAGES):
        return refusal
    if uri is None or driver_of(uri) == DRIVERS[knobs.accelerator]:
        return None
    fix = f"in Xen's dom0: export {LIBVIRT_NAMED}=xen:///system" if xen else f"unset {LIBVIRT_NAMED}"
    return unavailable(f"libvirt is connected to {uri}, which is not {'Xen' if xen else 'QEMU'}", fix=fix)


def _lacking(knobs: Knobs, memory_mib: int) -> Available | None:
    """What the host lacks for a guest of these knobs and memory; None when nothing."""
    if knobs.vhost == "on" and not VHOST_NET.exists():
        return unavailable(f"{VHOST_NET} is missing", fix="modprobe vhost_net")
    if knobs.paging == "shadow" and accel.nested_paging() is not False:
        fix = "stop all guests, then modprobe -r kvm_amd; modprobe kvm_amd npt=0 (kvm_intel: ept=0)"
        return unavailable("this host's KVM uses nested paging", fix=fix)
    if knobs.firmware == "uefi" and uefi() is None:
        return unavailable("UEFI firmware (OVMF) is not installed", fix="apt-get install ovmf")
    if knobs.memory == "huge" and _huge_mib() < memory_mib:
        reason = f"the host's pool of huge pages has {_huge_mib()} MiB free; a guest takes all its memory from it"
        return unavailable(reason, fix="sysctl vm.nr_hugepages=600 (of 2 MiB, for a guest of 1 GiB)")
    return None


def _huge_mib() -> int:
    """Free memory in the pool of 2 MiB pages."""
    try:
        return 2 * int(HUGE_PAGES.read_text())
    except OSError:
        return 0


def _labels(handle: "libvirt.virDomain", deadline: Deadline) -> dict[str, str] | None:
    """The labels in a domain's metadata; None without any of tare's, and once the domain is gone."""
    try:
        text = bounded(
            "read a domain's metadata",
            deadline,
            lambda: handle.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, 0),
        )
    except Refused:
        return None
    return labels_of(text)


def _readable(path: Path) -> None:
    """Raise TareError unless libvirt's own user can read `path`."""
    if not path.stat().st_mode & 0o004:
        raise TareError(f"libvirt's user cannot read {path}", hint=f"chmod o+r {path}")
    _passable(path)


def _passable(path: Path) -> None:
    """Raise TareError unless libvirt's own user can enter every directory above `path`."""
    for folder in path.resolve().parents:
        if not folder.stat().st_mode & 0o001:
            raise TareError(
                f"libvirt's user cannot enter {folder}, the way to {path.name}",
                hint=f"chmod o+x {folder}, or set TARE_STATE to a folder that others may enter",
            )
