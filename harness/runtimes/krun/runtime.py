"""The krun runtime: one variant, on KVM where the wheel that brings libkrun is installed."""

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
from harness.process import have, kill_group, spawn
from harness.runtimes.agent import Channel
from harness.runtimes.base import Place, Prepared
from harness.runtimes.copies import TreeCopies
from harness.runtimes.guests import accel, labelled
from harness.runtimes.guests.child import LOG, ChildGuest
from harness.runtimes.guests.disks import make_data
from harness.runtimes.guests.tap import open_tap, tap_name
from harness.runtimes.krun import machine

KIND = "krun-guest"
RUN_LABEL = "tare.run"
HELPERS = ("ip", "nsenter", "setpriv", "taskset")


class Krun:
    """Guests of libkrun, each a child of this process."""

    name = "krun"
    daemon = ""
    needs_root = True
    variants = (
        Variant(name="krun", runtime="krun", summary="a microVM of libkrun on KVM, the root's directory by virtiofs"),
    )

    def __init__(self) -> None:
        self._kvm = accel.Kvm()
        self._release = "unknown"

    def prove(self, root: RootForms, deadline: Deadline) -> Accelerator:
        """What guests run on here. Nothing is booted where libkrun is not installed. See accel.prove."""
        return self._kvm.prove(root, deadline) if machine.libraries() else Accelerator.NONE

    def connect(self, address: str) -> None:
        """Never called: there is no daemon."""

    def available(self, variant: Variant) -> Available:
        """Whether guests can run here; for KVM that is what `prove` showed."""
        if machine.libraries() is None:
            return Available(ok=False, reason=f"libkrun is not installed (the wheel {machine.WHEEL})", fix="make krun")
        if missing := have(*HELPERS):
            fix = "apt-get install --no-install-recommends iproute2 util-linux"
            return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=fix)
        return self._kvm.lacking() or Available(ok=True)

    def prepare(self, variant: Variant, shape: Shape, root: RootForms, deadline: Deadline) -> Prepared:
        """Nothing but to learn which kernel libkrun brings. Raises TareError where the variant cannot run."""
        can = self.available(variant)
        found = machine.libraries()
        if not can.ok or found is None:
            raise TareError(f"{variant.name} cannot run here: {can.reason}", hint=can.fix)
        self._release = found.kernel_release()
        return Prepared(variant=variant, shape=shape, root=root, image=root.digest, accelerator=self._kvm.accelerator)

    def files(self, prepared: Prepared, deadline: Deadline) -> Iterable[Path]:
        """The root's directory, and the library that holds the kernel."""
        found = machine.libraries()
        return (prepared.root.directory, *((found.krun, found.firmware) if found else ()))

    def copies(self, prepared: Prepared, folder: Path, labels: Mapping[str, str], deadline: Deadline) -> TreeCopies:
        """Of the root's directory."""
        return TreeCopies(prepared, folder)

    def launch(self, prepared: Prepared, place: Place, labels: Mapping[str, str], deadline: Deadline) -> ChildGuest:
        """Start one guest. The data disk is made before `asked`; the tap belongs to the launch."""
        identity = str(uuid.uuid4())
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
            argv = machine.command(prepared, place, identity, tap)
            child = _start(argv, channel.path, place.directory / LOG, labelled.labels_for(place.name, labels))
            undo.callback(kill_group, child)
            known, how = machine.facts(prepared, place, self._release), prepared.accelerator
            return ChildGuest("libkrun", place, channel, child, how, self._release, asked, known, undo.pop_all())

    def leftovers(self) -> Iterable[Leftover]:
        """Every process of a guest with labels of ours in its environment, of any run. Taps are the rig's to sweep."""
        return [Leftover(kind=KIND, name=one.name, run=one.run) for one in labelled.find(machine.PROGRAM.name)]

    def remove(self, leftover: Leftover, deadline: Deadline) -> None:
        """Kill the process of that guest; one that is gone is fine, one without our labels is never seen."""
        labelled.kill(machine.PROGRAM.name, leftover.name, deadline)

    def close(self) -> None:
        """Nothing is held."""


def _start(argv: list[str], channel: Path, log: Path, labels: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """The process, with the channel as its standard input and output: the guest's port `tare`."""
    with socket.socket(socket.AF_UNIX) as line, log.open("wb") as sink:
        line.connect(str(channel))
        return spawn(argv, stdin=line.fileno(), stdout=line.fileno(), stderr=sink.fileno(), env=labels)
