"""The krun runtime: one variant, on KVM where the wheel that brings libkrun is installed."""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import Accelerator, Available, RootForms, Shape, Variant
from harness.runtimes.archive import TreeCopies
from harness.runtimes.base import Place, Prepared
from harness.runtimes.guests import accel
from harness.runtimes.guests.child import VmmGuest, begin, start
from harness.runtimes.guests.confined import HELPER_PACKAGES, HELPERS
from harness.runtimes.guests.runtime import ChildRuntime
from harness.runtimes.krun import specification
from harness.runtimes.requirements import missing, unavailable


class Krun(ChildRuntime):
    """Guests of libkrun, each a child of this process."""

    name = "krun"
    kind = "krun-guest"
    programs = (specification.PROGRAM.name,)
    variants = (
        Variant(name="krun", runtime="krun", summary="libkrun microVM on KVM; the root's directory by virtio-fs"),
    )

    def __init__(self) -> None:
        self._kvm = accel.Kvm()

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where libkrun is not installed. See accel.prove."""
        return self._kvm.prove(root, deadline) if specification.libraries() else Accelerator.NONE

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM `prove` decides."""
        if specification.libraries() is None:
            reason = f"libkrun is not installed (the wheel {specification.WHEEL})"
            return unavailable(reason, fix="make krun")
        return missing(HELPERS, fix=HELPER_PACKAGES) or self._kvm.lacking() or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """The root as it is, on what `prove` found. Raises TareError when the variant cannot run."""
        return replace(super().prepare(variant, shape, root, deadline), accelerator=self._kvm.accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's directory, and the library that holds the kernel."""
        found = specification.libraries()
        return (prepared.root.directory, *((found.krun, found.firmware) if found else ()))

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> TreeCopies:
        """Of the root's directory."""
        return TreeCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> VmmGuest:
        """Start one guest. The data disk is made before `requested`; the tap belongs to the launch."""
        found = specification.libraries()
        if found is None:
            raise TareError("libkrun is not installed (any more)", hint="make krun")
        release = found.kernel_release()
        known = specification.facts(prepared, place, release)
        with ExitStack() as undo:
            launched = begin(prepared, place, labels, release, known, deadline, undo)
            argv = specification.command(prepared, place, found, launched.identity, launched.tap)
            child = start(argv, launched, labels, undo)
            return VmmGuest("libkrun", launched, child, undo.pop_all())
