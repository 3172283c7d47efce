"""The Docker runtime for real: a daemon, the real root, every variant, and nothing left behind."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import docker as sdk
import pytest

from harness import paths, process
from harness.deadline import Deadline
from harness.errors import TareError
from harness.host import cache, confinement, memory, tracing
from harness.host.cgroups import own_memory
from harness.host.daemons import Daemons, open_daemons
from harness.images import ensure
from harness.model import Leftover, Milestone, NetworkPlace, RootForms, Shape
from harness.readers.gate import Gate
from harness.rig.network import Network, open_network
from harness.runtimes.archive import allocated, packing, unpacking
from harness.runtimes.base import Command, Entry, Place, Prepared, RawOutput
from harness.runtimes.docker import Docker, daemon_events, instance
from harness.runtimes.docker.daemon import Daemon
from harness.runtimes.docker.specification import VARIANTS

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="a bridge of our own needs root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "nsenter", "iptables", "dockerd", "mmdebstrap")), reason="system packages: make doctor"
    ),
]

NAME = "dkrtest"
PORT = 5301
LABELS = {"tare.install": NAME, "tare.run": f"{NAME}-run", "tare.boot": "b"}
SHAPE = Shape(cpus=(0,), memory_mib=256, pids=64)
SERVE = "import socket; s = socket.create_server(('', int('{port}'))); c, _ = s.accept(); c.sendall(b'hello')"
FETCH = "import socket; print(socket.create_connection(('{address}', {port}), timeout=5).recv(9).decode())"
SYNC = "162"
FLAVOURS = [variant.name.partition("/")[2] for variant in VARIANTS]


@dataclass(frozen=True, slots=True)
class Bench:
    """What the tests share: the runtime on a live daemon, the root, a network, and a plain client beside them."""

    runtime: Docker
    root: RootForms
    network: Network
    daemons: Daemons
    client: sdk.DockerClient
    folder: Path

    def launch(
        self, flavour: str, entry: Entry, name: str, shape: Shape = SHAPE, image: Prepared | None = None
    ) -> instance.Container:
        variant = next(one for one in VARIANTS if one.name == f"docker/{flavour}")
        deadline = Deadline.after(60)
        prepared = image or self.runtime.prepare(variant, shape, self.root, deadline)
        directory = self.folder / name
        directory.mkdir(parents=True, exist_ok=True)
        network: NetworkPlace = self.network.place(name)
        place = Place(
            name=name, directory=directory, entry=entry, shape=shape, network=network, port=PORT, scratch_mib=16
        )
        launched = self.runtime.launch(prepared, place, LABELS, deadline)
        assert isinstance(launched, instance.Container)
        return launched

    def ours(self) -> list[Leftover]:
        return [
            one for one in self.runtime.leftovers() if one.run == LABELS["tare.run"] and one.kind != "docker-network"
        ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    deadline = Deadline.after(600)
    folder = Path(f"/run/{NAME}")
    folder.mkdir(exist_ok=True)
    root = ensure(paths.data("images") / "root.toml", paths.state() / "images", deadline, print)
    with ExitStack() as stack:
        stack.callback(lambda: process.run(("rm", "-rf", str(folder)), Deadline.after(10)))
        state = tmp_path_factory.mktemp("state")
        daemons = stack.enter_context(open_daemons(folder, state, ["docker"], deadline, print, netns=NAME))
        if daemons.docker_url is None:
            pytest.skip(daemons.reasons["docker"])
        network = stack.enter_context(
            open_network(daemons.netns, LABELS["tare.run"], daemons.docker_url, deadline, peer=f"{NAME}-peer")
        )
        runtime = Docker()
        runtime.connect(daemons.docker_url)
        stack.callback(runtime.close)
        client = sdk.DockerClient(base_url=daemons.docker_url)
        stack.callback(client.close)
        yield Bench(runtime, root, network, daemons, client, folder)
        assert runtime.url is not None


def run(container: instance.Container, *argv: str) -> RawOutput:
    output = container.start(Command(argv=argv), Deadline.after(30)).wait(Deadline.after(60))
    assert output.status == 0, output.stderr
    return output


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_variant_runs_a_tool_serves_its_peer_and_goes(bench: Bench, flavour: str) -> None:
    assert bench.runtime.available(VARIANTS[0]).ok
    with bench.launch(flavour, "agent", f"tare-{NAME}-{flavour}") as container:
        ready = container.wait(Milestone.READY, Deadline.after(30))
        assert container.milestones[Milestone.REQUESTED] < ready < time.monotonic()
        before = container.counters()["workload"]
        output = run(container, "sysbench", "cpu", "--time=1", "--threads=1", "run")
        assert "events per second" in output.stdout
        assert container.counters()["workload"] - before == pytest.approx(output.user + output.system, abs=0.2)
        run(container, "dd", "if=/dev/zero", "of=/scratch/x", "bs=1M", "count=8")
        facts = container.facts(Deadline.after(20))
        assert facts["cpus"] == "0" and facts["storage_driver"] and facts["image"].startswith("sha256:")
        assert ("docker-volume" in {one.kind for one in bench.ours()}) is (flavour == "volume")
        # The peer, over the leg that this variant is measured on.
        server = container.start(
            Command(argv=("python3", "-c", SERVE.format(port=PORT)), listen=PORT), Deadline.after(20)
        )
        where = container.endpoint()
        fetch = ("python3", "-c", FETCH.format(address=where.address, port=where.port))
        inside = ("nsenter", f"--net=/run/netns/{NAME}-peer")
        assert process.run((*inside, *fetch), Deadline.after(20)).stdout == "hello\n"
        assert server.wait(Deadline.after(10)).status == 0
        assert ("proxy" in container.counters()) is (flavour == "nat")
        parts = container.processes()
        assert {"workload", "shim", "dockerd", "containerd"} <= parts.keys() and ("proxy" in parts) is (
            flavour == "nat"
        )
        assert memory.resident(parts["workload"]).pss > 2**20 and memory.resident(parts["shim"]).pss > 2**20
        charged = own_memory(parts["workload"][0], os.getpid())
        assert charged is not None and 2**20 < charged.whole - charged.cache < SHAPE.memory_mib * 2**20
    bench.network.release(container.name)
    assert bench.ours() == []
    assert not bench.client.volumes.list()


def test_the_hardened_container_is_confined_and_what_it_reaches_is_seen(bench: Bench) -> None:
    with bench.launch("hardened", "agent", f"tare-{NAME}-confined") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        pid = int(container.facts(Deadline.after(20))["pid"])
        found = confinement.confinement(pid)
        assert (found["capabilities"], found["seccomp"], found["no_new_privs"]) == ("0", "filter", "yes")
        assert found["user"] != "0" and found["memory limit"] == str(256 * 2**20) and found["CPUs"] == "0"
        assert {"mnt", "net", "pid", "ipc", "uts"} <= set(found["namespaces"].split())
        counts = Gate().read(run(container, "/opt/tare/gate").stdout, {})
        assert counts["refused"] + counts["killed"] > 50 < counts["allowed"]
        try:
            with tracing.traced("syscalls", [pid]) as reached:
                run(container, "sync")
        except tracing.Untraceable as error:
            pytest.skip(str(error))
        assert SYNC in reached.found
    bench.network.release(container.name)


def small_image(bench: Bench, folder: Path) -> Prepared:
    """An image that holds the beacon and nothing else."""
    (folder / "opt/tare").mkdir(parents=True)
    shutil.copy(bench.root.directory / "opt/tare/beacon", folder / "opt/tare/beacon")
    tar = folder.with_name("small.tar")
    process.run(["tar", "-c", "-f", tar, "-C", folder, "."], Deadline.after(10))
    root = replace(bench.root, tar=tar, digest="small")
    return bench.runtime.prepare(VARIANTS[0], SHAPE, root, Deadline.after(60))


def test_a_copy_of_an_image_is_packed_unpacked_started_and_gone(bench: Bench, tmp_path: Path) -> None:
    deadline, package = Deadline.after(120), tmp_path / "package"
    image = small_image(bench, tmp_path / "small")
    copies = bench.runtime.copies(image, tmp_path, LABELS, deadline)
    with copies.built(deadline) as copy, packing(package, 3, deadline) as sink:
        copies.save(copy, sink, deadline)
        assert [one.kind for one in bench.ours()] == ["docker-image"], "what a killed run would leave is found"
    assert bench.ours() == []
    with unpacking(package, deadline) as source, copies.loaded(source, deadline) as copy:
        assert copy.image != image.image
        with bench.launch("bridge", "beacon", f"tare-{NAME}-copy", image=copy) as container:
            container.wait(Milestone.READY, Deadline.after(30))
            assert 0 < allocated(container.files(deadline)) < 2**20
        bench.network.release(container.name)
    with copies.linked(deadline) as linked, copies.full(deadline) as full:
        assert allocated(linked) < allocated(full)
    left = [name for one in bench.client.images.list() for name in one.tags if name.startswith("tare-copy")]
    assert (bench.ours(), left) == ([], [])
    with copies.built(deadline):
        for one in bench.ours():
            bench.runtime.remove(one, deadline)
        assert bench.ours() == []


def test_limits_are_the_shape(bench: Bench) -> None:
    with bench.launch("bridge", "agent", f"tare-{NAME}-limits") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        host = bench.client.api.inspect_container(container.name)["HostConfig"]
        assert (host["Memory"], host["MemorySwap"]) == (256 * 2**20, 256 * 2**20)
        assert (host["CpusetCpus"], host["PidsLimit"], host["CpuQuota"]) == ("0", 64, 0)
        forks = (
            "import os\nn=0\ntry:\n while os.fork(): n+=1\nexcept OSError: print(n)\nelse: __import__('time').sleep(3)"
        )
        assert 0 < int(run(container, "python3", "-c", forks).stdout) < 64
        # A job that wants more than the memory limit is killed, and the facts count it; the agent lives on.
        greedy = Command(argv=("python3", "-c", "b'x' * 2**29"))
        assert container.start(greedy, Deadline.after(10)).wait(Deadline.after(30)).status == -signal.SIGKILL
        assert int(container.facts(Deadline.after(20))["oom_kills"]) >= 1


def test_a_weight_that_somebody_gave_it_is_a_fact(bench: Bench) -> None:
    with bench.launch("bridge", "agent", f"tare-{NAME}-weight") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        assert container.facts(Deadline.after(20))["cgroup_cpu_weight"] == "default"
        bench.client.api.update_container(container.name, cpu_shares=4096)
        assert container.facts(Deadline.after(20))["cgroup_cpu_weight"].endswith(" × the default)")
    bench.network.release(container.name)


def test_the_daemon_is_repeated_once(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    daemon = Daemon(bench.daemons.docker_url or "", Deadline.after(20))
    for name in ("one", "two"):
        daemon.warn(name, ["no swap limit"])
    daemon.close()
    assert [record.getMessage() for record in caplog.records] == ["docker, about one: no swap limit"]


def test_the_beacon_becomes_ready(bench: Bench) -> None:
    with bench.launch("host", "beacon", f"tare-{NAME}-beacon") as container:
        milestones = container.wait(Milestone.READY, Deadline.after(30)), container.milestones
        assert milestones[0] == milestones[1][Milestone.READY] < milestones[1][Milestone.REQUESTED] + 10
        assert milestones[1][Milestone.CREATED] < milestones[1][Milestone.USERSPACE] < milestones[1][Milestone.READY], (
            "its process, by runc"
        )
    assert bench.ours() == []


@pytest.mark.parametrize("flavour", ["bridge", "host", "nat"])
def test_its_daemons_tell_the_moments_of_a_boot_in_order(bench: Bench, flavour: str) -> None:
    listeners = set()
    for number in range(2):
        with bench.launch(flavour, "beacon", f"tare-{NAME}-moments-{flavour}-{number}") as container:
            container.wait(Milestone.READY, Deadline.after(30))
            milestones = container.milestones
            print(
                {
                    milestone.value: round(1000 * (at - milestones[Milestone.REQUESTED]), 1)
                    for milestone, at in milestones.items()
                }
            )
            order = (Milestone.REQUESTED, Milestone.CREATED, Milestone.NETWORK, Milestone.CONTAINER, Milestone.TASK)
            came = [milestones[milestone] for milestone in order]
            assert came == sorted(came)
            assert (
                milestones[Milestone.TASK] < milestones[Milestone.READY]
                and milestones[Milestone.TASK] < milestones[Milestone.STARTED]
            )
            assert container.milestones == milestones, "asked once"
        bench.network.release(container.name)
        assert bench.runtime._containerd is not None and not bench.runtime._containerd.reason
        listeners.add(bench.runtime._containerd)
    assert len(listeners) == 1, "one for all launches"


def test_what_works_is_not_listened_to_and_says_whether_a_boot_can_be(bench: Bench) -> None:
    with bench.launch("host", "agent", f"tare-{NAME}-unheard") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        assert not {Milestone.NETWORK, Milestone.CONTAINER, Milestone.TASK, Milestone.STARTED} & set(
            container.milestones
        )
        assert container.facts(Deadline.after(20))["containerd_events"] == "heard"


def test_a_wall_clock_that_was_set_leaves_no_moments(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.launch("host", "beacon", f"tare-{NAME}-stepped") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        there = daemon_events.WallClock.now().ahead
        monkeypatch.setattr(daemon_events.WallClock, "now", classmethod(lambda cls: cls(there + 10**9)))
        assert not {Milestone.NETWORK, Milestone.CONTAINER, Milestone.TASK, Milestone.STARTED} & set(
            container.milestones
        )
        assert Milestone.READY in container.milestones


def test_signalling_overhead_is_positive_and_a_container_shares_the_hosts_clock(bench: Bench) -> None:
    with bench.launch("bridge", "agent", f"tare-{NAME}-telling") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        costs = container.signalling_overheads(Deadline.after(30))
        assert set(costs) == {Milestone.READY} and costs[Milestone.READY].method == "clock"
        assert 0 < costs[Milestone.READY].low <= costs[Milestone.READY].seconds <= costs[Milestone.READY].high < 30
    bench.network.release(container.name)


def test_a_container_killed_for_memory_is_reported_in_words(bench: Bench) -> None:
    tight = Shape(cpus=(0,), memory_mib=7, pids=64)
    with (
        pytest.raises(TareError) as caught,
        bench.launch("bridge", "agent", f"tare-{NAME}-tight", tight) as container,
    ):
        container.wait(Milestone.READY, Deadline.after(30))
    # Where the limit strikes before the agent's first line, it is Docker itself that cannot start the container.
    assert "7 MiB of memory" in str(caught.value) or "did not start" in str(caught.value)
    assert bench.ours() == []


def test_a_container_that_somebody_kills_is_noticed(bench: Bench) -> None:
    with bench.launch("bridge", "agent", f"tare-{NAME}-killed") as container:
        container.wait(Milestone.READY, Deadline.after(30))
        job = container.start(Command(argv=("sleep", "30")), Deadline.after(10))
        bench.client.containers.get(container.name).kill()
        with pytest.raises(TareError, match="closed its channel") as caught:
            job.wait(Deadline.after(20))
        assert "SIGKILL from outside" in str(caught.value)
    assert bench.ours() == []


def test_what_is_not_ours_is_left_alone(bench: Bench) -> None:
    name = f"{NAME}-users-own"
    image = bench.runtime.prepare(VARIANTS[0], SHAPE, bench.root, Deadline.after(60)).image
    users = bench.client.containers.create(image, ["/opt/tare/beacon", "/x", "y"], name=name, network_mode="none")
    try:
        assert name not in {one.name for one in bench.runtime.leftovers()}
        with pytest.raises(TareError, match="does not carry"):
            bench.runtime.remove(Leftover(kind="docker-container", name=name), Deadline.after(10))
        # Nor is a container removed whose name we wanted and did not get.
        with pytest.raises(TareError, match="in use"):
            bench.launch("bridge", "beacon", name)
        users.reload()
        assert users.name == name
    finally:
        users.remove(force=True)


def test_leftovers_are_found_and_removed(bench: Bench) -> None:
    lost = bench.launch("volume", "agent", f"tare-{NAME}-lost")
    lost.wait(Milestone.READY, Deadline.after(30))
    assert {one.kind for one in bench.ours()} == {"docker-container", "docker-volume"}
    for leftover in bench.ours():
        bench.runtime.remove(leftover, Deadline.after(20))
    assert bench.ours() == [] and not bench.client.volumes.list()
    lost.__exit__()
    assert f"{bench.root.digest.rpartition(':')[2][:12]}" in " ".join(one.name for one in bench.runtime.images())


def test_the_image_is_imported_once(bench: Bench) -> None:
    first = bench.runtime.prepare(VARIANTS[0], SHAPE, bench.root, Deadline.after(60)).image
    before = time.monotonic()
    assert bench.runtime.prepare(VARIANTS[1], SHAPE, bench.root, Deadline.after(60)).image == first
    assert time.monotonic() - before < 1.0


def test_the_end_is_bounded_while_the_daemon_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    if "dockerd" not in bench.daemons.processes:
        pytest.skip("this dockerd is not ours to stop")
    monkeypatch.setattr(instance, "DESTROY_SECONDS", 1.0)
    lost = bench.launch("bridge", "agent", f"tare-{NAME}-hung")
    lost.wait(Milestone.READY, Deadline.after(30))
    os.kill(bench.daemons.processes["dockerd"], signal.SIGSTOP)
    try:
        before = time.monotonic()
        with pytest.raises(TareError, match="may remain"):
            lost.__exit__()
        with pytest.raises(ValueError, match="first") as caught, lost:
            raise ValueError("first")
        assert f"{NAME}-hung may remain" in caught.value.__notes__[0]
        assert time.monotonic() - before < 10
    finally:
        os.kill(bench.daemons.processes["dockerd"], signal.SIGCONT)
    for leftover in bench.ours():
        bench.runtime.remove(leftover, Deadline.after(20))
    assert bench.ours() == []


def test_a_cold_launch_reads_the_images_layers_anew(bench: Bench) -> None:
    # The last test: in the others, memory limits count on programs that are in the cache already.
    prepared = bench.runtime.prepare(VARIANTS[0], SHAPE, bench.root, Deadline.after(60))
    layers = list(bench.runtime.files(prepared, Deadline.after(20)))
    assert any((layer / "opt/tare/beacon").is_file() for layer in layers)
    for number in range(2):
        dropped = cache.drop(layers, Deadline.after(120))
        print(dropped)
        assert (dropped.after, dropped.stayed) == (0, 0.0), "nothing of the root is in memory"
        assert number == 0 or dropped.before > 0, "and the launch before had read of it"
        with bench.launch("host", "beacon", f"tare-{NAME}-cold-{number}") as container:
            container.wait(Milestone.READY, Deadline.after(60))
