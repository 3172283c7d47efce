"""The uml runtime: one variant, a guest of User Mode Linux."""

import shutil
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Available, RootForms, Shape, Variant
from harness.process import spawn
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests import labelled_processes
from harness.runtimes.guests.child import begin
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.instance import CONSOLE, Launched
from harness.runtimes.guests.runtime import ChildRuntime
from harness.runtimes.requirements import missing, unavailable
from harness.runtimes.uml import specification
from harness.runtimes.uml.instance import USERSPACE, Guest, end
from harness.runtimes.uml.specification import KERNELS, find_kernel, memory_room, release_of

PROGRAMS = ("bwrap", "nsenter", "prlimit", "taskset")
TUN = Path("/dev/net/tun")
PACKAGES = "apt-get install --no-install-recommends bubblewrap user-mode-linux util-linux"
VERSION_SECONDS = 10.0
VARIANT = Variant(
    name="uml/ext4",
    runtime="uml",
    summary="User Mode Linux guest: its kernel is a process of the host; one CPU, no KVM, not emulated; disks go "
    "through the host's page cache",
    most_vcpus=1,
)


class Uml(ChildRuntime):
    """Guests of User Mode Linux."""

    name = "uml"
    kind = "uml"
    programs = ("bwrap", *KERNELS)
    variants = (VARIANT,)

    def available(self, variant: Variant) -> Available:
        """Whether its programs and the tun device are there, and room for some guest's memory."""
        if find_kernel() is None:
            return unavailable("User Mode Linux (linux.uml) is not installed", fix=PACKAGES)
        if refusal := missing(PROGRAMS, fix=PACKAGES):
            return refusal
        if not TUN.exists():
            return unavailable(f"{TUN}, for a guest's network, is missing", fix="modprobe tun")
        try:
            memory_room(1)
        except TareError as error:
            return unavailable(f"{error.brief}: {error.details}", fix=error.hint)
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Check that the variant can run with so much memory."""
        made = super().prepare(variant, shape, root, deadline)
        memory_room(shape.memory_mib)
        return made

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk; the kernel is a program of the host, which stays as it is."""
        return (prepared.root.disk,)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of the disk; the kernel is a program of the host."""
        return DiskCopies(prepared, folder, boots=())

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Guest:
        """Start one guest. The data disk is made before `requested`; the tap belongs to the launch."""
        kernel = find_kernel()
        if kernel is None:
            raise TareError("User Mode Linux (linux.uml) is not installed", hint=PACKAGES)
        release = release_of(kernel, deadline.within(VERSION_SECONDS))
        memory = memory_room(place.shape.memory_mib)
        known = specification.facts(prepared, place, kernel, memory)
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, place.directory / place.name, ignore_errors=True)
            for file in (specification.script_file(place), specification.overlay(place)):
                undo.callback(file.unlink, missing_ok=True)
            specification.script_file(place).write_bytes(specification.script_disk())
            launched = begin(prepared, place, labels, release, known, deadline, undo)
            child = _start(prepared, launched, kernel, memory, labels)
            undo.callback(end, child)
            return Guest("User Mode Linux", launched, child, undo.pop_all())


def _start(
    prepared: Prepared, launched: Launched, kernel: Path, memory: Path, labels: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """Connect the serial lines here: User Mode Linux takes descriptors and connects to nothing itself."""
    place = launched.place
    folders = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(memory))
    with ExitStack() as opened:
        lines = [opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) for _ in range(2)]
        for line, path in zip(lines, (launched.channel.path, launched.channel.watch(USERSPACE)), strict=True):
            line.connect(str(path))
        console = opened.enter_context((place.directory / CONSOLE).open("wb"))
        numbers = [line.fileno() for line in lines]
        return spawn(
            specification.command(prepared, place, launched.identity, launched.tap, kernel, *numbers),
            stdout=console.fileno(),
            stderr=console.fileno(),
            env={**labelled_processes.labels_for(place.name, labels), **folders},
            keep=numbers,
        )
