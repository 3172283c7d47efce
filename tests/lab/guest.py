"""Boot a lab, a guest of tare's own libvirt runtime, and run commands in it; there are two kinds of lab."""

import base64
import contextlib
import gzip
import io
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness import images, paths
from harness.deadline import Deadline
from harness.errors import DeadlineExceeded, TareError
from harness.host.daemons import open_daemons
from harness.model import Milestone, RootForms, Shape, Variant
from harness.runtimes.base import Command, Instance, Place, RawOutput
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.libvirt.knobs import Knobs

BUILD_SECONDS = 1200.0
BOOT_SECONDS = 300.0
FOLLOWED = "/run/followed"
LOOK_SECONDS = 15.0
"""The polling interval for long commands; each poll takes some milliseconds of the lab's only CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of lab; labs of different kinds can run at the same time.

    - `name`: the name of its folders and network namespace.
    - `recipe`: the recipe of its image. `setup`: the script that sets it up as a host.
    - `cpu` selects its only CPU from those of this process. QEMU 7.2 has hung under load with two emulated CPUs.
    - `knobs`: its disk cache is `unsafe`, because the disk need not survive a crash of the host.
    - `hypervisor`: the boot options of the hypervisor that boots first; "" for none.
    - `workloads` run on `variants` of the root with the recipe `root`; `accelerators` are the expected ones by variant.
    - `picture`: a command that lists further possible leftovers of a run.
    """

    name: str
    recipe: str
    setup: str
    cpu: Callable[[Collection[int]], int]
    memory_mib: int
    knobs: Knobs
    hypervisor: str = ""
    root: str
    workloads: tuple[str, ...]
    variants: tuple[str, ...]
    accelerators: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    picture: str = "true"


KVM = Kind(
    name="tarelab",
    recipe="lab.toml",
    setup="setup.sh",
    cpu=max,
    memory_mib=3072,
    knobs=Knobs(
        accelerator="tcg",
        # No CPU model includes nested virtualization.
        cpu="EPYC,+svm",
        memory="lazy",
        kernel="mitigations=off apparmor=0",
        root_cache="unsafe",
    ),
    # Importing the full root into the lab's Docker takes four minutes.
    root="slim.toml",
    workloads=("cpu.sysbench", "network.tcp-in", "boot.ready"),
    variants=("native", "docker/bridge", "libvirt/kvm"),
    accelerators={"libvirt/kvm": "kvm-nested"},
)
XEN = Kind(
    name="tarexen",
    recipe="lab-xen.toml",
    setup="setup-xen.sh",
    cpu=min,
    memory_mib=4096,
    knobs=Knobs(
        accelerator="tcg",
        # Xen 4.17 fails early with QEMU 7.2's emulation of the first three features.
        cpu="maximum,-la57,-smap,-rdtscp,-xsave",
        memory="lazy",
        kernel="console=hvc0 mitigations=off apparmor=0",
        root_cache="unsafe",
    ),
    hypervisor="console=com1 com1=115200 dom0_mem=2048M,max:2048M",
    root="root.toml",
    workloads=("cpu.sysbench", "network.tcp-in", "disk.rand-read-qd1", "boot.ready"),
    variants=("native", "libvirt/xen-pv", "libvirt/xen-pvh"),
    accelerators={"libvirt/xen-pv": "xen-pv", "libvirt/xen-pvh": "xen-pvh"},
    environment={"TARE_LIBVIRT_URI": "xen:///system"},
    picture="xl list | cut -d' ' -f1; iptables -S",
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
        """Run a shell script and return its output. Raises TareError if it fails."""
        done = self.run("sh", "-c", script, seconds=seconds)
        if done.status != 0:
            raise TareError("a command failed in the lab", details=f"{script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def follow(self, *argv: str, seconds: float, env: Mapping[str, str], notify: Callable[[str], None]) -> int:
        """Run a command to its end, pass its output to `notify` as it arrives, and return its status.

        Kills the command and raises DeadlineExceeded after `seconds`.
        """
        deadline = Deadline.after(seconds)
        script = f'"$@" >{FOLLOWED} 2>&1; echo $? >{FOLLOWED}.status'
        self.shell(f"rm -f {FOLLOWED}*", seconds=60)
        job = self.instance.start(Command(argv=("sh", "-c", script, "sh", *argv), env=dict(env)), deadline)
        lines, ended = 0, False
        while not ended:
            if deadline.left == 0.0:
                job.stop(Deadline.after(60))
                raise DeadlineExceeded(f"{' '.join(argv)} did not end in time")
            time.sleep(min(LOOK_SECONDS, deadline.left))
            ended = self.run("test", "-e", f"{FOLLOWED}.status", seconds=60).status == 0
            text = self.shell(f"tail -n +{lines + 1} {FOLLOWED}", seconds=60)
            whole = text if ended else text[: text.rfind("\n") + 1]
            lines += whole.count("\n")
            notify(whole)
        job.wait(Deadline.after(60))
        return int(self.shell(f"cat {FOLLOWED}.status", seconds=60))

    def fetch(self, folder: str, target: Path) -> None:
        """Copy a folder out of the lab through the agent's channel; at most some MiB."""
        packed = self.shell(f"tar -C {folder} -cz . | base64 -w0", seconds=120)
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed))) as archive:
            archive.extractall(target, filter="data")


