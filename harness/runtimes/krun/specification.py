"""From a place to the command line of libkrun's process, and what of that is a fact of the guest."""

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.errors import TareError
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests.boot_arguments import mac_of, told
from harness.runtimes.guests.confined import confined
from harness.runtimes.guests.disks import data_disk

WHEEL, PACKAGE = "smolmachines", "smol"
"""The distribution of PyPI that brings libkrun and its kernel, and the package that holds them."""
PROGRAM = Path(__file__).with_name("krun_vmm.py")
FIRST = ("/bin/sh", "/opt/tare/virtiofs.sh")
DATA_DEVICE = "/dev/vda"
OFFLOADS = 1 << 0 | 1 << 1 | 1 << 7 | 1 << 11
"""Checksums and TCPv4 segmentation both ways (virtio 1.2, 5.1.3: F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_HOST_TSO4)."""
BANNER = re.compile(rb"Linux version (\d[\w.+-]*)")


@dataclass(frozen=True, slots=True)
class Libraries:
    """libkrun, and the library that holds its guest kernel."""

    krun: Path
    firmware: Path

    def kernel_release(self) -> str:
        """The guest kernel's release, from its own banner; "unknown" where it cannot be read."""
        found = BANNER.search(self.firmware.read_bytes())
        return found[1].decode() if found else "unknown"


def libraries() -> Libraries | None:
    """Those of the wheel, None where it is not installed. The package itself is not imported."""
    found = importlib.util.find_spec(PACKAGE)
    for folder in (found.submodule_search_locations or ()) if found else ():
        krun = Path(folder) / "libkrun.so"
        firmware = next(iter(sorted(Path(folder).glob("libkrunfw.so*"))), None)
        if krun.exists() and firmware is not None:
            return Libraries(krun, firmware)
    return None


def command(prepared: Prepared, place: Place, identity: str, tap: str) -> list[str]:
    """The command line of the process that becomes the guest."""
    text = json.dumps(config(prepared, place, identity, tap))
    return confined(place, (sys.executable, "-I", str(PROGRAM), text))


def config(prepared: Prepared, place: Place, identity: str, tap: str) -> dict[str, object]:
    """What krun_vmm.py is told. Raises TareError where libkrun has gone."""
    found = libraries()
    if found is None:
        raise TareError("libkrun is no longer installed", hint="make krun")
    data = [("data", str(data_disk(place)), False)] if place.scratch_mib else []
    media = [(f"medium{number}", str(path), True) for number, path in enumerate(place.media)]
    words = told(place.entry, DATA_DEVICE if data else "", place.network if tap else None)
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
    known = {
        "runtime": "libkrun",
        "machine": "libkrun",
        "vcpus_pinned": "no",
        "memory_preallocated": "no",
        "network_queues": "1",
        "image": prepared.image,
        "kernel_release": release,
        "root_disk": "the root's directory, virtiofs, read-only",
    }
    return known | ({"data_disk": "raw, past the host's page cache"} if place.scratch_mib else {})
