"""The rig for real: bridge, peer and a private dockerd that adopts the bridge, all in namespaces of the test's own."""

import contextlib
import io
import os
import re
import shutil
import signal
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
import pytest
from docker.errors import DockerException
from docker.types import EndpointConfig

from harness import process
from harness.deadline import Deadline
from harness.errors import ExitCode, TareError
from harness.rig.leftovers import RigSweep
from harness.rig.network import BRIDGE, Network, open_network
from harness.rig.publish import published

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="bridge and peer need root: sudo make test"),
    pytest.mark.skipif(
        bool(process.have("ip", "nsenter", "iptables")), reason="apt-get install iproute2 util-linux iptables"
    ),
]

RIG = "rigtest"
PEER = "rigtest-peer"
GUEST = "rigtest-guest"
BYTES = 32 * 2**20
SEND = "import socket; s=socket.create_server(({address!r},5000)); c=s.accept()[0]; c.sendall(bytes({size}))"
RECEIVE = """
import socket
s = socket.create_connection(({address!r}, {port}), timeout=5)
n = 0
while data := s.recv(2**20):
    n += len(data)
print(n)
"""


def ip(*words: str) -> str:
    return process.run(("ip", *words), Deadline.after(10)).stdout


def state() -> str:
    """Interfaces, filter rules and namespaces, as the leak check compares them."""
    rules = process.run(("nsenter", f"--net=/run/netns/{RIG}", "iptables-save"), Deadline.after(10)).stdout
    rules = re.sub(r"^#.*\n|\[\d+:\d+\]", "", rules, flags=re.MULTILINE)
    names = [line.split()[0] for line in ip("netns").splitlines() if line.startswith("rigtest")]
    return "\n".join((ip("-n", RIG, "-br", "address"), ip("-n", RIG, "route"), rules, *names))


@pytest.fixture
def rig_namespace() -> Iterator[str]:
    existed = Path("/run/netns").exists()
    ip("netns", "add", RIG)
    ip("-n", RIG, "link", "set", "lo", "up")
    yield RIG
    ip("netns", "delete", RIG)
    if not existed and not any(Path("/run/netns").iterdir()):
        process.run(("umount", "/run/netns"), Deadline.after(10))


@pytest.fixture
def docker_url(rig_namespace: str, tmp_path: Path) -> Iterator[str]:
    if missing := process.have("dockerd", "tini"):
        pytest.skip(f"apt-get install --no-install-recommends docker.io tini ({', '.join(missing)} missing)")
    socket = tmp_path / "d.sock"
    argv = f"""nsenter --net=/run/netns/{rig_namespace} tini -s -- dockerd --bridge=none --host=unix://{socket}
        --data-root={tmp_path}/data --exec-root={tmp_path}/exec --pidfile={tmp_path}/pid --storage-driver=vfs"""
    with (tmp_path / "dockerd.log").open("wb") as log:
        child = process.spawn(argv.split(), stdout=log.fileno(), stderr=log.fileno())
    url = f"unix://{socket}"
    try:
        deadline = Deadline.after(40)
        while True:
            with contextlib.suppress(DockerException), contextlib.closing(docker.DockerClient(url)) as client:
                # Docker writes a rule of its own at its first network and keeps it: not the rig's doing.
                client.networks.create("rigtest-first").remove()
                break
            deadline.check("dockerd's answer")
            time.sleep(0.1)
        yield url
    finally:
        os.kill(child.pid, signal.SIGTERM)
        with contextlib.suppress(Exception):
            child.wait(20)
        process.kill_group(child)
        for point in ("exec/netns", "data"):
            process.run(("umount", "-l", tmp_path / point), Deadline.after(10), check=False)


@contextlib.contextmanager
def server(netns: str, address: str) -> Iterator[None]:
    code = SEND.format(address=address, size=BYTES)
    child = process.spawn(("nsenter", f"--net=/run/netns/{netns}", sys.executable, "-c", code))
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill_group(child)


def received(address: str, port: int) -> int:
    """Bytes that the peer gets from address:port; tried again while nothing listens yet."""
    argv = ("nsenter", f"--net=/run/netns/{PEER}", sys.executable, "-c", RECEIVE.format(address=address, port=port))
    for _ in range(20):
        done = process.run(argv, Deadline.after(20), check=False)
        if "refused" not in done.stderr:
            assert done.status == 0, done.stderr
            return int(done.stdout)
        time.sleep(0.2)
    raise AssertionError(done.stderr)


@contextlib.contextmanager
def guest(network: Network) -> Iterator[str]:
    """A namespace that stands for a guest: on the bridge by a veth in place of a tap."""
    place = network.place("guest")
    ip("netns", "add", GUEST)
    try:
        ip("-n", RIG, "link", "add", "rigtap", "type", "veth", "peer", "name", "eth0", "netns", GUEST)
        ip("-n", RIG, "link", "set", "rigtap", "master", place.bridge, "up")
        ip("-n", GUEST, "address", "add", f"{place.address}/{place.prefix}", "dev", "eth0")
        ip("-n", GUEST, "link", "set", "eth0", "up")
        yield place.address
    finally:
        ip("netns", "delete", GUEST)
        network.release("guest")


def import_busybox(client: docker.DockerClient) -> str:
    busybox = shutil.which("busybox")
    if busybox is None:
        pytest.skip("apt-get install busybox-static: the container's root")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
    return str(client.api.import_image_from_data(stream.getvalue(), "rigtest", "1"))


