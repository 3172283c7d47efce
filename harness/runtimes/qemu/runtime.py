"""The qemu runtime: variants, what is available, launching a microvm, and guests that were left behind."""

import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.process import have, run
from harness.runtimes.agent.channel import Channel
from harness.runtimes.base import BaseRuntime, Place, Prepared
from harness.runtimes.guests import accel, labelled_processes
from harness.runtimes.guests.disk_copies import DiskCopies
from harness.runtimes.guests.disks import data_disk, kernel_and_disk, make_data, make_overlay
from harness.runtimes.guests.instance import MOMENTS, Launched
from harness.runtimes.guests.tsc import counter_khz
from harness.runtimes.qemu import specification
from harness.runtimes.qemu.instance import Guest
from harness.runtimes.qemu.vmm import Box

KIND = "microvm"
PROGRAMS = (accel.EMULATOR, "qemu-img", "nsenter", "setpriv", "taskset")
PACKAGES = "apt-get install --no-install-recommends qemu-system-x86 qemu-utils util-linux"
ASK_SECONDS = 10.0
WORDS = "a guest of QEMU's microvm machine, without libvirt"
KINDS = {"kvm": f"{WORDS}, on KVM", "tcg": f"{WORDS}, emulated (no KVM)"}


class Microvm(BaseRuntime):
    """Guests of QEMU's microvm machine, each a child of this process."""

    name = "qemu"
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
        """Whether `variant` can run here; for KVM that is what `prove` showed."""
        if missing := have(*PROGRAMS):
            return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=PACKAGES)
        if self._machines is None:
            self._machines = run([accel.EMULATOR, "-machine", "help"], Deadline.after(ASK_SECONDS), check=False).stdout
        if not any(line.startswith("microvm ") for line in self._machines.splitlines()):
            reason = f"this {accel.EMULATOR} has no machine microvm"
            return Available(ok=False, reason=reason, fix="a QEMU of 4.2 or later, built with it, as Debian's is")
        if variant.options["accelerator"] == "kvm" and (refusal := self._kvm.lacking()):
            return refusal
        return Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Nothing to make: the root's disk, kernel and initramfs are there. Raises TareError where it cannot run."""
        can = self.available(variant)
        if not can.ok:
            raise TareError(f"{variant.name} cannot run here: {can.reason}", hint=can.fix)
        if variant.options["accelerator"] == "tcg":
            accelerator = Accelerator.TCG
            counter_khz()  # takes its time once, and not that of a launch
        else:
            accelerator = self._kvm.accelerator
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's disk, kernel and initramfs."""
        return kernel_and_disk(prepared.root)

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> DiskCopies:
        """Of disk, kernel and initramfs."""
        return DiskCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> Guest:
        """Start one guest. The data disk is made before `requested`; overlay and tap belong to the launch.

        It runs while its vCPUs are being pinned: until then they keep to the shape's CPUs, as all of QEMU does.
        """
        identity = str(uuid.uuid4())
        disks = [specification.root_disk(place), *([data_disk(place)] if place.scratch_mib else [])]
        with ExitStack() as undo:
            channel = Channel(place.directory)
            undo.callback(channel.close)
            channel.watch(MOMENTS)
            for disk in disks:
                undo.callback(disk.unlink, missing_ok=True)
            for disk in disks[1:]:
                make_data(disk, place.scratch_mib, "raw", deadline)
            requested = time.monotonic()
            make_overlay(prepared.root.disk, disks[0], deadline)
            box = Box(prepared, place, labels, identity)
            undo.callback(box.close)
            box.start(deadline)
            launched = Launched(
                place=place,
                channel=channel,
                accelerator=prepared.accelerator,
                kernel=prepared.root.kernel_release,
                requested=requested,
                created=time.monotonic(),
                known=specification.facts(prepared, place),
            )
            return Guest(launched, box, undo.pop_all())

    def leftovers(self) -> Iterable[Leftover]:
        """Every QEMU with labels of ours in its environment, of any run. Taps carry the rig's label, and are its."""
        return [Leftover(kind=KIND, name=one.name, run=one.run) for one in labelled_processes.find(accel.EMULATOR)]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the QEMU of that instance; one that is gone is fine, one without our labels is never seen."""
        labelled_processes.kill(accel.EMULATOR, leftover.name, deadline)
