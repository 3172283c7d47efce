"""The libvirt runtime for real: a libvirtd, guests that QEMU emulates, the real root, and nothing left behind."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import libvirt
import pytest

from harness import images, paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import memory
from harness.host.daemons import open_daemons
from harness.images import ensure, inventory, with_system
from harness.measures.command import CommandMeasure
from harness.measures.held_memory import free, hold
from harness.model import (
    Accelerator,
    Case,
    Leftover,
    Limits,
    Metric,
    Milestone,
    Role,
    RootForms,
    Shape,
    Variant,
    Workload,
)
from harness.rig.network import Network, open_network
from harness.runtimes.archive import allocated, packing, unpacking
from harness.runtimes.base import VMM, Command, Entry, Place, Prepared
from harness.runtimes.libvirt import Libvirt
from harness.runtimes.libvirt.instance import Guest
from tests.environment import Asked, BaseEnvironment

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "libvirtd", "qemu-system-x86_64", "mmdebstrap")), reason="system packages: make doctor"
    ),
]

NAME = "lvtest"
PORT = 5302
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
SHAPE = Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=512)
BOOT_SECONDS = 60.0
SYSTEM_SECONDS = 480.0
"""A full system that QEMU emulates needs half a minute on a host that does nothing else."""
SERVE = f"import socket; s = socket.create_server(('', {PORT})); c, _ = s.accept(); c.sendall(b'hello')"
FOREIGN = """<domain type="qemu"><name>tare-lvtest-foreign</name><memory unit="MiB">64</memory><vcpu>1</vcpu>
<os><type arch="x86_64" machine="q35">hvm</type></os><devices><controller type="usb" model="none"/>
<memballoon model="none"/></devices></domain>"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tests share: the runtime on a live libvirtd, the root, a network and a folder."""

    runtime: Libvirt
    root: RootForms
    network: Network
    folder: Path

    def launch(
        self,
        name: str,
        entry: Entry,
        variant: str | Variant = "libvirt/tcg",
        scratch_mib: int = 0,
        image: Prepared | None = None,
    ) -> Guest:
        named = (one for one in self.runtime.variants if one.name == variant)
        chosen = variant if isinstance(variant, Variant) else next(named)
        prepared = image or self.runtime.prepare(chosen, SHAPE, self.root, Deadline.after(30))
        directory = self.folder / name
        directory.mkdir(mode=0o711)
        place = Place(
            name=f"tare-{NAME}-{name}",
            directory=directory,
            entry=entry,
            shape=SHAPE,
            network=self.network.place(name),
            port=PORT,
            scratch_mib=scratch_mib,
            scratch_directory=self.folder,
        )
        return self.runtime.launch(prepared, place, LABELS, Deadline.after(60))


@contextlib.contextmanager
def open_bench(state: Path) -> Iterator[Bench]:
    """A bench on a libvirtd of its own, which keeps its state in that folder."""
    deadline = Deadline.after(600)
    root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
    run_dir = Path(f"/run/{NAME}")
    folder = paths.state() / NAME
    with ExitStack() as stack:
        for one in (run_dir, folder):
            one.mkdir(mode=0o711, parents=True, exist_ok=True)
            stack.callback(shutil.rmtree, one)
        daemons = stack.enter_context(
            open_daemons(run_dir, state, ["libvirt"], deadline, print, kvm="hidden", netns=NAME)
        )
        if daemons.libvirt_uri is None:
            pytest.skip(daemons.reasons["libvirt"])
        network = stack.enter_context(
            open_network(daemons.netns, LABELS["tare.run"], None, deadline, peer=f"{NAME}-peer")
        )
        runtime = Libvirt()
        runtime.connect(daemons.libvirt_uri)
        stack.callback(runtime.close)
        yield Bench(runtime, root, network, folder)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("state")) as made:
        yield made


def test_a_guest_boots_to_the_beacon_and_goes(bench: Bench) -> None:
    with bench.launch("beacon", "beacon") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        milestones = guest.milestones
        assert (
            milestones[Milestone.REQUESTED]
            < milestones[Milestone.KERNEL]
            < milestones[Milestone.USERSPACE]
            < milestones[Milestone.READY]
        )
        assert milestones[Milestone.REQUESTED] < milestones[Milestone.CREATED]
        ours = [one for one in bench.runtime.leftovers() if one.run == LABELS["tare.run"]]
        assert ours == [Leftover(kind="domain", name=guest.name, run=LABELS["tare.run"])]
        assert guest.accelerator is Accelerator.TCG
    assert not [one for one in bench.runtime.leftovers() if one.run == LABELS["tare.run"]]
    assert not (bench.folder / "beacon" / "root.qcow2").exists()
    assert bench.root.disk.stat().st_uid == os.geteuid()


