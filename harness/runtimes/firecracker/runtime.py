"""The firecracker runtime: one variant, on KVM where Firecracker's binary is on PATH."""

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, RootForms, Shape, Variant
from harness.process import have, run
from harness.runtimes.base import Place, Prepared
from harness.runtimes.firecracker import specification
from harness.runtimes.firecracker.api import await_socket, put
from harness.runtimes.firecracker.specification import PROGRAM
from harness.runtimes.guests import accel
from harness.runtimes.guests.child import LOG, VmmGuest, begin, start
from harness.runtimes.guests.confined import HELPER_PACKAGES, HELPERS
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import kernel_and_disk
from harness.runtimes.guests.instance import tail
from harness.runtimes.guests.runtime import ChildRuntime
from harness.runtimes.guests.vmlinux import keep_unpacked
from harness.runtimes.requirements import missing, unavailable

LEAST = (1, 8)
"""The first version with ACPI, without which Debian's kernel finds no virtio-mmio devices."""
RELEASES = "put the binary of https://github.com/firecracker-microvm/firecracker/releases on PATH as `firecracker`"
ASK_SECONDS = 10.0


class Firecracker(ChildRuntime):
    """Guests of Firecracker, each a child of this process."""

    name = "firecracker"
    kind = "firecracker-guest"
    programs = (PROGRAM,)
    variants = (Variant(name="firecracker", runtime="firecracker", summary="Firecracker guest on KVM; untested"),)

    def __init__(self) -> None:
        self._kvm = accel.Kvm()

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where Firecracker is not installed. See accel.prove."""
        return Accelerator.NONE if have(PROGRAM) else self._kvm.prove(root, deadline)

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM `prove` decides."""
        if refusal := missing([PROGRAM], fix=RELEASES) or missing(HELPERS, fix=HELPER_PACKAGES):
            return refusal
        text = run([PROGRAM, "--version"], Deadline.after(ASK_SECONDS), check=False).stdout
        found = re.search(r"v(\d+)\.(\d+)", text)
        if found is None or (int(found[1]), int(found[2])) < LEAST:
            installed = text.strip()[:60] or "of unknown version"
            reason = f"Firecracker {'.'.join(map(str, LEAST))} or later is needed, installed is {installed}"
            return unavailable(reason, fix=RELEASES)
        return self._kvm.lacking() or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Unpack the guest's kernel, once. Raises TareError when the variant cannot run."""
        made = super().prepare(variant, shape, root, deadline)
        unpacked = replace(root, kernel=keep_unpacked(root.kernel, root.kernel.parent.parent, deadline))
        return replace(made, root=unpacked, accelerator=self._kvm.accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk, initramfs and unpacked kernel."""
        return kernel_and_disk(prepared.root)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of disk, initramfs and unpacked kernel."""
        return DiskCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> VmmGuest:
        """Start one guest. The data disk is made before `requested`; the tap belongs to the launch."""
        api, known = place.directory / specification.API, specification.facts(prepared, place)
        with ExitStack() as undo:
            launched = begin(prepared, place, labels, prepared.root.kernel_release, known, deadline, undo)
            undo.callback(api.unlink, missing_ok=True)
            child = start(specification.command(place), launched, labels, undo)
            try:
                await_socket(api, deadline)
                for resource, body in specification.resources(prepared, place, launched.identity, launched.tap):
                    put(api, resource, body, deadline)
            except TareError as error:
                details = f"{error}\n{tail(place.directory / LOG)}"
                raise TareError(f"{place.name} did not start", details=details, hint=error.hint) from error
            return VmmGuest("Firecracker", launched, child, undo.pop_all())
