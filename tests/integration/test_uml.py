"""The runtime of User Mode Linux for real: guests on a bridge of their own, the real root, and nothing left behind."""

import base64
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host.links import links_of, remove_namespace, tidied_namespaces
from harness.images import ensure
from harness.model import Accelerator, Leftover, Milestone, RootForms, Shape
from harness.rig.network import Network, open_network
from harness.runtimes.base import Command, Entry, Place
from harness.runtimes.uml import Uml
from harness.runtimes.uml.instance import Guest
from harness.runtimes.uml.specification import find_kernel

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(find_kernel() is None, reason="apt-get install --no-install-recommends user-mode-linux"),
    pytest.mark.skipif(bool(process.have("ip", "nsenter", "bwrap", "mmdebstrap")), reason="make setup"),
]

NAME = "umltest"
PORT = 5303
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
SHAPE = Shape(cpus=(max(os.sched_getaffinity(0)),), memory_mib=512)
BOOT_SECONDS = 60.0
OUTPUT_BYTES = 6 * 10**6
PRINT = (
    "import base64, random, sys; data = random.Random(7).randbytes(4_500_000); "
    "sys.stdout.write(base64.b64encode(data).decode())"
)
SERVE = f"import socket; s = socket.create_server(('', {PORT})); c, _ = s.accept(); c.sendall(b'hello' * 200_000)"
FETCH = """
import socket
s = socket.create_connection(({address!r}, {port}), timeout=10)
n = 0
while data := s.recv(2**20):
    n += len(data)
print(n)
"""
LAUNCH_AND_HANG = """
import time
from tests.integration import test_uml
with test_uml.opened_bench(network=False) as bench, bench.launch("orphan", "beacon") as guest:
    guest.wait(test_uml.Milestone.READY, test_uml.Deadline.after(60))
    print("ready", flush=True)
    time.sleep(600)
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tests share: the runtime, the root, a network and a folder."""

    runtime: Uml
    root: RootForms
    network: Network | None
    folder: Path

    def launch(self, name: str, entry: Entry, scratch_mib: int = 0) -> Guest:
        prepared = self.runtime.prepare(self.runtime.variants[0], SHAPE, self.root, Deadline.after(30))
        directory = self.folder / name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o711)
        place = Place(
            name=f"tare-{NAME}-{name}",
            directory=directory,
            entry=entry,
            shape=SHAPE,
            network=self.network.place(name) if self.network else None,
            port=PORT,
            scratch_mib=scratch_mib,
            scratch_directory=self.folder,
        )
        return self.runtime.launch(prepared, place, LABELS, Deadline.after(60))

    def remains(self) -> list[str]:
        """What a guest may leave: processes, leftovers, taps, files of the instance, memory files, sockets."""
        found = [f"leftover {one.name}" for one in self.runtime.leftovers() if one.run == LABELS["tare.run"]]
        words = (" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
        found += [f"process {line}" for line in words if f"umid=tare-{NAME}" in line]
        if self.network:
            links = links_of(NAME, Deadline.after(10))
            found += [f"tap {link.name}" for link in links if re.fullmatch("tare-[0-9a-f]{8}", link.name)]
        found += [f"file {path}" for path in self.folder.rglob("*") if path.is_file() and path.name != "console"]
        found += [f"file {path}" for path in Path("/dev/shm").glob("vm_file*")]
        home = Path.home() / ".uml"
        return found + [f"file {path}" for path in (home.rglob("*tare*") if home.exists() else ())]


@contextmanager
def opened_bench(*, network: bool) -> Iterator[Bench]:
    deadline = Deadline.after(600)
    root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
    folder = Path(f"/run/{NAME}")
    with ExitStack() as stack:
        folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        opened = None
        if network:
            stack.enter_context(tidied_namespaces())
            stack.callback(remove_namespace, NAME)
            process.run(("ip", "netns", "add", NAME), deadline)
            opened = stack.enter_context(open_network(NAME, LABELS["tare.run"], None, deadline, peer=f"{NAME}-peer"))
        yield Bench(Uml(), root, opened, folder)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with opened_bench(network=True) as opened:
        yield opened


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
        assert ours == [Leftover(kind="uml", name=guest.name, run=LABELS["tare.run"])]
        assert guest.accelerator is Accelerator.NONE
    assert bench.remains() == []


def test_a_guest_works_serves_its_peer_and_has_a_data_disk(bench: Bench) -> None:
    disk = bench.folder / f"tare-{NAME}-agent.raw"
    with bench.launch("agent", "agent", scratch_mib=96) as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        assert disk.stat().st_blocks * 512 >= 96 * 2**20
        pid = next(one.pid for one in psutil.process_iter(["cmdline"]) if _is_of(one, guest.name))
        assert os.sched_getaffinity(pid) == set(SHAPE.cpus)

        def run(*argv: str) -> str:
            output = guest.start(Command(argv=argv), Deadline.after(30)).wait(Deadline.after(60))
            assert output.status == 0, output.stderr
            return output.stdout

        assert run("uname", "-r").strip() == guest.kernel != os.uname().release
        before = guest.counters()
        assert "events per second" in run("sysbench", "cpu", "--time=1", "--threads=1", "run")
        assert guest.counters()["guest"] - before["guest"] > 0.1
        run("dd", "if=/dev/zero", "of=/scratch/x", "bs=1M", "count=16", "oflag=direct")
        assert run("stat", "-f", "-c", "%T", "/scratch").strip() == "ext2/ext3"
        assert _moved(bench, guest) == 10**6
        facts = guest.facts(Deadline.after(20))
        assert facts["runtime"] == "uml" and facts["cpus_online"] == "1" and facts["kernel"] == guest.kernel
        assert 0.9 * SHAPE.memory_mib < int(facts["memory_mib"]) <= SHAPE.memory_mib
        assert "page cache" in facts["data_disk"]
    assert bench.remains() == []
    assert bench.root.disk.stat().st_uid == os.geteuid()


def test_signalling_overhead_is_measured_over_both_serial_lines(bench: Bench) -> None:
    with bench.launch("telling", "agent") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        costs = guest.signalling_overheads(Deadline.after(60))
        assert set(costs) == {Milestone.READY, Milestone.KERNEL, Milestone.USERSPACE, Milestone.SERVICE}
        assert {one.method for one in costs.values()} == {"interval"}, "its clock is its own"
        # A lower bound: on a busy host lines arrive in bunches, and it can be zero.
        assert all(0 <= one.low <= one.seconds <= one.high < 1 for one in costs.values())


def test_much_output_comes_intact_and_the_clocks_agree(bench: Bench) -> None:
    with bench.launch("output", "agent") as guest:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
        output = guest.start(Command(argv=("python3", "-c", PRINT)), Deadline.after(30)).wait(Deadline.after(60))
        assert len(output.stdout) == OUTPUT_BYTES
        assert output.stdout == base64.b64encode(random.Random(7).randbytes(4_500_000)).decode()
        every = "".join(map(chr, range(1, 256)))
        echoed = guest.start(Command(argv=("printf", "%s", every)), Deadline.after(30)).wait(Deadline.after(30))
        assert echoed.stdout == every, "the serial line is not raw"
        slept = guest.start(Command(argv=("sleep", "2")), Deadline.after(30)).wait(Deadline.after(30))
        assert abs((slept.inner_end - slept.inner_begin) - (slept.end - slept.begin)) < 0.1


def test_a_guest_that_dies_is_quoted(bench: Bench) -> None:
    empty = bench.folder / "empty.raw"
    empty.write_bytes(bytes(2**20))
    broken = replace(bench, root=replace(bench.root, disk=empty))
    with broken.launch("dying", "beacon") as guest, pytest.raises(TareError) as caught:
        guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
    assert "Unable to mount root fs" in caught.value.details
    empty.unlink()
    assert bench.remains() == []


def test_a_leftover_is_removed_and_what_is_not_ours_is_not(bench: Bench) -> None:
    foreign = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"umid=tare-{NAME}-foreign"])
    try:
        with bench.launch("left", "beacon") as guest:
            guest.wait(Milestone.READY, Deadline.after(BOOT_SECONDS))
            (left,) = [one for one in bench.runtime.leftovers() if one.run == LABELS["tare.run"]]
            bench.runtime.remove(left, Deadline.after(20))
            bench.runtime.remove(left, Deadline.after(20))  # gone already is fine
            assert bench.runtime.leftovers() == []
            with pytest.raises(TareError, match="no longer running"):
                guest.counters()
        bench.runtime.remove(Leftover(kind="uml", name=f"tare-{NAME}-foreign"), Deadline.after(5))
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()
    assert bench.remains() == []


