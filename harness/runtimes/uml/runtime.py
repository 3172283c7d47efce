"""The runtime: whether a guest can run here, launching one, and what a killed run left."""

import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.links import remove_link
from harness.model import Accelerator, Leftover, Shape, Variant
from harness.process import have, spawn
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Available, BaseRuntime, Place, Prepared, RootForms
from harness.runtimes.guests.boot_arguments import mac_of
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import make_data
from harness.runtimes.guests.tap import add_tap
from harness.runtimes.uml import leftovers as remains
from harness.runtimes.uml.instance import CONSOLE, USERSPACE, Guest, end
from harness.runtimes.uml.specification import Description, argv, find_kernel, memory_room, release_of, script_disk

PROGRAMS = ("bwrap", "nsenter", "prlimit", "taskset")
TUN = Path("/dev/net/tun")
MAP_COUNT = Path("/proc/sys/vm/max_map_count")
"""How many pieces of memory a process may have; a guest's process has one for each of its pages that stand alone."""
PACKAGES = "apt-get install --no-install-recommends bubblewrap user-mode-linux util-linux"
VERSION_SECONDS = 10.0
VARIANT = Variant(
    name="uml/ext4",
    runtime="uml",
    summary="a guest with a kernel of its own that is a process of the host (User Mode Linux): one CPU, no KVM, not "
    "emulated; its disks go through the host's page cache",
    most_vcpus=1,
)


class Uml(BaseRuntime):
    """Guests of User Mode Linux."""

    name = "uml"
    variants = (VARIANT,)

    def available(self, variant: Variant) -> Available:
        """Whether its programs and the tun device are there, and room for some guest's memory."""
        if find_kernel() is None:
            return Available(ok=False, reason="User Mode Linux (linux.uml) is not installed", fix=PACKAGES)
        if missing := have(*PROGRAMS):
            return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=PACKAGES)
        if not TUN.exists():
            return Available(ok=False, reason=f"{TUN} is not there, a guest's network needs it", fix="modprobe tun")
        try:
            memory_room(1)
        except TareError as error:
            return Available(ok=False, reason=f"{error.brief}: {error.details}", fix=error.hint)
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Make sure that the variant can run with so much memory."""
        can = self.available(variant)
        if not can.ok:
            raise TareError(f"{variant.name} cannot run here: {can.reason}", hint=can.fix)
        memory_room(shape.memory_mib)
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=Accelerator.NONE)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk; the kernel is a program of the host's, which stays as it is."""
        return (prepared.root.disk,)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of the disk; the kernel is a program of the host's."""
        return DiskCopies(prepared, folder, boots=())

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Guest:
        """Start one guest. Data disk and tap are made before `requested`; the kernel makes its COW file itself."""
        guest = describe(prepared, place)
        release = release_of(guest.kernel, deadline.within(VERSION_SECONDS))
        with ExitStack() as undo:
            channel = Channel(place.directory)
            undo.callback(channel.close)
            userspace = channel.watch(USERSPACE)
            guest.script.write_bytes(script_disk())
            undo.callback(shutil.rmtree, guest.directory / guest.name, ignore_errors=True)
            for file in (guest.script, guest.cow):
                undo.callback(file.unlink, missing_ok=True)
            if guest.data is not None:
                undo.callback(guest.data.unlink, missing_ok=True)
                make_data(guest.data, place.scratch_mib, "raw", deadline)
            if place.network is not None:
                undo.callback(remove_link, place.network.netns, guest.tap)
                add_tap(guest.tap, place.network, labels["tare.run"], deadline)
            requested = time.monotonic()
            child = _start(guest, channel.path, userspace, labels)
            undo.callback(end, child)
            milestones = (requested, time.monotonic())
            kept = undo.pop_all()
        return Guest(place, channel, child, release, milestones, _facts(guest, prepared), kept.close)

    def leftovers(self) -> Iterable[Leftover]:
        """Guests whose processes carry our labels, of any run."""
        return remains.leftovers()

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill a guest that carries our labels. Raises TareError for any other, and when it does not go."""
        remains.remove(leftover, deadline)


def describe(prepared: Prepared, place: Place) -> Description:
    """The guest of one instance. Raises TareError without a kernel or without room for its memory."""
    kernel = find_kernel()
    if kernel is None:
        raise TareError("User Mode Linux (linux.uml) is not installed", hint=PACKAGES)
    identity = uuid.uuid4()
    return Description(
        name=place.name,
        kernel=kernel,
        directory=place.directory,
        cpu_list=place.shape.cpu_list,
        memory=memory_room(place.shape.memory_mib),
        memory_mib=place.shape.memory_mib,
        cow=place.directory / "root.cow",
        root=prepared.root.disk,
        script=place.directory / "start.disk",
        data=place.scratch_directory / f"{place.name}.raw" if place.scratch_mib else None,
        entry=place.entry,
        network=place.network,
        tap=f"tare-u{identity.hex[:8]}" if place.network else "",
        mac=mac_of(str(identity)) if place.network else "",
    )


def _start(guest: Description, channel: Path, userspace: Path, labels: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Its serial lines are connected here, since User Mode Linux takes descriptors and connects to nothing itself."""
    with ExitStack() as open_here:
        lines = [open_here.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(2)]
        for line, path in zip(lines, (channel, userspace), strict=True):
            line.connect(str(path))
        console = open_here.enter_context((guest.directory / CONSOLE).open("wb"))
        numbers = [line.fileno() for line in lines]
        memory = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(guest.memory))
        return spawn(
            argv(guest, *numbers),
            stdout=console.fileno(),
            stderr=console.fileno(),
            env={**labels, **memory},
            keep=numbers,
        )


def words_of_vcpus(shape: Shape) -> str:
    """User Mode Linux has one, whatever the shape has."""
    return f"1 of the shape's {shape.vcpus}"


def _facts(guest: Description, prepared: Prepared) -> dict[str, str]:
    """What is settled before it runs, for the parity table."""
    known = {
        "runtime": "uml",
        "uml_kernel": str(guest.kernel),
        "vcpus": words_of_vcpus(prepared.shape),
        "memory_file": f"{guest.memory}, touched as the guest needs it",
        "memory_preallocated": "no",
        "host_max_map_count": MAP_COUNT.read_text().strip(),
        "image": prepared.image,
        "root_disk": "ubd cow over raw, host's page cache",
    }
    if guest.data is not None:
        known["data_disk"] = "ubd raw, host's page cache: O_DIRECT ends in the guest"
    if guest.tap:
        known["network"] = "vector tap"
    return known
