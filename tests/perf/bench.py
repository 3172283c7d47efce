"""The test bench of the comparisons: root, daemons, bridge, and a place for each launch."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from harness import paths
from harness.deadline import Deadline
from harness.host.daemons import Daemons, open_daemons
from harness.images import ensure
from harness.model import Accelerator, RootForms, Shape
from harness.rig.lock import SHARED, host_lock
from harness.rig.network import Network, open_network
from harness.runtimes.base import Place
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.qemu import Microvm

NAME = "tareperf"
LABELS = {"tare.install": NAME, "tare.run": NAME, "tare.boot": NAME}
SETUP_SECONDS = 900.0
PORT = 5303


@dataclass(slots=True, kw_only=True)
class Bench:
    """An open bench; `accelerator` is that of its guests."""

    root: RootForms
    daemons: Daemons
    network: Network
    folder: Path
    accelerator: Accelerator
    guests: Libvirt
    microvms: Microvm
    shape: Shape = field(default_factory=lambda: Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=512))
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Yield a fresh place for a beacon; it is removed at the end."""
        name = f"{NAME}-{next(self._numbers)}"
        directory = self.folder / name
        directory.mkdir(mode=0o711)
        try:
            yield Place(
                name=name,
                directory=directory,
                entry="beacon",
                shape=self.shape,
                network=self.network.place(name),
                port=PORT,
                scratch_directory=self.folder,
            )
        finally:
            self.network.release(name)
            shutil.rmtree(directory)


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Set up a bench under the host lock; at the end removes everything except the root. Raises TareError."""
    deadline = Deadline.after(SETUP_SECONDS)
    # A guest's overlay is on disk, as in a run; sockets need a short path.
    folder, sockets = paths.state() / NAME, Path("/run") / NAME
    with ExitStack() as stack:
        stack.enter_context(host_lock(SHARED, "make perf"))
        root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
        for one in (folder, sockets):
            one.mkdir(mode=0o711, parents=True, exist_ok=True)
            stack.callback(shutil.rmtree, one)
        guests, microvms = Libvirt(), Microvm()
        accelerator = guests.prove(root, deadline)
        microvms.prove(root, deadline)
        daemons = stack.enter_context(
            open_daemons(
                sockets,
                folder,
                ["docker", "libvirt"],
                deadline,
                print,
                kvm="hidden" if accelerator is Accelerator.TCG else "offered",
                netns=NAME,
            )
        )
        network = stack.enter_context(
            open_network(daemons.netns, NAME, daemons.docker_url, deadline, peer=f"{NAME}-peer", labels=LABELS)
        )
        stack.callback(guests.close)
        yield Bench(
            root=root,
            daemons=daemons,
            network=network,
            folder=folder,
            accelerator=accelerator,
            guests=guests,
            microvms=microvms,
        )
