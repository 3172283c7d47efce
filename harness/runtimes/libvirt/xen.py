"""Guests of Xen: other kernel arguments, consoles, proof of the accelerator and CPU time than under QEMU.

libvirt's Xen driver has neither virtio-serial nor AUTODESTROY. A guest of a killed run stays until the next run or
`tare clean` removes it by its labels.
"""

import contextlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import libvirt
from lxml import etree

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, NetworkPlace
from harness.runtimes.base import BESIDE, Counters, Entry
from harness.runtimes.guests.boot_arguments import clean, init_arguments
from harness.runtimes.guests.instance import CONSOLE, MILESTONES, Launched
from harness.runtimes.guests.vmm_process import NANO
from harness.runtimes.libvirt.instance import Guest
from harness.runtimes.libvirt.session import bounded

ROOT_DEVICE, DATA_DEVICE = "/dev/xvda", "/dev/xvdb"
EARLY_DEVICE, CHANNEL = "/dev/hvc1", "/dev/hvc2"
"""The domain's channels: the beacon writes its first line to the first. hvc0 is the console."""
OS_TYPES: Mapping[Accelerator, tuple[str, ...]] = {
    Accelerator.XEN_PV: ("linux", "xen"),
    Accelerator.XEN_PVH: ("xenpvh",),
}
"""libvirt's names of the kind of system that a domain runs."""
ASK_SECONDS = 10.0


def xen_command_line(entry: Entry, scratch: bool, network: NetworkPlace | None) -> str:
    """The kernel's arguments in a guest of Xen; see `guests.boot_arguments.command_line`."""
    words = init_arguments(entry, DATA_DEVICE if scratch else "", network)
    words += clean(f"tare.root={ROOT_DEVICE}", f"tare.channel={CHANNEL}")
    return " ".join(("console=hvc0", "quiet", "panic=-1", "net.ifnames=0", *words))


class Terminal:
    """A guest's console, copied to a file at each `drain`, since the terminal itself holds only 4 KiB."""

    def __init__(self, device: Path, file: Path) -> None:
        self._descriptor = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        self._file = file

    def drain(self) -> None:
        """Copy all output so far to the file."""
        with contextlib.suppress(OSError), self._file.open("ab") as file:
            while data := os.read(self._descriptor, 1 << 16):
                file.write(data)

    def close(self) -> None:
        """Close the terminal."""
        os.close(self._descriptor)


class XenGuest(Guest):
    """A running domain of Xen: QEMU serves its disks and channels, the hypervisor runs its vCPUs."""

    early = (EARLY_DEVICE, MILESTONES)
    option = "-xen-domid"

    def __init__(self, launched: Launched, handle: "libvirt.virDomain", resources: ExitStack) -> None:
        super().__init__(launched, handle, "bridge", resources)
        self._terminal = Terminal(console_of(handle), launched.place.directory / CONSOLE)

    def counters(self) -> Counters:
        """CPU seconds of QEMU by its threads, and those of the guest, which dom0's clocks do not count."""
        information = bounded("read a domain's CPU time", Deadline.after(ASK_SECONDS), self._handle.info)
        return {**super().counters(), BESIDE: information[4] * NANO}

    def _dead(self) -> str | None:
        self._terminal.drain()
        return super()._dead()

    def _tail(self) -> str:
        self._terminal.drain()
        return super()._tail()

    def _prove(self) -> None:
        deadline = Deadline.after(ASK_SECONDS)
        kind = bounded("name the hypervisor", deadline, self._handle.connect().getType)
        system = bounded("name a domain's system", deadline, self._handle.OSType)
        if kind != "Xen" or system not in OS_TYPES[self.accelerator]:
            raise TareError(
                f"{self.name} does not run on {self.accelerator}", details=f"libvirt reports {kind} {system}"
            )
        self._known = {**self._known, "hypervisor": f"{kind} {system}"}

    def _destroy(self) -> None:
        try:
            super()._destroy()
        finally:
            self._terminal.close()


def console_of(handle: "libvirt.virDomain") -> Path:
    """The host's terminal that is a domain's console. Raises TareError when it has none."""
    text = bounded("describe a domain", Deadline.after(ASK_SECONDS), lambda: handle.XMLDesc(0))
    for element in etree.fromstring(text.encode()).iterfind("devices/console"):
        source = element.find("source")
        if path := str(element.get("tty") or (source.get("path") if source is not None else "") or ""):
            return Path(path)
    raise TareError(f"{handle.name()} has no console", hint="systemctl start xenconsoled")
