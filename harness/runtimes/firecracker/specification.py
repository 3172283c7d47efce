"""From a place to Firecracker's command line and the resources of one guest, and what of that is a fact of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import command_line, mac_of
from harness.runtimes.guests.child import LOG
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk

PROGRAM = "firecracker"
SERIAL = "/dev/ttyS0"
"""Its one serial port: the agent's channel, so that the guest has no console."""
API = "api"
Resource = tuple[str, Mapping[str, object]]


def command(place: Place) -> list[str]:
    """The command line. Its log goes to a file: standard output is the guest's serial port."""
    name = "".join(letter if letter.isalnum() else "-" for letter in place.name)[:64]
    files = ("--api-sock", str(place.directory / API), "--log-path", str(place.directory / LOG))
    return confined(place, (PROGRAM, "--id", name, *files, "--level", "Warning"))


def resources(prepared: Prepared, place: Place, identity: str, tap: str) -> Iterator[Resource]:
    """What to PUT, in order; the last starts the guest.

    The root is shared and read-only, since Firecracker has no overlays; the data disk goes through the host's page
    cache, since Firecracker opens no disk past it. Flushes of the guest reach the disk (`Writeback`).
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
    known = {
        "runtime": PROGRAM,
        "machine": PROGRAM,
        "vcpus_pinned": "no",
        "memory_preallocated": "no",
        "network_queues": "1",
        "image": prepared.image,
        "kernel_release": prepared.root.kernel_release,
        "root_disk": "raw read-only, host's page cache",
    }
    return known | ({"data_disk": "raw, host's page cache, flushed when asked"} if place.scratch_mib else {})


def _drive(name: str, path: Path, *, read_only: bool) -> Resource:
    body: dict[str, object] = {
        "drive_id": name,
        "path_on_host": str(path),
        "is_root_device": False,  # never with an initrd
        "is_read_only": read_only,
        "cache_type": "Writeback",
    }
    return f"/drives/{name}", body
