"""What a guest is told: its kernel and first script on the command line, a full system by its firmware. And its MAC."""

import re
import uuid

from harness.errors import TareError
from harness.runtimes.base import Entry, NetworkPlace

CLEAN_ARGUMENT = re.compile(r"[\x21-\x7e]+")
DATA_DEVICE = "/dev/vdb"
CREDENTIAL = "io.systemd.credential:tare.place="
"""How systemd finds a credential among the firmware's strings (systemd.system-credentials(7), SMBIOS type 11)."""


def command_line(entry: Entry, scratch: bool, network: NetworkPlace | None, *, console: bool = True) -> str:
    """The kernel's arguments: a quiet serial console, an end instead of a hang after a panic, and what init is told.

    Without `console` the kernel has none but a terminal that nobody sees.
    """
    where = "ttyS0" if console else "tty0"
    return f"console={where} quiet panic=-1 net.ifnames=0 {_place(entry, scratch, network)}"


def credential(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """The same for a full system, whose command line is on its disk: a string that the firmware hands on."""
    return CREDENTIAL + _place(entry, scratch, network)


def _place(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """What the instance runs first, its data disk and its address, as words."""
    words = [f"tare.entry={entry}"]
    if scratch:
        words.append(f"tare.scratch={DATA_DEVICE}")
    if network is not None:
        words.append(f"tare.address={network.address}/{network.prefix},{network.host_address}")
    for word in words:
        if not CLEAN_ARGUMENT.fullmatch(word):
            raise TareError("a kernel argument holds a blank or a control character", details=repr(word))
    return " ".join(words)


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range, from a domain's UUID."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.UUID(identity).bytes[:3])