def test_a_guest_dies_with_a_harness_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", LAUNCH_AND_HANG], stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        try:
            lines = iter(harness.stdout.readline, b"")
            assert any(line == b"ready\n" for line in lines)
        finally:
            harness.send_signal(signal.SIGKILL)
    deadline = Deadline.after(20)
    while any(f"umid=tare-{NAME}-orphan" in _words(one) for one in psutil.process_iter(["cmdline"])):
        deadline.check("the guest's end")
        time.sleep(0.1)


def _moved(bench: Bench, guest: Guest) -> int:
    """Bytes that the peer fetched from a server in the guest."""
    server = guest.start(Command(argv=("python3", "-c", SERVE), listen=PORT), Deadline.after(30))
    where = guest.endpoint()
    fetch = FETCH.format(address=where.address, port=where.port)
    inside = ("nsenter", f"--net=/run/netns/{NAME}-peer", "python3", "-c", fetch)
    said = process.run(inside, Deadline.after(30)).stdout
    assert server.wait(Deadline.after(20)).status == 0
    return int(said)


def _words(one: psutil.Process) -> list[str]:
    return one.info["cmdline"] or []


def _is_of(one: psutil.Process, name: str) -> bool:
    return len(_words(one)) > 1 and _words(one)[1] == f"umid={name}"
