"""Arguments of a guest: on the kernel's command line, or for a full system by its firmware; its first milestones."""

import re
import uuid

from harness.errors import TareError
from harness.model import Milestone
from harness.runtimes.base import Entry, NetworkPlace

CLEAN_ARGUMENT = re.compile(r"[\x21-\x7e]+")
DATA_DEVICE = "/dev/vdb"
EARLY_DEVICE = "/dev/ttyS1"
"""The serial port into which the beacon speaks before there is a channel: an exit or more for each byte."""
POWER_OFF = (
    "/usr/bin/python3",
    "-I",
    "-c",
    "import ctypes, os; os.sync(); ctypes.CDLL(None).reboot(0x4321FEDC)",
)
"""Has a guest end itself once all is written (reboot(2), RB_POWER_OFF): its init, the agent, hears no power button."""
BALLOON = "tare.balloon"
"""The word at which init loads the balloon's module, for which other guests need not wait."""
CREDENTIAL = "io.systemd.credential:tare.place="
"""How systemd finds a credential among the firmware's strings (systemd.system-credentials(7), SMBIOS type 11)."""


def command_line(
    entry: Entry,
    scratch: bool,
    network: NetworkPlace | None,
    further: str = "",
    *,
    channel: str = "",
    console: bool = True,
) -> str:
    """The kernel's arguments: a quiet serial console, an end instead of a hang after a panic, and what init is told.

    `further` are words for the kernel itself, such as `mitigations=off`. `channel` is the serial port that the agent
    speaks over where there is no virtio-serial. Then, or without `console`, the kernel has no console but a terminal
    that nobody sees.
    """
    where = "ttyS0" if console and not channel else "tty0"
    words = told(entry, DATA_DEVICE if scratch else "", network)
    words += clean(f"tare.channel={channel}") if channel else []
    return " ".join((f"console={where}", "quiet", "panic=-1", "net.ifnames=0", *words, *clean(*further.split())))


def credential(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """The same for a full system, whose command line is on its disk: a string that the firmware hands on."""
    return CREDENTIAL + " ".join(told(entry, DATA_DEVICE if scratch else "", network))


def told(entry: Entry, data_device: str, network: NetworkPlace | None) -> list[str]:
    """What init is told, as words of the kernel's command line; `data_device` is "" without a data disk."""
    words = [f"tare.entry={entry}"]
    if data_device:
        words.append(f"tare.scratch={data_device}")
    if network is not None:
        words.append(f"tare.address={network.address}/{network.prefix},{network.host_address}")
    return clean(*words)


def clean(*words: str) -> list[str]:
    """The words as they are; raises TareError for one that the kernel would read as two."""
    for word in words:
        if not CLEAN_ARGUMENT.fullmatch(word):
            raise TareError("a kernel argument holds a blank or a control character", details=repr(word))
    return list(words)


def first_milestones(name: str, stamp: tuple[float, str]) -> dict[Milestone, float]:
    """`userspace` as the host stamped the beacon's first line; `kernel` is that less the guest's clock, which began
    with it. Raises TareError when the line tells no time."""
    at, line = stamp
    try:
        age = float(line.split()[1])
    except (IndexError, ValueError):
        raise TareError(f"{name} sent no userspace milestone", details=line[:200]) from None
    return {Milestone.USERSPACE: at, Milestone.KERNEL: at - age}


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range, from a domain's UUID."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.UUID(identity).bytes[:3])
