"""The qemu runtime for real: microvms that QEMU emulates, the real root, and nothing left behind."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import cache
from harness.host.links import links_of, remove_namespace
from harness.images import ensure
from harness.model import Accelerator, Leftover, Milestone, RootForms, Shape
from harness.rig.leftovers import RigSweep
from harness.rig.network import Network, open_network
from harness.runtimes.base import Command, Entry, Place
from harness.runtimes.guests.vmm_process import VmmProcess
from harness.runtimes.qemu import Microvm
from harness.runtimes.qemu.instance import Guest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "nsenter", "qemu-system-x86_64", "mmdebstrap")), reason="system packages: make doctor"
    ),
]

NAME = "qmtest"
PEER = f"{NAME}-peer"
PORT = 5304
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
CPU = max(os.sched_getaffinity(0))
SHAPE = Shape(cpus=(CPU,), memory_mib=512)
BOOT_SECONDS = 60.0
SERVE = f"import socket; s = socket.create_server(('', {PORT})); c, _ = s.accept(); c.sendall(b'hello')"


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tests share: the runtime, the root, a network and a folder."""

    runtime: Microvm
    root: RootForms
    network: Network
    folder: Path

    def launch(self, name: str, entry: Entry, scratch_mib: int = 0, shape: Shape = SHAPE) -> Guest:
        variant = next(one for one in self.runtime.variants if one.name == "qemu/microvm-tcg")
        prepared = self.runtime.prepare(variant, shape, self.root, Deadline.after(30))
        directory = self.folder / name
        directory.mkdir()
        place = Place(
            name=f"tare-{NAME}-{name}",
            directory=directory,
            entry=entry,
            shape=shape,
            network=self.network.place(name),
            port=PORT,
            scratch_mib=scratch_mib,
            scratch_directory=self.folder,
        )
        return self.runtime.launch(prepared, place, LABELS, Deadline.after(60))

    def taps(self) -> list[str]:
        names = [link.name for link in links_of(NAME, Deadline.after(10))]
        return [name for name in names if name.startswith("tare-") and name[5:7] != "p0"]

    def leftovers(self) -> list[Leftover]:
        return [one for one in self.runtime.leftovers() if one.run == LABELS["tare.run"]]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    deadline = Deadline.after(600)
    root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
    folder = paths.state() / NAME
    with ExitStack() as stack:
        folder.mkdir(mode=0o711, parents=True)
        stack.callback(shutil.rmtree, folder)
        process.run(["ip", "netns", "add", NAME], deadline)
        stack.callback(remove_namespace, NAME)
        network = stack.enter_context(open_network(NAME, LABELS["tare.run"], None, deadline, peer=PEER))
        yield Bench(Microvm(), root, network, folder)


def test_a_microvm_boots_to_the_beacon_and_goes(bench: Bench) -> None:
    with bench.launch("beacon", "beacon") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        milestones = guest.milestones
        print({milestone.value: round(at - milestones[Milestone.REQUESTED], 3) for milestone, at in milestones.items()})
        assert (
            milestones[Milestone.REQUESTED]
            < milestones[Milestone.KERNEL]
            < milestones[Milestone.USERSPACE]
            < milestones[Milestone.READY]
        )
        assert milestones[Milestone.REQUESTED] < milestones[Milestone.CREATED]
        assert bench.leftovers() == [Leftover(kind="microvm", name=guest.name, run=LABELS["tare.run"])]
        assert guest.accelerator is Accelerator.TCG
        assert len(bench.taps()) == 2, "the peer's leg and the guest's tap"
    assert not bench.leftovers()
    assert len(bench.taps()) == 1
    assert sorted(path.name for path in (bench.folder / "beacon").iterdir()) == ["console", "errors"]


def test_a_microvm_works_serves_its_peer_and_has_a_data_disk(bench: Bench) -> None:
    disk = bench.folder / f"tare-{NAME}-agent.raw"
    with bench.launch("agent", "agent", scratch_mib=96) as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        assert disk.stat().st_blocks * 512 >= 96 * 2**20

        def run(*argv: str) -> str:
            output = guest.start(Command(argv=argv), Deadline.after(30)).wait(Deadline.after(60))
            assert output.status == 0, output.stderr
            return output.stdout

        assert run("uname", "-r").strip() == bench.root.kernel_release == guest.kernel
        assert not list(run("sh", "-c", "ls /sys/bus/pci/devices 2>/dev/null || true").split())
        before = guest.counters()
        assert "events per second" in run("sysbench", "cpu", "--time=1", "--threads=1", "run")
        assert guest.counters()["vcpu"] - before["vcpu"] > 0.5
        slept = guest.start(Command(argv=("sleep", "3")), Deadline.after(30)).wait(Deadline.after(60))
        assert slept.inner_end - slept.inner_begin == pytest.approx(slept.end - slept.begin, rel=0.1), "its clock"
        run("dd", "if=/dev/zero", "of=/scratch/x", "bs=1M", "count=16", "oflag=direct")
        server = guest.start(Command(argv=("python3", "-c", SERVE), listen=PORT), Deadline.after(30))
        where = guest.endpoint()
        fetch = f"import socket; print(socket.create_connection(('{where.address}', {where.port}), 5).recv(9).decode())"
        inside = ("nsenter", f"--net=/run/netns/{PEER}", "python3", "-c", fetch)
        assert process.run(inside, Deadline.after(20)).stdout == "hello\n"
        assert server.wait(Deadline.after(20)).status == 0
        facts = guest.facts(Deadline.after(20))
        assert (facts["query-kvm"], facts["machine"], facts["vhost"]) == ("disabled", "microvm", "no")
        assert facts["data_disk"] == "raw cache=none io=native" and facts["memory_preallocated"] == "yes"
    assert not disk.exists()


