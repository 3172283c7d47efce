"""Firecracker's command line and API resources for one guest, and the facts that they settle."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import command_line, mac_of
from harness.runtimes.guests.child import LOG
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk
from harness.runtimes.guests.instance import guest_facts

PROGRAM = "firecracker"
SERIAL = "/dev/ttyS0"
"""Its one serial port is the agent's channel, so the guest has no console."""
API = "api"
Resource = tuple[str, Mapping[str, object]]


def command(place: Place) -> list[str]:
    """The command line. Its log goes to a file: standard output is the guest's serial port."""
    name = "".join(letter if letter.isalnum() else "-" for letter in place.name)[:64]
    files = ("--api-sock", str(place.directory / API), "--log-path", str(place.directory / LOG))
    return confined(place, (PROGRAM, "--id", name, *files, "--level", "Warning"))


def resources(prepared: Prepared, place: Place, identity: str, tap: str) -> Iterator[Resource]:
    """The resources to PUT, in order; the last starts the guest.

    The root is shared and read-only, because Firecracker has no overlays. The data disk goes through the host's page
    cache, because Firecracker opens no disk past it. Flushes of the guest reach the disk (`Writeback`).
    """
    boot = command_line(
        place.entry, bool(place.scratch_mib), place.network if tap else None, "reboot=k", channel=SERIAL
    )
    yield "/machine-config", {"vcpu_count": place.shape.vcpus, "mem_size_mib": place.shape.memory_mib, "smt": False}
    yield (
        "/boot-source",
        {
            "kernel_image_path": str(prepared.root.kernel),
            "initrd_path": str(prepared.root.initramfs),
            "boot_args": boot,
        },
    )
    yield _drive("root", prepared.root.disk, read_only=True)
    if place.scratch_mib:
        yield _drive("data", data_disk(place), read_only=False)
    for number, path in enumerate(place.media):
        yield _drive(f"medium{number}", path, read_only=True)
    if tap:
        card = {"iface_id": "eth0", "guest_mac": mac_of(identity), "host_dev_name": tap}
        yield "/network-interfaces/eth0", card
    yield "/actions", {"action_type": "InstanceStart"}


def facts(prepared: Prepared, place: Place) -> dict[str, str]:
    """What the resources settle, for the parity table."""
    root, data = "raw read-only, host's page cache", "raw, host's page cache, flushed when asked"
    return guest_facts(PROGRAM, prepared, place, prepared.root.kernel_release, root, data)


def _drive(name: str, path: Path, *, read_only: bool) -> Resource:
    body: dict[str, object] = {
        "drive_id": name,
        "path_on_host": str(path),
        "is_root_device": False,  # never with an initrd
        "is_read_only": read_only,
        "cache_type": "Writeback",
    }
    return f"/drives/{name}", body