def build(recipe: str, deadline: Deadline) -> RootForms:
    """The root of a recipe in images/; builds it if necessary."""
    return images.ensure(paths.data("images") / recipe, paths.state() / "images", deadline, _print)


def with_system(root: RootForms, deadline: Deadline) -> RootForms:
    """The root with its full system; builds it if necessary."""
    return images.with_system(root, paths.data("images") / "system.toml", paths.state() / "images", deadline, _print)


@contextlib.contextmanager
def lab(kind: Kind, image: RootForms, payload: Path) -> Iterator[Lab]:
    """Boot the lab with `payload` as its second disk, mounted at /payload; removes the lab at the end.

    Raises TareError or DeadlineExceeded if it does not boot.
    """
    name = kind.name
    labels = {"tare.install": name, "tare.run": name, "tare.boot": "lab"}
    run_dir, folder, state = Path(f"/run/{name}"), paths.state() / name, paths.state() / f"{name}-daemons"
    shape = Shape(cpus=(kind.cpu(os.sched_getaffinity(0)),), memory_mib=kind.memory_mib)
    with contextlib.ExitStack() as stack:
        for one in (run_dir, folder, state):
            stack.callback(shutil.rmtree, one, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        for one in (run_dir, folder, state):
            one.mkdir(mode=0o711, parents=True, exist_ok=True)
        deadline = Deadline.after(BOOT_SECONDS)
        opening = open_daemons(run_dir, state, ["libvirt"], deadline, _print, kvm="hidden", netns=name)
        daemons = stack.enter_context(opening)
        if daemons.libvirt_uri is None:
            raise TareError("the lab needs libvirt", details=daemons.reasons["libvirt"], hint=daemons.fixes["libvirt"])
        runtime = Libvirt()
        runtime.connect(daemons.libvirt_uri)
        stack.callback(runtime.close)
        first = f"{_hypervisor(image, folder)} {kind.hypervisor}" if kind.hypervisor else ""
        knobs = replace(kind.knobs, multiboot=first)
        variant = Variant(name="libvirt/tcg-lab", runtime="libvirt", summary="the lab", options=knobs.options())
        prepared = runtime.prepare(variant, shape, image, deadline)
        place = Place(name=name, directory=folder, entry="agent", shape=shape, media=(payload,))
        guest = stack.enter_context(runtime.launch(prepared, place, labels, deadline))
        guest.wait(Milestone.READY, deadline)
        found = Lab(guest)
        found.shell("mount -o ro /dev/vdb /payload", seconds=60)
        yield found


def _hypervisor(image: RootForms, folder: Path) -> Path:
    """Decompress the hypervisor of the lab's image, because QEMU cannot load a compressed one."""
    packed = next((image.directory / "boot").glob("xen-*.gz"))
    path = folder / "xen"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    return path


def _print(text: str) -> None:
    print(f"lab: {text}", flush=True)
