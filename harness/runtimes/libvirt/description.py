"""From a variant and a place to the description of one guest's domain, and what of that is a fact of the instance."""

import uuid
from collections.abc import Mapping

from harness.runtimes.base import Place, Prepared
from harness.runtimes.libvirt.domain import Disk, Domain, command_line, mac_of
from harness.runtimes.libvirt.instance import USERSPACE


def describe(prepared: Prepared, place: Place, labels: Mapping[str, str]) -> Domain:
    """The domain of one instance.

    The overlay over the root is cached by the host (`writeback`), as a container's files are; the data disk, which is
    measured, is not (`none`, with Linux AIO). RAM is touched beforehand for instances that work; one that only boots
    gets it as a stock guest does. Under TCG the CPU is all that QEMU emulates, but without five-level paging: it makes
    every page walk longer, and hardware of most hosts has none.
    """
    options = prepared.variant.options
    kvm = options["accelerator"] == "kvm"
    directory = place.directory
    identity = str(uuid.uuid4())
    disks = [
        Disk(path=directory / "root.qcow2", format="qcow2", cache="writeback", target="vda", base=prepared.root.disk)
    ]
    if place.scratch_mib:
        raw = options["data"] == "raw"
        disks.append(
            Disk(
                path=place.scratch_directory / f"{place.name}.{options['data']}",
                format="raw" if raw else "qcow2",
                cache="none",
                io="native",
                target="vdb",
            )
        )
    return Domain(
        type="kvm" if kvm else "qemu",
        name=place.name,
        uuid=identity,
        labels=labels,
        cpus=place.shape.cpus,
        memory_mib=place.shape.memory_mib,
        kernel=prepared.root.kernel,
        initramfs=prepared.root.initramfs,
        command_line=command_line(place.entry, bool(place.scratch_mib), place.network),
        disks=tuple(disks),
        channel=directory / "channel",
        userspace=directory / USERSPACE,
        console=directory / "console",
        cpu_mode="host-passthrough" if kvm else "maximum",
        cpu_without=() if kvm else ("la57",),
        preallocate=place.entry == "agent",
        bridge=place.network.bridge if place.network else "",
        mac=mac_of(identity) if place.network else "",
    )


def facts(domain: Domain, prepared: Prepared) -> dict[str, str]:
    """What the domain's description settles, for the parity table."""
    known = {
        "runtime": "libvirt",
        "machine": domain.machine,
        "cpu_model": domain.cpu_mode + "".join(f",-{name}" for name in domain.cpu_without),
        "memory_preallocated": "yes" if domain.preallocate else "no",
        "image": prepared.image,
        "kernel_release": prepared.root.kernel_release,
    }
    for disk in domain.disks:
        role = "root" if disk.target == "vda" else "data"
        known[f"{role}_disk"] = f"{disk.format} cache={disk.cache} io={disk.io or 'threads'}"
    return known
