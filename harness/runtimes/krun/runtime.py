"""The krun runtime: one variant, on KVM where the wheel that brings libkrun is installed."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, Leftover, RootForms, Shape, Variant
from harness.runtimes.archive import TreeCopies
from harness.runtimes.base import BaseRuntime, Place, Prepared
from harness.runtimes.guests import accel, labelled_processes
from harness.runtimes.guests.child import ChildGuest, begin, start
from harness.runtimes.guests.confined import lacking
from harness.runtimes.krun import specification

KIND = "krun-guest"


class Krun(BaseRuntime):
    """Guests of libkrun, each a child of this process."""

    name = "krun"
    variants = (
        Variant(name="krun", runtime="krun", summary="a microVM of libkrun on KVM, the root's directory by virtiofs"),
    )

    def __init__(self) -> None:
        self._kvm = accel.Kvm()
        self._release = "unknown"

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where libkrun is not installed. See accel.prove."""
        return self._kvm.prove(root, deadline) if specification.libraries() else Accelerator.NONE

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM that is what `prove` showed."""
        if specification.libraries() is None:
            return Available(
                ok=False, reason=f"libkrun is not installed (the wheel {specification.WHEEL})", fix="make krun"
            )
        return lacking() or self._kvm.lacking() or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Nothing but to learn which kernel libkrun brings. Raises TareError where the variant cannot run."""
        can = self.available(variant)
        found = specification.libraries()
        if not can.ok or found is None:
            raise TareError(f"{variant.name} cannot run here: {can.reason}", hint=can.fix)
        self._release = found.kernel_release()
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=self._kvm.accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's directory, and the library that holds the kernel."""
        found = specification.libraries()
        return (prepared.root.directory, *((found.krun, found.firmware) if found else ()))

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> TreeCopies:
        """Of the root's directory."""
        return TreeCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> ChildGuest:
        """Start one guest. The data disk is made before `requested`; the tap belongs to the launch."""
        with ExitStack() as undo:
            begun = begin(place, labels, deadline, undo)
            argv = specification.command(prepared, place, begun.identity, begun.tap)
            child = start(argv, begun, place, labels, undo)
            known, how = specification.facts(prepared, place, self._release), prepared.accelerator
            return ChildGuest("libkrun", place, begun, child, how, self._release, known, undo.pop_all())

    def leftovers(self) -> Iterable[Leftover]:
        """Every process of a guest with labels of ours in its environment, of any run. Taps are the rig's to sweep."""
        return [
            Leftover(kind=KIND, name=one.name, run=one.run)
            for one in labelled_processes.find(specification.PROGRAM.name)
        ]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the process of that guest; one that is gone is fine, one without our labels is never seen."""
        labelled_processes.kill(specification.PROGRAM.name, leftover.name, deadline)