def test_a_guest_starts_from_what_came_out_of_a_package(bench: Bench) -> None:
    deadline, folder = Deadline.after(300), bench.folder / "copies"
    folder.mkdir(mode=0o711)
    variant = next(one for one in bench.runtime.variants if one.name == "libvirt/tcg")
    image = bench.runtime.prepare(variant, SHAPE, bench.root, Deadline.after(30))
    copies = bench.runtime.copies(image, folder, LABELS, deadline)
    with packing(folder / "package", 1, deadline) as sink:
        copies.save(image, sink, deadline)
    with (
        unpacking(folder / "package", deadline) as source,
        copies.loaded(source, deadline) as copy,
        bench.launch("copy", "beacon", image=copy) as guest,
    ):
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        overlay = process.run(["qemu-img", "info", "-U", bench.folder / "copy/root.qcow2"], deadline).stdout
        assert str(copy.root.disk) in overlay
        assert 0 < allocated(guest.files(deadline)) < allocated([copy.root.disk])
    assert [path.name for path in folder.iterdir()] == ["package"]


@pytest.mark.parametrize(("variant", "form"), [("libvirt/tcg", "raw"), ("libvirt/tcg-qcow2", "qcow2")])
def test_a_guest_works_serves_its_peer_and_has_a_data_disk(bench: Bench, variant: str, form: str) -> None:
    disk = bench.folder / f"tare-{NAME}-{form}.{form}"
    with bench.launch(form, "agent", variant, scratch_mib=96) as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        assert (form == "raw") == (disk.stat().st_blocks * 512 >= 96 * 2**20)

        def run(*argv: str) -> str:
            output = guest.start(Command(argv=argv), Deadline.after(30)).wait(Deadline.after(60))
            assert output.status == 0, output.stderr
            return output.stdout

        assert run("uname", "-r").strip() == bench.root.kernel_release == guest.kernel
        before = guest.counters()
        assert "events per second" in run("sysbench", "cpu", "--time=1", "--threads=1", "run")
        assert guest.counters()["vcpu"] - before["vcpu"] > 0.5
        run("dd", "if=/dev/zero", "of=/scratch/x", "bs=1M", "count=16", "oflag=direct")
        server = guest.start(Command(argv=("python3", "-c", SERVE), listen=PORT), Deadline.after(30))
        where = guest.endpoint()
        fetch = f"import socket; print(socket.create_connection(('{where.address}', {where.port}), 5).recv(9).decode())"
        inside = ("nsenter", f"--net=/run/netns/{NAME}-peer", "python3", "-c", fetch)
        assert process.run(inside, Deadline.after(20)).stdout == "hello\n"
        assert server.wait(Deadline.after(20)).status == 0
        facts = guest.facts(Deadline.after(20))
        assert facts["query-kvm"] == "disabled" and facts["machine"] == "q35" and facts["memory_preallocated"] == "yes"
        assert facts["data_disk"] == f"{form} cache=none io=native" and facts["cgroup_cpu_weight"] == "default"
        parts = guest.processes()
        assert set(parts) == {VMM, "libvirtd"}, "its own, and the daemon that all share"
        ram, whole = memory.guest_ram(parts[VMM][0], SHAPE.memory_mib * 2**20), memory.resident(parts[VMM])
        assert ram is not None and ram == SHAPE.memory_mib * 2**20, "it was touched beforehand"
        assert whole.rss - ram > 2**20
    assert not disk.exists()


def test_memory_that_a_guest_frees_comes_back_if_it_reports_its_free_pages(bench: Bench) -> None:
    with bench.launch("balloon", "agent", "libvirt/tcg-balloon") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        hold(guest, 64, 0, Deadline.after(60))
        held = memory.resident(guest.processes()[VMM]).pss
        free(guest, Deadline.after(30))
        within = Deadline.after(60)
        while within.left and held - memory.resident(guest.processes()[VMM]).pss < 32 * 2**20:
            time.sleep(0.5)
        assert within.left, "it did not come back"


class Environment(BaseEnvironment):
    """As much of a run as one case needs: guests of one variant."""

    def __init__(self, bench: Bench, variant: Variant) -> None:
        super().__init__(SHAPE, Limits(steal=100, load=100))
        self.bench, self.variant = bench, variant

    def workload(self, name: str) -> Workload:
        metric = Metric(name="x", source="x", unit="1", direction="higher")
        argv = ("sh", "-c", "sleep 2; echo x=1")
        return Workload(name=name, title=name, argv=argv, reader="pairs", metrics=(metric,), warmup=0, iterations=2)

    @contextlib.contextmanager
    def opened(self, asked: Asked) -> Iterator[Guest]:
        with self.bench.launch(asked.case.workload, asked.entry, self.variant) as guest:
            yield guest


@pytest.mark.parametrize(("name", "words"), [("cpu.right", ""), ("cpu.wrong", "tsc_early_khz=900000")])
def test_a_case_is_void_when_the_guests_clock_runs_wrong(bench: Bench, name: str, words: str) -> None:
    # QEMU's emulated TSC runs at 1 GHz; told another frequency and no other clock, the kernel counts wrong seconds.
    kernel = f"clocksource=tsc tsc=reliable {words}"
    variant = Variant(
        name="libvirt/tcg-clock", runtime="libvirt", summary="", options={"accelerator": "tcg", "kernel": kernel}
    )
    environment = Environment(bench, variant)
    case = Case(block=0, position=0, attempt=1, workload=name, cast={Role.SUBJECT: variant.name})
    samples = [one for one in CommandMeasure().measure(case, environment, Deadline.after(120)) if one.metric == "x"]
    slope = environment.said("clock")[-1]["slope"]
    assert isinstance(slope, float) and len(samples) == 2
    if words:
        assert abs(slope - 1) > 0.05
        assert [one.reason.partition(":")[0] for one in samples] == ["clock"] * 2
    else:
        assert abs(slope - 1) < 0.05 and all(one.valid for one in samples)


