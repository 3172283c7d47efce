"""The command line of libkrun's process for one guest, and the facts that it settles."""

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import init_arguments, mac_of
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk
from harness.runtimes.guests.instance import guest_facts

WHEEL, PACKAGE = "smolmachines", "smol"
"""The distribution on PyPI that brings libkrun and its kernel, and the package that holds them."""
PROGRAM = Path(__file__).with_name("krun_vmm.py")
FIRST = ("/bin/sh", "/opt/tare/virtiofs.sh")
DATA_DEVICE = "/dev/vda"
OFFLOADS = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11
"""Checksums and TCPv4 segmentation, both ways (virtio 1.2, 5.1.3: F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_HOST_TSO4)."""
BANNER = re.compile(rb"Linux version (\d[\w.+-]*)")


@dataclass(frozen=True, slots=True)
class Libraries:
    """libkrun, and the library that holds its guest kernel."""

    krun: Path
    firmware: Path

    def kernel_release(self) -> str:
        """The guest kernel's release, from its own banner; "unknown" without one."""
        return _release(self.firmware)


@cache
def _release(firmware: Path) -> str:
    found = BANNER.search(firmware.read_bytes())
    return found[1].decode() if found else "unknown"


def libraries() -> Libraries | None:
    """The wheel's libraries, None where it is not installed. The package itself is not imported."""
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        krun = Path(folder) / "libkrun.so"
        firmware = next(iter(sorted(Path(folder).glob("libkrunfw.so*"))), None)
        if krun.exists() and firmware is not None:
            return Libraries(krun, firmware)
    return None


def command(prepared: Prepared, place: Place, found: Libraries, identity: str, tap: str) -> list[str]:
    """The command line of the process that becomes the guest."""
    text = json.dumps(config(prepared, place, found, identity, tap))
    return confined(place, (sys.executable, "-I", str(PROGRAM), text))


def config(prepared: Prepared, place: Place, found: Libraries, identity: str, tap: str) -> dict[str, object]:
    """The argument of krun_vmm.py."""
    data = [("data", str(data_disk(place)), False)] if place.scratch_mib else []
    media = [(f"medium{number}", str(path), True) for number, path in enumerate(place.media)]
    words = init_arguments(place.entry, DATA_DEVICE if data else "", place.network if tap else None)
    return {
        "library": str(found.krun),
        "firmware": str(found.firmware),
        "vcpus": place.shape.vcpus,
        "memory_mib": place.shape.memory_mib,
        "root": str(prepared.root.directory),
        "disks": [*data, *media],
        "tap": tap,
        "mac": mac_of(identity),
        "features": OFFLOADS,
        "argv": [*FIRST, *words],
    }


def facts(prepared: Prepared, place: Place, release: str) -> dict[str, str]:
    """What the command settles, for the parity table."""
    root, data = "the root's directory, virtio-fs, read-only", "raw, bypasses the host's page cache"
    return guest_facts("libkrun", prepared, place, release, root, data)
