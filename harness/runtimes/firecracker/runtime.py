"""The firecracker runtime: one variant, on KVM where Firecracker's binary is on PATH."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.process import have, run
from harness.runtimes.base import BaseRuntime, Place, Prepared
from harness.runtimes.firecracker import specification
from harness.runtimes.firecracker.api import await_socket, put
from harness.runtimes.guests import accel, labelled_processes
from harness.runtimes.guests.child import ChildGuest, begin, said, start
from harness.runtimes.guests.confined import lacking
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import kernel_and_disk
from harness.runtimes.guests.vmlinux import keep_unpacked

KIND = "firecracker-guest"
LEAST = (1, 8)
"""The first version with ACPI, without which Debian's kernel finds no virtio-mmio devices."""
RELEASES = "put the binary of https://github.com/firecracker-microvm/firecracker/releases on PATH as `firecracker`"
ASK_SECONDS = 10.0


class Firecracker(BaseRuntime):
    """Guests of Firecracker, each a child of this process."""

    name = "firecracker"
    variants = (Variant(name="firecracker", runtime="firecracker", summary="a guest of Firecracker on KVM; untried"),)

    def __init__(self) -> None:
        self._kvm = accel.Kvm()

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where Firecracker is not installed. See accel.prove."""
        return Accelerator.NONE if have(specification.PROGRAM) else self._kvm.prove(root, deadline)

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM that is what `prove` showed."""
        if have(specification.PROGRAM):
            return Available(ok=False, reason=f"not installed: {specification.PROGRAM}", fix=RELEASES)
        if refusal := lacking():
            return refusal
        text = run([specification.PROGRAM, "--version"], Deadline.after(ASK_SECONDS), check=False).stdout
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
        """Start one guest. The data disk is made before `requested`; the tap belongs to the launch."""
        api = place.directory / specification.API
        with ExitStack() as undo:
            begun = begin(place, labels, deadline, undo)
            undo.callback(api.unlink, missing_ok=True)
            child = start(specification.command(place), begun, place, labels, undo)
            try:
                await_socket(api, deadline)
                for resource, body in specification.resources(prepared, place, begun.identity, begun.tap):
                    put(api, resource, body, deadline)
            except TareError as error:
                details = f"{error}\n{said(place.directory)}"
                raise TareError(f"{place.name} did not start", details=details, hint=error.hint) from error
            known, how = specification.facts(prepared, place), prepared.accelerator
            release = prepared.root.kernel_release
            return ChildGuest("Firecracker", place, begun, child, how, release, known, undo.pop_all())

    def leftovers(self) -> Iterable[Leftover]:
        """Every Firecracker with labels of ours in its environment, of any run. Taps are the rig's to sweep."""
        return [
            Leftover(kind=KIND, name=one.name, run=one.run) for one in labelled_processes.find(specification.PROGRAM)
        ]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the Firecracker of that instance; one that is gone is fine, one without our labels is never seen."""
        labelled_processes.kill(specification.PROGRAM, leftover.name, deadline)