def test_the_hosts_own_kernel_boots_with_its_own_modules(bench: Bench, tmp_path: Path) -> None:
    # This host may not have its kernel's image at hand; another kernel in a folder of its own stands for it.
    package = next((paths.state() / "images").glob("base-*/packages/linux-image-*.deb"))
    process.run(["dpkg-deb", "-x", package, tmp_path], Deadline.after(60))
    release = next((tmp_path / "boot").glob("vmlinuz-*")).name.partition("-")[2]
    recipe = images.recipe.read(paths.data("images") / "root.toml")
    own, said = images.adopt(
        bench.root,
        recipe.guest,
        recipe.epoch,
        bench.folder,
        boot=tmp_path / "boot",
        libraries=tmp_path / "lib/modules",
        release=release,
    )
    assert own.kernel != bench.root.kernel and release in said and own.kernel_release == release
    assert own.initramfs.read_bytes().startswith(bench.root.initramfs.read_bytes())
    with replace(bench, root=own).launch("own", "agent", scratch_mib=16) as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        assert guest.kernel == release


@pytest.fixture(scope="module")
def systems(bench: Bench) -> Bench:
    """The same bench with the root as a full system."""
    recipe, store = paths.data("images") / "system.toml", paths.state() / "images"
    return replace(bench, root=with_system(bench.root, recipe, store, Deadline.after(900), print))


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_full_system_is_booted_by_its_firmware_and_is_the_same_root(systems: Bench, firmware: str) -> None:
    variant, deadline = f"libvirt/tcg-system{'-uefi' if firmware == 'uefi' else ''}", Deadline.after(SYSTEM_SECONDS)
    with systems.launch(firmware, "agent", variant, scratch_mib=64) as guest:
        guest.wait(Milestone.READY, deadline)
        guest.wait(Milestone.SERVICE, deadline)
        milestones = guest.milestones
        order = (
            Milestone.REQUESTED,
            Milestone.LOADER,
            Milestone.LOADED,
            Milestone.KERNEL,
            Milestone.USERSPACE,
            Milestone.SERVICE,
        )
        moments = [milestones[milestone] for milestone in order]
        assert moments == sorted(moments)

        def run(*argv: str) -> str:
            return guest.start(Command(argv=argv), deadline).wait(deadline).stdout

        assert run("systemctl", "is-system-running", "--wait") == "running\n", run("systemctl", "--failed")
        assert run("uname", "-r").strip() == systems.root.kernel_release == guest.kernel
        assert (run("ls", "/sys/firmware/efi") != "") == (firmware == "uefi")
        query = run("dpkg-query", "-W", "-f", "${Package} ${Version}\n").splitlines()
        there = dict(line.split(" ", 1) for line in query)
        root = inventory.read(systems.root.tar.parent).packages
        assert {name: there.get(name) for name in root} == root
        assert "Startup finished" in run("systemd-analyze", "time")
        assert "/dev/vdb /scratch ext4" in run("cat", "/proc/mounts")
        host = systems.network.place(firmware).host_address
        assert f"default via {host} dev eth0" in run("ip", "route")
        assert guest.facts(deadline)["firmware"] == firmware
    assert sorted(path.name for path in (systems.folder / firmware).iterdir()) == ["console"]


def test_a_full_system_starts_the_beacon_before_all_is_up(systems: Bench) -> None:
    deadline = Deadline.after(SYSTEM_SECONDS)
    with systems.launch("beacon-system", "beacon", "libvirt/tcg-system") as guest:
        guest.wait(Milestone.READY, deadline)
        assert (
            guest.wait(Milestone.SERVICE, deadline)
            > guest.milestones[Milestone.READY]
            > guest.milestones[Milestone.USERSPACE]
        )


def test_a_guest_that_dies_is_quoted(bench: Bench) -> None:
    empty = bench.folder / "empty.raw"
    empty.write_bytes(bytes(2**20))
    broken = replace(bench, root=replace(bench.root, disk=empty))
    with broken.launch("dying", "beacon") as guest, pytest.raises(TareError) as caught:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
    assert "cannot mount /dev/vda" in caught.value.details


def test_a_domain_of_the_user_is_never_touched(bench: Bench) -> None:
    connection = libvirt.open(bench.runtime.uri)
    try:
        foreign = connection.createXML(FOREIGN, libvirt.VIR_DOMAIN_START_AUTODESTROY)
        assert foreign.name() not in [one.name for one in bench.runtime.leftovers()]
        with pytest.raises(TareError, match="no label"):
            bench.runtime.remove(Leftover(kind="domain", name=foreign.name()), Deadline.after(10))
        assert foreign.isActive()
        foreign.destroy()
    finally:
        connection.close()
