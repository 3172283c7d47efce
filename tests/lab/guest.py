"""The lab itself: a guest of the project's own libvirt runtime, and commands in it."""

import base64
import contextlib
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import images, paths
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.daemons import open_daemons
from harness.model import Mark, RootForms, Shape, Variant
from harness.runtimes.base import Command, Instance, Place, RawOutput
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.libvirt.knobs import Knobs

NAME = "tarelab"
LABELS = {"tare.install": NAME, "tare.run": NAME, "tare.boot": "lab"}
MEMORY_MIB = 3072
BUILD_SECONDS = 1200.0
BOOT_SECONDS = 180.0
# Nested virtualization is part of no CPU model. One vCPU: QEMU 7.2's emulation of two has hung under load.
# Its disk is gone with it: nothing in the lab has to survive the host.
KNOBS = Knobs(
    accelerator="tcg",
    cpu="EPYC,+svm",
    memory="lazy",
    kernel="mitigations=off apparmor=0",
    root_cache="unsafe",
)


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab."""

    instance: Instance

    def run(self, *argv: str, seconds: float, env: dict[str, str] | None = None) -> RawOutput:
        """Run a command in the lab to its end. Raises DeadlineExceeded after `seconds`."""
        deadline = Deadline.after(seconds)
        return self.instance.start(Command(argv=argv, env=env or {}), deadline).wait(deadline)

    def shell(self, script: str, *, seconds: float) -> str:
        """What a shell script prints. Raises TareError when it fails."""
        done = self.run("sh", "-c", script, seconds=seconds)
        if done.status != 0:
            raise TareError("a command failed in the lab", details=f"{script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def fetch(self, folder: str, target: Path) -> None:
        """Bring a folder out of the lab, small enough for the agent's channel (some MiB)."""
        packed = self.shell(f"tar -C {folder} -cz . | base64 -w0", seconds=120)
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
            archive.extractall(target, filter="data")


def build(recipe: Path, deadline: Deadline) -> RootForms:
    """The root of a recipe, built where it is not yet."""
    return images.ensure(recipe, paths.state() / "images", deadline, _say)


def with_system(root: RootForms, deadline: Deadline) -> RootForms:
    """The root with the full system made of it."""
    return images.with_system(root, paths.data("images") / "system.toml", paths.state() / "images", deadline, _say)


@contextlib.contextmanager
def lab(image: RootForms, payload: Path) -> Iterator[Lab]:
    """Boot the lab with `payload` as its second disk, mounted at /payload; all of it is gone at the end.

    Raises TareError, DeadlineExceeded where it does not come up.
    """
    run_dir, folder, state = Path(f"/run/{NAME}"), paths.state() / NAME, paths.state() / f"{NAME}-daemons"
    variant = Variant(
        name="libvirt/tcg-lab",
        runtime="libvirt",
        summary="the lab",
        options=KNOBS.options(),
    )
    shape = Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=MEMORY_MIB)
    with contextlib.ExitStack() as stack:
        for one in (run_dir, folder, state):
            stack.callback(shutil.rmtree, one, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        for one in (run_dir, folder, state):
            one.mkdir(mode=0o711, parents=True, exist_ok=True)
        deadline = Deadline.after(BOOT_SECONDS)
        opening = open_daemons(run_dir, state, ["libvirt"], deadline, _say, kvm="hidden", netns=NAME)
        daemons = stack.enter_context(opening)
        if daemons.libvirt_uri is None:
            raise TareError("the lab needs libvirt", details=daemons.reasons["libvirt"], hint=daemons.fixes["libvirt"])
        runtime = Libvirt()
        runtime.connect(daemons.libvirt_uri)
        stack.callback(runtime.close)
        prepared = runtime.prepare(variant, shape, image, deadline)
        place = Place(name=NAME, directory=folder, entry="agent", shape=shape, media=(payload,))
        guest = stack.enter_context(runtime.launch(prepared, place, LABELS, deadline))
        guest.wait(Mark.READY, deadline)
        found = Lab(guest)
        found.shell("mount -o ro /dev/vdb /payload", seconds=60)
        yield found


def _say(text: str) -> None:
    print(f"lab: {text}", flush=True)
