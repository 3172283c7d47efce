"""The qemu runtime: guests of QEMU's microvm machine, without libvirt."""

import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness.deadline import Deadline
from harness.model import Accelerator, Available, RootForms, Shape, Variant
from harness.process import run
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests import accel
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import data_disk, kernel_and_disk, make_data, make_overlay
from harness.runtimes.guests.instance import MILESTONES, Launched
from harness.runtimes.guests.runtime import ChildRuntime
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.qemu import specification
from harness.runtimes.qemu.instance import Guest
from harness.runtimes.qemu.vmm import Vmm
from harness.runtimes.requirements import missing, unavailable

PROGRAMS = (accel.EMULATOR, "qemu-img", "nsenter", "setpriv", "taskset")
PACKAGES = "apt-get install --no-install-recommends qemu-system-x86 qemu-utils util-linux"
ASK_SECONDS = 10.0
KINDS = {"kvm": "QEMU microvm guest on KVM, without libvirt", "tcg": "QEMU microvm guest, emulated (no KVM)"}


class Microvm(ChildRuntime):
    """Guests of QEMU's microvm machine, each a child of this process."""

    name = "qemu"
    kind = "microvm"
    programs = (accel.EMULATOR,)
    variants = tuple(
        Variant(name=f"qemu/microvm-{kind}", runtime="qemu", summary=words, options={"accelerator": kind})
        for kind, words in KINDS.items()
    )

    def __init__(self) -> None:
        self._kvm = accel.Kvm()
        self._machines: str | None = None

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here, by booting one on KVM unless that is known on this host. See accel.prove."""
        return self._kvm.prove(root, deadline)

    def available(self, variant: Variant) -> Available:
        """Whether `variant` can run here; for KVM `prove` decides."""
        if refusal := missing(PROGRAMS, fix=PACKAGES):
            return refusal
        if self._machines is None:
            self._machines = run([accel.EMULATOR, "-machine", "help"], Deadline.after(ASK_SECONDS), check=False).stdout
        if not any(line.startswith("microvm ") for line in self._machines.splitlines()):
            reason = f"this {accel.EMULATOR} has no machine microvm"
            return unavailable(reason, fix=f"{PACKAGES} (QEMU 4.2 or later, built with microvm)")
        if variant.options["accelerator"] == "kvm" and (refusal := self._kvm.lacking()):
            return refusal
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """The root as it is. Raises TareError when the variant cannot run."""
        made = super().prepare(variant, shape, root, deadline)
        if variant.options["accelerator"] == "kvm":
            return replace(made, accelerator=self._kvm.accelerator)
        counter_khz()  # 0.2 s once, here rather than within a launch
        return replace(made, accelerator=Accelerator.TCG)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk, kernel and initramfs."""
        return kernel_and_disk(prepared.root)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of disk, kernel and initramfs."""
        return DiskCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Guest:
        """Start one guest. The data disk is made before `requested`; overlay and tap belong to the launch.

        The guest runs while its vCPUs are being pinned; until then they use any of the shape's CPUs.
        """
        identity = str(uuid.uuid4())
        disks = [specification.root_disk(place), *([data_disk(place)] if place.scratch_mib else [])]
        with ExitStack() as undo:
            channel = Channel(place.directory)
            undo.callback(channel.close)
            channel.watch(MILESTONES)
            for disk in disks:
                undo.callback(disk.unlink, missing_ok=True)
            for disk in disks[1:]:
                make_data(disk, place.scratch_mib, "raw", deadline)
            requested = time.monotonic()
            make_overlay(prepared.root.disk, disks[0], deadline)
            vmm = Vmm(prepared, place, labels, identity)
            undo.callback(vmm.close)
            vmm.start(deadline)
            launched = Launched(
                identity=identity,
                place=place,
                channel=channel,
                accelerator=prepared.accelerator,
                kernel=prepared.root.kernel_release,
                requested=requested,
                created=time.monotonic(),
                known=specification.facts(prepared, place),
            )
            return Guest(launched, vmm, undo.pop_all())
