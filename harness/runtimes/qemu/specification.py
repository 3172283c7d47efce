"""QEMU's command line for one microvm, and the facts that it settles.

The machine is the one of https://www.qemu.org/docs/master/system/i386/microvm.html with ACPI, without which Debian's
kernel finds no virtio-mmio devices.
"""

from collections.abc import Iterator
from pathlib import Path

from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.accel import EMULATOR
from harness.runtimes.guests.boot_arguments import command_line, mac_of
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk
from harness.runtimes.guests.instance import CONSOLE, MILESTONES, guest_facts

MONITOR = "monitor"
"""The monitor's socket, beside the channel."""
CPU = {"kvm": "host", "tcg": "max,-la57"}
"""As libvirt's guests: the host's, or all that QEMU emulates but five-level paging, which makes page walks longer."""


def root_disk(place: Place) -> Path:
    """The overlay over the shared root."""
    return place.directory / "root.qcow2"


def command(
    prepared: Prepared,
    place: Place,
    identity: str,
    tap: str,
    *,
    vhost: bool,
    counter_khz: int = 0,
    disk: Path | None = None,
    incoming: bool = False,
) -> list[str]:
    """QEMU's command line, with what puts it into the network namespace and on the shape's CPUs before it.

    `identity` is the guest's UUID, `tap` its interface in the place's network namespace ("" without network), which
    with `vhost` the host's kernel serves. `counter_khz` is the frequency of the time stamp counter for an emulated
    guest (see guests.tsc), 0 on KVM, where the guest reads it. `disk` is its root disk unless that is the first;
    `incoming` waits for a saved state. Threads are named, for `VmmProcess.counters`. QEMU dies with the thread that
    starts it, as libvirt's guests do with their connection.
    """
    network = place.network if tap else None
    further = f"tsc_early_khz={counter_khz}" if counter_khz else ""
    argv = (
        *(EMULATOR, "-name", f"guest={_value(place.name)},debug-threads=on", "-uuid", identity),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *_machine(prepared, place),
        *("-kernel", str(prepared.root.kernel), "-initrd", str(prepared.root.initramfs)),
        *("-append", command_line(place.entry, bool(place.scratch_mib), network, further)),
        *_ports(place),
        *_disks(disk or root_disk(place), place),
        *(_network(tap, identity, vhost) if tap else ()),
        *(("-incoming", "defer") if incoming else ()),
    )
    return confined(place, argv)


def facts(prepared: Prepared, place: Place) -> dict[str, str]:
    """What the command line settles, for the parity table."""
    root, data = "qcow2 cache=writeback io=threads", "raw cache=none io=native"
    return guest_facts("qemu", prepared, place, prepared.root.kernel_release, root, data) | {
        "machine": "microvm",
        "cpu_model": CPU[prepared.variant.options["accelerator"]],
        "vcpus_pinned": "yes",
        "memory_preallocated": "yes" if _preallocated(place) else "no",
    }


def _machine(prepared: Prepared, place: Place) -> Iterator[str]:
    """Machine, CPU and memory; RAM is touched beforehand for instances that run jobs, as for libvirt's guests."""
    kind = prepared.variant.options["accelerator"]
    memory, vcpus = place.shape.memory_mib, place.shape.vcpus
    touched = "on" if _preallocated(place) else "off"
    yield from ("-machine", "microvm,acpi=on,memory-backend=ram", "-accel", kind, "-cpu", CPU[kind])
    yield from ("-global", "virtio-mmio.force-legacy=off")
    yield from ("-m", f"{memory}M", "-object", f"memory-backend-ram,id=ram,size={memory}M,prealloc={touched}")
    yield from ("-smp", f"{vcpus},sockets=1,cores={vcpus},threads=1")


def _ports(place: Place) -> Iterator[str]:
    """Monitor, console, the second serial port to which init writes first, and the agent's channel.

    microvm has one serial port of its own; the second is at the address where every kernel looks for ttyS1.
    """
    folder = place.directory
    yield from ("-chardev", f"socket,id=monitor,path={_value(folder / MONITOR)}", "-mon", "monitor,mode=control")
    yield from ("-chardev", f"file,id=console,path={_value(folder / CONSOLE)}", "-serial", "chardev:console")
    yield from ("-chardev", f"socket,id=early,path={_value(folder / MILESTONES)}")
    yield from ("-device", "isa-serial,chardev=early,index=1")
    yield from ("-chardev", f"socket,id=tare,path={_value(folder / 'channel')}")
    yield from ("-device", "virtio-serial-device,id=ports")
    yield from ("-device", "virtserialport,bus=ports.0,chardev=tare,name=tare")


def _disks(root: Path, place: Place) -> Iterator[str]:
    """The root disk, cached by the host as a container's files are; the measured data disk, past its page cache."""
    yield from _disk("root", root, "qcow2,cache=writeback")
    if place.scratch_mib:
        yield from _disk("data", data_disk(place), "raw,cache=none,aio=native")
    for number, path in enumerate(place.media):
        yield from _disk(f"medium{number}", path, "raw,cache=writeback,readonly=on")


def _disk(name: str, path: Path, form: str) -> Iterator[str]:
    yield from ("-drive", f"if=none,id={name},file={_value(path)},format={form}")
    yield from ("-device", f"virtio-blk-device,drive={name}")


def _network(tap: str, identity: str, vhost: bool) -> Iterator[str]:
    yield from ("-netdev", f"tap,id=net,ifname={tap},script=no,downscript=no,vhost={'on' if vhost else 'off'}")
    yield from ("-device", f"virtio-net-device,netdev=net,mac={mac_of(identity)}")


def _preallocated(place: Place) -> bool:
    return place.entry == "agent"


def _value(text: object) -> str:
    """A value within one of QEMU's comma-separated options."""
    return str(text).replace(",", ",,")
