"""The description of one guest's domain, from a variant and a place, and the facts that it settles."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Literal

from harness.errors import TareError
from harness.model import SystemForm
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import BALLOON, command_line, credential, mac_of
from harness.runtimes.guests.firmware import uefi
from harness.runtimes.guests.instance import CONSOLE, MILESTONES
from harness.runtimes.guests.tap import tap_name
from harness.runtimes.libvirt.domain import DirectKernel, Disk, Domain, FullSystem
from harness.runtimes.libvirt.interface import inner
from harness.runtimes.libvirt.knobs import XEN, Kind, Knobs
from harness.runtimes.libvirt.xen import xen_command_line

VHOST: Mapping[str, Literal["", "vhost", "qemu"]] = {"auto": "", "on": "vhost", "off": "qemu"}
"""libvirt's names of the network card's drivers."""
TYPES: Mapping[Kind, Literal["kvm", "qemu", "xen"]] = {"kvm": "kvm", "tcg": "qemu", "xen-pv": "xen", "xen-pvh": "xen"}
MACHINES: Mapping[Kind, str] = {"kvm": "q35", "tcg": "q35", "xen-pv": "xenpv", "xen-pvh": "xenpvh"}
"""libvirt's names of what a guest runs on."""


def describe(prepared: Prepared, place: Place, labels: Mapping[str, str]) -> Domain:
    """The domain of one instance.

    The host caches the overlay over the root (`writeback`), as it does a container's files. It does not cache the data
    disk, which is measured (`none`, with Linux AIO). RAM is touched beforehand for instances that run jobs; one that
    only boots gets it as a stock guest does. Under TCG the CPU is all that QEMU emulates but five-level paging, which
    makes every page walk longer and which most hosts lack.
    """
    knobs = Knobs.of(prepared.variant.options)
    directory = place.directory
    identity = str(uuid.uuid4())
    model, *features = _cpu(knobs)
    network = place.network
    boot = _boot(prepared, place, knobs)
    return Domain(
        type=TYPES[knobs.accelerator],
        machine=MACHINES[knobs.accelerator],
        name=place.name,
        uuid=identity,
        labels=labels,
        cpus=place.shape.cpus,
        memory_mib=place.shape.memory_mib,
        boot=boot,
        disks=tuple(_disks(prepared, place, knobs)),
        channel=directory / "channel",
        milestones=directory / MILESTONES,
        console=directory / CONSOLE,
        cpu_model=model,
        cpu_with=tuple(name[1:] for name in features if name.startswith("+")),
        cpu_without=tuple(name[1:] for name in features if name.startswith("-")),
        pinned=knobs.pinned == "yes",
        preallocate=place.entry == "agent" and knobs.memory != "lazy",
        huge=knobs.memory == "huge",
        mac=mac_of(identity) if network else "",
        bridge=network.bridge if network and knobs.network in ("bridge", "nat") else "",
        macvtap=tap_name(identity) if network and knobs.network == "macvtap" else "",
        queues=place.shape.vcpus if knobs.queues == "all" else 1,
        vhost=VHOST[knobs.vhost],
        reporting=knobs.balloon == "reporting",
        further=tuple(_further(boot, knobs)),
    )


def system_of(prepared: Prepared) -> SystemForm | None:
    """The full system that a variant boots, None for the root itself. Raises TareError when none was made."""
    if prepared.variant.form == "root":
        return None
    if prepared.root.system is None:
        raise TareError(f"{prepared.variant.name} needs the root as a full system", details="none was built")
    return prepared.root.system


def _boot(prepared: Prepared, place: Place, knobs: Knobs) -> DirectKernel | FullSystem:
    scratch, network = bool(place.scratch_mib), inner(knobs.network, place.network)
    root = prepared.root
    if knobs.accelerator in XEN:
        words = xen_command_line(place.entry, scratch, network)
        return DirectKernel(kernel=root.kernel, initramfs=root.initramfs, command_line=words)
    if knobs.firmware == "none":
        console = knobs.console == "serial"
        further = f"{knobs.kernel} {BALLOON}" if knobs.balloon == "reporting" else knobs.kernel
        words = command_line(place.entry, scratch, network, further, console=console)
        hypervisor, _, arguments = knobs.multiboot.partition(" ")
        return DirectKernel(
            kernel=root.kernel,
            initramfs=root.initramfs,
            command_line=words,
            multiboot=hypervisor,
            multiboot_arguments=arguments,
        )
    strings = (credential(place.entry, scratch, network),)
    if knobs.firmware == "bios":
        return FullSystem(firmware="bios", strings=strings)
    if (files := uefi()) is None:
        raise TareError("UEFI firmware (OVMF) is not installed", hint="apt-get install ovmf")
    variables = place.directory / "uefi-variables"
    return FullSystem(firmware="uefi", strings=strings, code=files[0], template=files[1], variables=variables)


