"""What a guest's kernel and init are told on the kernel's command line, and its MAC address."""

import re
import uuid

from harness.errors import TareError
from harness.runtimes.base import Entry, NetworkPlace

CLEAN_ARGUMENT = re.compile(r"[\x21-\x7e]+")
DATA_DEVICE = "/dev/vdb"


def command_line(entry: Entry, scratch: bool, network: NetworkPlace | None, further: str = "") -> str:
    """The kernel's arguments: a quiet serial console, an end instead of a hang after a panic, and what init is told.

    `further` are words for the kernel itself, such as `mitigations=off`.
    """
    words = ["console=ttyS0", "quiet", "panic=-1", "net.ifnames=0", f"tare.entry={entry}"]
    if scratch:
        words.append(f"tare.scratch={DATA_DEVICE}")
    if network is not None:
        words.append(f"tare.address={network.address}/{network.prefix},{network.host_address}")
    words += further.split()
    for word in words:
        if not CLEAN_ARGUMENT.fullmatch(word):
            raise TareError("a kernel argument holds a blank or a control character", details=repr(word))
    return " ".join(words)


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range, from a domain's UUID."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.UUID(identity).bytes[:3])
