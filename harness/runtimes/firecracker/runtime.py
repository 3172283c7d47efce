"""The firecracker runtime: one variant, on KVM where Firecracker's binary is on PATH."""

import dataclasses
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.process import have, kill_group, run, spawn
from harness.runtimes.agent import Channel
from harness.runtimes.base import Place, Prepared
from harness.runtimes.firecracker import machine
from harness.runtimes.firecracker.api import await_socket, put
from harness.runtimes.guests import accel, labelled
from harness.runtimes.guests.child import LOG, ChildGuest, said
from harness.runtimes.guests.copies import DiskCopies
from harness.runtimes.guests.disks import kernel_and_disk, make_data
from harness.runtimes.guests.tap import open_tap, tap_name
from harness.runtimes.guests.vmlinux import keep_unpacked

KIND = "firecracker-guest"
RUN_LABEL = "tare.run"
HELPERS = ("ip", "nsenter", "setpriv", "taskset")
LEAST = (1, 8)
"""The first version with ACPI, without which Debian's kernel finds no virtio-mmio devices."""
RELEASES = "put the binary of https://github.com/firecracker-microvm/firecracker/releases on PATH as `firecracker`"
ASK_SECONDS = 10.0


class Firecracker:
    """Guests of Firecracker, each a child of this process."""

    name = "firecracker"
    daemon = ""
    needs_root = True
    variants = (Variant(name="firecracker", runtime="firecracker", summary="a guest of Firecracker on KVM; untried"),)

    def __init__(self) -> None:
        self._kvm = accel.Kvm()

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where Firecracker is not installed. See accel.prove."""
        return Accelerator.NONE if have(machine.PROGRAM) else self._kvm.prove(root, deadline)

    def connect(self, address: str) -> None:
        """Never called: there is no daemon."""

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM that is what `prove` showed."""
        if have(machine.PROGRAM):
            return Available(ok=False, reason=f"not installed: {machine.PROGRAM}", fix=RELEASES)
        if missing := have(*HELPERS):
            fix = "apt-get install --no-install-recommends iproute2 util-linux"
            return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=fix)
        text = run([machine.PROGRAM, "--version"], Deadline.after(ASK_SECONDS), check=False).stdout
        found = re.search(r"v(\d+)\.(\d+)", text)
        if found is None or (int(found[1]), int(found[2])) < LEAST:
            reason = (
                f"Firecracker {'.'.join(map(str, LEAST))} or later is needed, here is {text.strip()[:60] or 'none'}"
            )
            return Available(ok=False, reason=reason, fix=RELEASES)
        return self._kvm.lacking() or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Unpack the guest's kernel, once. Raises TareError where the variant cannot run."""
        can = self.available(variant)
        if not can.ok:
            raise TareError(f"{variant.name} cannot run here: {can.reason}", hint=can.fix)
        kernel = keep_unpacked(root.kernel, root.kernel.parent.parent, deadline)
        root = dataclasses.replace(root, kernel=kernel)
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=self._kvm.accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk, initramfs and unpacked kernel."""
        return kernel_and_disk(prepared.root)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of disk, initramfs and unpacked kernel."""
        return DiskCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> ChildGuest:
        """Start one guest. The data disk is made before `asked`; the tap belongs to the launch."""
        identity = str(uuid.uuid4())
        api = place.directory / machine.API
        (place.directory / LOG).touch()
        with ExitStack() as undo:
            channel = Channel(place.directory)
            undo.callback(channel.close)
            if place.scratch_mib:
                undo.callback(machine.data_disk(place).unlink, missing_ok=True)
                make_data(machine.data_disk(place), place.scratch_mib, "raw", deadline)
            asked = time.monotonic()
            tap = ""
            if place.network:
                tap = undo.enter_context(
                    open_tap(tap_name(identity), place.network, labels.get(RUN_LABEL, ""), deadline)
                )
            child = _start(machine.command(place), channel.path, labelled.labels_for(place.name, labels))
            undo.callback(api.unlink, missing_ok=True)
            undo.callback(kill_group, child)
            try:
                await_socket(api, deadline)
                for resource, body in machine.resources(prepared, place, identity, tap):
                    put(api, resource, body, deadline)
            except TareError as error:
                details = f"{error}\n{said(place.directory)}"
                raise TareError(f"{place.name} did not start", details=details, hint=error.hint) from error
            known = machine.facts(prepared, place)
            release = prepared.root.kernel_release
            return ChildGuest(
                "Firecracker", place, channel, child, prepared.accelerator, release, asked, known, undo.pop_all()
            )

    def leftovers(self) -> Iterable[Leftover]:
        """Every Firecracker with labels of ours in its environment, of any run. Taps are the rig's to sweep."""
        return [Leftover(kind=KIND, name=one.name, run=one.run) for one in labelled.find(machine.PROGRAM)]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the Firecracker of that instance; one that is gone is fine, one without our labels is never seen."""
        labelled.kill(machine.PROGRAM, leftover.name, deadline)

    def close(self) -> None:
        """Nothing is held."""


def _start(argv: list[str], channel: Path, labels: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Firecracker with the channel as its standard input and output, which is the guest's serial port."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(channel))
        return spawn(argv, stdin=line.fileno(), stdout=line.fileno(), env=labels)