def _further(boot: DirectKernel | FullSystem, knobs: Knobs) -> Iterator[str]:
    """QEMU arguments: libvirt's own <initrd> must be one file, and its <ioapic> leaves the local APIC to KVM.

    Without that APIC KVM refuses the interrupt of asynchronous page faults, which QEMU still offers to the guest.
    """
    if boot.firmware == "none" and boot.multiboot:
        yield from ("-initrd", boot.modules)
    if knobs.irqchip == "qemu":
        yield from ("-machine", "kernel-irqchip=off", "-global", "x86_64-cpu.kvm-asyncpf-int=off")


def _cpu(knobs: Knobs) -> list[str]:
    """Model and features of the CPU; "" is QEMU's own choice, and Xen's."""
    if knobs.accelerator in XEN:
        return [""]
    if knobs.cpu == "host":
        return ["host-passthrough"] if knobs.accelerator == "kvm" else ["maximum", "-la57"]
    return knobs.cpu.replace("default", "").split(",")


def _disks(prepared: Prepared, place: Place, knobs: Knobs) -> Iterator[Disk]:
    root, system = place.directory / "root.qcow2", system_of(prepared)
    base = system.disk if system else prepared.root.disk
    # Under Xen QEMU serves disks in its default way: through the host's page cache, by threads.
    xen, letters = knobs.accelerator in XEN, "xvd" if knobs.accelerator in XEN else "vd"
    yield Disk(path=root, format="qcow2", cache=knobs.root_cache, target=f"{letters}a", base=base)
    if place.scratch_mib:
        yield Disk(
            path=place.scratch_directory / f"{place.name}.{knobs.data}",
            format=knobs.data,
            cache="writeback" if xen else knobs.cache,
            io="" if xen or knobs.aio == "threads" else knobs.aio,
            target=f"{letters}b",
            iothread=1 if knobs.iothread == "yes" else 0,
        )
    for letter, path in zip("cdef", place.media, strict=False):
        yield Disk(path=path, format="raw", cache="writeback", target=f"{letters}{letter}", medium=True)


def facts(domain: Domain, prepared: Prepared) -> dict[str, str]:
    """The facts that the domain's description settles, for the parity table."""
    xen = domain.type == "xen"
    known = {
        "runtime": "libvirt",
        "machine": domain.machine,
        "firmware": domain.boot.firmware,
        "cpu_model": "the host's, as Xen shows it" if xen else _words(domain),
        "vcpus_pinned": "yes" if domain.pinned else "no",
        "memory_preallocated": "huge pages" if domain.huge else "yes" if domain.preallocate or xen else "no",
        "network": Knobs.of(prepared.variant.options).network if domain.mac else "none",
        "network_queues": str(domain.queues),
        "balloon": "free page reporting" if domain.reporting else "none",
        "irqchip": Knobs.of(prepared.variant.options).irqchip if domain.type == "kvm" else domain.type,
        "image": prepared.image,
        "kernel_release": kernel_of(prepared),
    }
    for disk in domain.disks:
        role = {"a": "root", "b": "data"}.get(disk.target[-1], "medium")
        thread = " iothread" if disk.iothread else ""
        known[f"{role}_disk"] = f"{disk.format} cache={disk.cache} io={disk.io or 'threads'}{thread}"
    return known


def kernel_of(prepared: Prepared) -> str:
    """The release of the kernel that the guest runs."""
    system = system_of(prepared)
    return system.kernel_release if system else prepared.root.kernel_release


def _words(domain: Domain) -> str:
    """The CPU as QEMU writes it: `EPYC,+svm,-smap`."""
    added, hidden = (f",+{name}" for name in domain.cpu_with), (f",-{name}" for name in domain.cpu_without)
    return "".join([domain.cpu_model or "QEMU's default", *added, *hidden])
