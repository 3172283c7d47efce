"""Each way of attaching a libvirt guest to the network, for real: there and back by TCP and UDP, and nothing left."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import process
from harness.deadline import Deadline
from harness.host.daemons.enclosure import Enclosure
from harness.model import Milestone
from harness.rig.network import HOST_ADDRESS, NAT_ADDRESS, PEER_ADDRESS, PEER_NAT_ADDRESS
from harness.runtimes.base import Command
from harness.runtimes.libvirt.interface import INNER
from tests.integration import test_libvirt
from tests.integration.test_libvirt import BOOT_SECONDS, NAME, PORT, Bench, open_bench

pytestmark = test_libvirt.pytestmark
LISTEN = f"""
import select, socket
tcp = socket.create_server(({{bind!r}}, {PORT}))
udp = socket.socket(type=socket.SOCK_DGRAM)
udp.bind(({{bind!r}}, {PORT}))
udp.settimeout(60)
print("listening", flush=True)
for _ in range(2):
    if tcp in select.select([tcp, udp], [], [], 60)[0]:
        connection, (address, _) = tcp.accept()
        connection.sendall(connection.recv(5) + address.encode())
        connection.close()
    else:
        data, whence = udp.recvfrom(5)
        udp.sendto(data + whence[0].encode(), whence)
"""
"""Answers one stream and one datagram with what it was sent and the address from which it seemed to come."""
ASK = f"""
import socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    with socket.socket(type=kind) as client:
        client.settimeout(20)
        client.connect(({{address!r}}, {PORT}))
        client.sendall(b"hello")
        print(client.recv(99).decode())
"""


class Way(NamedTuple):
    """Where the peer reaches the guest, whom the guest then sees; where the guest reaches the peer, whom that sees
    ("" for the guest's own address); and in what the host's state shows it."""

    inward: str
    caller: str
    outward: str
    called: str
    shown: str


WAYS = {
    "bridge": Way("", PEER_ADDRESS, PEER_ADDRESS, "", "interfaces"),
    "nat": Way(NAT_ADDRESS, PEER_NAT_ADDRESS, PEER_NAT_ADDRESS, NAT_ADDRESS, "rules"),
    "user": Way(HOST_ADDRESS, PEER_ADDRESS, PEER_ADDRESS, HOST_ADDRESS, "listeners"),
    "macvtap": Way("", PEER_ADDRESS, PEER_ADDRESS, "", "devices"),
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with open_bench(tmp_path_factory.mktemp("state")) as made:
        yield made


def state() -> Mapping[str, object]:
    """What attaching a guest may leave behind."""

    def inside(*argv: str) -> list[str]:
        return process.run(("nsenter", f"--net=/run/netns/{NAME}", *argv), Deadline.after(10)).stdout.splitlines()

    processes = Enclosure(NAME).processes()
    return {
        "interfaces": inside("ip", "-brief", "link"),
        "rules": [line for line in inside("iptables-save") if line.startswith("-A")],
        "listeners": inside("ss", "-Hltu"),
        "processes": processes,
        "devices": {str(path) for pid in processes for path in Path(f"/proc/{pid}/root/dev").glob("tap*")},
    }


@contextlib.contextmanager
def listening(netns: str, address: str) -> Iterator[None]:
    """A server at that address of a network namespace."""
    argv = ("nsenter", f"--net=/run/netns/{netns}", sys.executable, "-c", LISTEN.format(bind=address))
    child = process.spawn(argv, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        try:
            assert child.stdout.readline() == b"listening\n"
            yield
        finally:
            process.kill_group(child)


@pytest.mark.parametrize("kind", list(WAYS))
def test_peer_and_guest_reach_each_other(bench: Bench, kind: str) -> None:
    way, name = WAYS[kind], "libvirt/tcg" + ("" if kind == "bridge" else f"-{kind}")
    can = bench.runtime.available(next(one for one in bench.runtime.variants if one.name == name))
    if not can.ok:
        pytest.skip(f"{can.reason}: {can.fix}")
    before, deadline, peer = state(), Deadline.after(180), bench.network.peer
    with bench.launch(f"n-{kind}", "agent", name) as guest:
        guest.wait(Milestone.READY, deadline.within(BOOT_SECONDS))
        assert guest.facts(deadline)["network"] == kind and state()[way.shown] != before[way.shown]
        own, where = bench.network.place(f"n-{kind}").address, guest.endpoint()
        assert (where.address, where.bind) == (way.inward or own, INNER if kind == "user" else own)
        listen = Command(argv=("python3", "-c", LISTEN.format(bind=where.bind)), listen=PORT)
        server, ask = guest.start(listen, deadline), ASK.format(address=where.address)
        said = process.run(("nsenter", f"--net=/run/netns/{peer}", sys.executable, "-c", ask), deadline).stdout
        assert said.split() == [f"hello{way.caller}"] * 2
        assert server.wait(deadline).status == 0
        with listening(peer, way.outward):
            ask = ASK.format(address=way.outward)
            answer = guest.start(Command(argv=("python3", "-c", ask)), deadline).wait(deadline)
        assert answer.stdout.split() == [f"hello{way.called or own}"] * 2, answer.stderr
    assert state() == before