def test_signalling_overhead_is_measured_over_channel_and_serial_port(bench: Bench) -> None:
    with bench.launch("telling", "agent") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        costs = guest.signalling_overheads(Deadline.after(60))
        assert set(costs) == {Milestone.READY, Milestone.KERNEL, Milestone.USERSPACE, Milestone.SERVICE}
        assert {one.method for one in costs.values()} == {"interval"}, "its clock is its own"
        # A lower bound: on a busy host lines arrive in bunches, and it can be zero.
        assert all(0 <= one.low <= one.seconds <= one.high < 1 for one in costs.values())


def test_a_cold_launch_reads_disk_kernel_and_initramfs_anew(bench: Bench) -> None:
    variant = next(one for one in bench.runtime.variants if one.name == "qemu/microvm-tcg")
    prepared = bench.runtime.prepare(variant, SHAPE, bench.root, Deadline.after(30))
    files = list(bench.runtime.files(prepared, Deadline.after(10)))
    for number in range(2):
        dropped = cache.drop(files, Deadline.after(60))
        assert (dropped.after, dropped.stayed) == (0, 0.0)
        assert number == 0 or dropped.before > 2**20, "the launch before had read of it"
        with bench.launch(f"cold-{number}", "beacon") as guest:
            guest.wait(Milestone.READY, Deadline.after(2 * BOOT_SECONDS))


def test_all_of_qemu_stays_on_the_shapes_cpus(bench: Bench) -> None:
    cpus = tuple(sorted(os.sched_getaffinity(0))[-2:])
    with bench.launch("pinned", "beacon", shape=Shape(cpus=cpus, memory_mib=512)) as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        process_of = VmmProcess.find(guest._identity)
        assert process_of is not None
        tasks = Path(f"/proc/{process_of.pid}/task")
        masks = {(task / "comm").read_text().strip(): os.sched_getaffinity(int(task.name)) for task in tasks.iterdir()}
        process_of.close()
    vcpus = [masks[name] for name in sorted(masks) if name.startswith("CPU ")]
    assert vcpus == [{cpu} for cpu in cpus]
    assert all(mask <= set(cpus) for mask in masks.values())


def test_a_microvm_that_dies_is_quoted(bench: Bench) -> None:
    empty = bench.folder / "empty.raw"
    empty.write_bytes(bytes(2**20))
    broken = replace(bench, root=replace(bench.root, disk=empty))
    with broken.launch("dying", "beacon") as guest, pytest.raises(TareError) as caught:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
    assert "cannot mount /dev/vda" in caught.value.details


def test_a_qemu_that_refuses_says_why_and_leaves_nothing(bench: Bench) -> None:
    broken = replace(bench, root=replace(bench.root, kernel=Path("/nonexistent")))
    with pytest.raises(TareError) as caught:
        broken.launch("refused", "beacon")
    assert "/nonexistent" in caught.value.details
    assert not bench.leftovers() and len(bench.taps()) == 1
    assert sorted(path.name for path in (bench.folder / "refused").iterdir()) in (["errors"], ["console", "errors"])


def test_what_a_killed_run_would_leave_is_found_and_removed_by_label(bench: Bench) -> None:
    rig = RigSweep(netns=NAME, scratch=bench.folder / "none", peer=PEER)
    with bench.launch("left", "beacon") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        (left,) = bench.leftovers()
        bench.runtime.remove(left, Deadline.after(10))
        bench.runtime.remove(left, Deadline.after(10))  # gone already is fine
        assert not bench.leftovers()
        with pytest.raises(TareError, match="no longer running"):
            guest.counters()
        taps = [one for one in rig.leftovers() if one.kind == "interface" and one.name in bench.taps()[1:]]
        assert [one.run for one in taps] == [LABELS["tare.run"]]
        rig.remove(taps[0], Deadline.after(10))
    assert len(bench.taps()) == 1
