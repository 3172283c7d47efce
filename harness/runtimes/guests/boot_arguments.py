"""The arguments of a guest's init, on the kernel's command line or in firmware strings; its first milestones."""

import re
import uuid

from harness.errors import TareError
from harness.model import Milestone
from harness.runtimes.base import Entry, NetworkPlace

CLEAN_ARGUMENT = re.compile(r"[\x21-\x7e]+")
DATA_DEVICE = "/dev/vdb"
EARLY_DEVICE = "/dev/ttyS1"
"""The serial port to which the beacon writes before there is a channel; each byte costs a VM exit or more."""
POWER_OFF = (
    "/usr/bin/python3",
    "-I",
    "-c",
    "import ctypes, os; os.sync(); ctypes.CDLL(None).reboot(0x4321FEDC)",
)
"""Writes everything to disk and ends the guest (reboot(2), RB_POWER_OFF): the agent, as init, sees no power button."""
BALLOON = "tare.balloon"
"""The argument at which init loads the balloon's module; other guests do not wait for it."""
CREDENTIAL = "io.systemd.credential:tare.place="
"""The prefix of a systemd credential in SMBIOS type 11 strings (systemd.system-credentials(7))."""


def command_line(
    entry: Entry,
    scratch: bool,
    network: NetworkPlace | None,
    further: str = "",
    *,
    channel: str = "",
    console: bool = True,
) -> str:
    """The kernel's arguments: a quiet serial console, a reboot after a panic, and init's arguments.

    `further` are arguments for the kernel itself, such as `mitigations=off`. `channel` is the agent's serial port where
    there is no virtio-serial. With `channel`, or without `console`, the kernel's only console is an unused terminal.
    """
    where = "ttyS0" if console and not channel else "tty0"
    words = init_arguments(entry, DATA_DEVICE if scratch else "", network)
    words += clean(f"tare.channel={channel}") if channel else []
    return " ".join((f"console={where}", "quiet", "panic=-1", "net.ifnames=0", *words, *clean(*further.split())))


def credential(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """The firmware string with init's arguments, for a full system, whose command line is on its disk."""
    return CREDENTIAL + " ".join(init_arguments(entry, DATA_DEVICE if scratch else "", network))


def init_arguments(entry: Entry, data_device: str, network: NetworkPlace | None) -> list[str]:
    """Init's arguments, as words of the kernel's command line; `data_device` is "" without a data disk."""
    words = [f"tare.entry={entry}"]
    if data_device:
        words.append(f"tare.scratch={data_device}")
    if network is not None:
        words.append(f"tare.address={network.address}/{network.prefix},{network.host_address}")
    return clean(*words)


def clean(*words: str) -> list[str]:
    """The words, unchanged; raises TareError for one that the kernel would read as two."""
    for word in words:
        if not CLEAN_ARGUMENT.fullmatch(word):
            raise TareError("a kernel argument holds a blank or a control character", details=repr(word))
    return list(words)


def first_milestones(name: str, stamp: tuple[float, str]) -> dict[Milestone, float]:
    """`userspace`, when the host stamped the beacon's first line, and `kernel`: that minus the guest's uptime in it.

    Raises TareError when the line holds no uptime.
    """
    at, line = stamp
    try:
        age = float(line.split()[1])
    except (IndexError, ValueError):
        raise TareError(f"{name} sent no userspace milestone", details=line[:200]) from None
    return {Milestone.USERSPACE: at, Milestone.KERNEL: at - age}


def mac_of(identity: str) -> str:
    """A MAC address in QEMU's range, from a domain's UUID."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.UUID(identity).bytes[:3])