def proxy_seconds(url: str) -> float:
    """CPU seconds of the docker-proxy processes below the test's own dockerd."""
    below = psutil.Process().children(recursive=True)
    return sum(sum(p.cpu_times()[:2]) for p in below if p.name() == "docker-proxy")


def test_adopted_bridge_carries_every_path_and_leaves_nothing(rig_namespace: str, docker_url: str) -> None:
    before = state()
    client = docker.DockerClient(docker_url)
    import_busybox(client)
    with open_network(rig_namespace, "run1", docker_url, Deadline.after(60), peer=PEER) as network:
        facts = network.facts(Deadline.after(10))
        assert facts["docker-network"] == BRIDGE
        assert (facts["forward-policy"], facts["ip-forward"]) == ("DROP", "1")
        assert facts["tare-p0-offloads"] == facts["tare-p1-offloads"] != ""
        place = network.place("container")
        made = client.containers.run(
            "rigtest:1",
            ["/bin/busybox", "nc", "-ll", "-p", "5000", "-e", "/bin/busybox", "head", "-c", str(BYTES), "/dev/zero"],
            detach=True,
            ports={"5000/tcp": 5001},
            network=place.docker_network,
            networking_config={place.docker_network: EndpointConfig("1.40", ipv4_address=place.address)},
        )
        try:
            assert received(place.address, 5000) == BYTES, "container on the bridge"
            idle = proxy_seconds(docker_url)
            assert received(place.nat_address, 5001) == BYTES, "published port by the routed leg"
            assert proxy_seconds(docker_url) == idle, "the routed leg must be NAT, not docker-proxy"
            assert received(place.host_address, 5001) == BYTES, "published port by the bridge"
        finally:
            made.remove(force=True)
        with guest(network) as address, server(GUEST, address):
            assert received(address, 5000) == BYTES, "guest on the bridge"
        with server(RIG, place.host_address):
            assert received(place.host_address, 5000) == BYTES, "native on the bridge's address"
    assert client.networks.list(names=[BRIDGE]) == []
    client.close()
    after = state()
    assert after == before


def test_without_docker_a_dropping_forward_chain_is_opened_for_the_bridge_only(rig_namespace: str) -> None:
    process.run(("nsenter", f"--net=/run/netns/{RIG}", "iptables", "-P", "FORWARD", "DROP"), Deadline.after(10))
    before = state()
    with open_network(rig_namespace, "run2", None, Deadline.after(20), peer=PEER) as network:
        with guest(network) as address, server(GUEST, address):
            assert received(address, 5000) == BYTES
        assert network.peer_place().netns == PEER
    assert state() == before


def test_a_guest_is_published_where_the_host_forwards_nothing(rig_namespace: str) -> None:
    for table, chain, policy in (("filter", "FORWARD", "DROP"), ("nat", "OUTPUT", "ACCEPT")):
        words = ("iptables", "-t", table, "-P", chain, policy)
        process.run(("nsenter", f"--net=/run/netns/{RIG}", *words), Deadline.after(10))
    before, deadline = state(), Deadline.after(60)
    with open_network(rig_namespace, "run3", None, deadline, peer=PEER) as network, guest(network) as address:
        place = network.place("guest")
        ip("-n", GUEST, "route", "add", "default", "via", place.host_address)
        within = state()
        with published(place, 5000, "run3", deadline), server(GUEST, address):
            assert received(place.nat_address, 5000) == BYTES
        assert state() == within
    assert state() == before


def test_taken_addresses_and_names_are_refused_and_nothing_is_made(rig_namespace: str) -> None:
    ip("-n", RIG, "route", "add", "blackhole", "198.18.0.0/15")
    before = state()
    with (
        pytest.raises(TareError, match=r"198\.18\.0\.0/15") as refused,
        open_network(RIG, "r", None, Deadline.after(9), peer=PEER),
    ):
        pass
    assert refused.value.code == ExitCode.HOST_NOT_FIT and "ip route delete" in refused.value.hint
    assert state() == before


def test_a_failure_half_way_leaves_nothing(rig_namespace: str, tmp_path: Path) -> None:
    before = state()
    with (
        pytest.raises(TareError, match="Docker does not answer"),
        open_network(RIG, "r", f"unix://{tmp_path}/none.sock", Deadline.after(9), peer=PEER),
    ):
        pass
    assert state() == before


def test_sweep_finds_what_a_killed_run_left_and_only_that(rig_namespace: str, docker_url: str, tmp_path: Path) -> None:
    ip("-n", RIG, "link", "add", "theirs", "type", "bridge")
    before = state()
    sweep = RigSweep(netns=RIG, docker_url=docker_url, scratch=tmp_path / "scratch", peer=PEER)
    code = f"""
import os
from harness.deadline import Deadline
from harness.rig.network import open_network
from harness.rig.publish import published
deadline = Deadline.after(20)
with open_network({RIG!r}, "killed", {docker_url!r}, deadline, peer={PEER!r}) as network:
    with published(network.place("x"), 5000, "killed", deadline):
        os.kill(os.getpid(), 9)
"""
    assert process.run((sys.executable, "-c", code), Deadline.after(30), check=False).status == -9
    found = list(sweep.leftovers())
    kinds = ["docker-network", *["packet-filter-rule"] * 5, *["interface"] * 3, "network-namespace"]
    assert [leftover.kind for leftover in found] == kinds
    assert {leftover.run for leftover in found} == {"killed"}
    assert sweep.clear(Deadline.after(20)) == found
    assert list(sweep.leftovers()) == []
    assert state() == before
