"""What each value of the knob `network` means: what the host must be able to do, and what is made for one guest."""

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt
import libvirt_qemu

from harness.deadline import Deadline
from harness.errors import TareError
from harness.model import NetworkPlace
from harness.process import run
from harness.rig.publish import PROTOCOLS, published
from harness.runtimes.base import Available, Endpoint, Place
from harness.runtimes.guests.accel import EMULATOR
from harness.runtimes.guests.tap import open_macvtap
from harness.runtimes.libvirt.domain import RUN_LABEL, Domain
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.session import bounded

PROBE_SECONDS = 10.0
NAT_RULES = """*nat
-A PREROUTING -p tcp --dport 1 -m comment --comment probe -j DNAT --to-destination 198.18.0.2:1
-A POSTROUTING -j MASQUERADE
COMMIT
"""
MACVTAP_LINKS = "link add name a type veth peer name b\nlink add link a name c type macvtap mode bridge\n"
PROBES: Mapping[Network, tuple[tuple[str, ...], str, str]] = {
    "nat": (
        ("unshare", "--net", "iptables-restore"),
        NAT_RULES,
        "apt-get install iptables, on a kernel that has NAT (modprobe nf_nat)",
    ),
    "user": (
        (EMULATOR, "-nodefaults", "-machine", "none", "-display", "none", "-netdev", "user,id=n", "-monitor", "stdio"),
        "quit\n",
        "a QEMU built with user-mode networking (slirp), as Debian's is",
    ),
    "macvtap": (
        ("unshare", "--net", "ip", "-batch", "-"),
        MACVTAP_LINKS,
        "apt-get install iproute2, on a kernel that has macvtap (modprobe macvtap)",
    ),
}
"""A try that leaves nothing, in a network namespace of its own where it needs one; its input; and what may help."""
INNER, GATEWAY, PREFIX = "10.0.2.15", "10.0.2.2", 24
"""QEMU's own choice for the guest of a user-mode network and for itself (qemu(1), `-netdev user`)."""


@cache
def obstacle(kind: Network) -> Available | None:
    """Why the host cannot attach a guest in this way, by trying what it takes; None when it can."""
    if kind not in PROBES:
        return None
    argv, told, fix = PROBES[kind]
    try:
        done = run(argv, Deadline.after(PROBE_SECONDS), stdin=told, check=False)
    except TareError as error:
        return Available(ok=False, reason=f"{error.brief}: {error.details}", fix=fix)
    if done.status == 0:
        return None
    said = " ".join((done.stderr or done.stdout).split())[:200]
    return Available(ok=False, reason=f"a network of the kind {kind} cannot be made: {said}", fix=fix)


def inner(kind: Network, network: NetworkPlace | None) -> NetworkPlace | None:
    """The network as the guest itself sees it: QEMU's user-mode network has addresses of its own."""
    if network is None or kind != "user":
        return network
    return replace(network, address=INNER, host_address=GATEWAY, prefix=PREFIX)


def outer(kind: Network, network: NetworkPlace | None, own: Endpoint) -> Endpoint:
    """Where the peer reaches what the guest serves at its `own` address."""
    if network and kind == "nat":
        return replace(own, address=network.nat_address)
    if network and kind == "user":
        return replace(own, address=network.host_address, bind=INNER)
    return own


@contextlib.contextmanager
def attached(kind: Network, domain: Domain, place: Place, uri: str, deadline: Deadline) -> Iterator[None]:
    """What the guest's card needs on the host's side before QEMU starts, gone at the end. Raises TareError.

    The macvtap is made here and handed over: the device of one that libvirtd made itself would not be in the /dev of a
    private libvirtd, which is a copy.
    """
    label = domain.labels[RUN_LABEL]
    with ExitStack() as undo:
        if place.network and kind == "nat" and place.port:
            undo.enter_context(published(place.network, place.port, label, deadline))
        if place.network and domain.macvtap:
            number = undo.enter_context(open_macvtap(domain.macvtap, domain.mac, place.network, label, deadline))
            undo.enter_context(_device(uri, number))
        yield


def forward(kind: Network, handle: "libvirt.virDomain", place: Place, deadline: Deadline) -> None:
    """Have the QEMU of a user-mode network listen at the bridge's address for the guest.

    It is told by its monitor, since libvirt has no words for that. Raises TareError when it cannot.
    """
    if kind != "user" or place.network is None or place.port is None:
        return
    for protocol in PROTOCOLS:
        rule = f"{protocol}:{place.network.host_address}:{place.port}-{INNER}:{place.port}"
        human = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        ask = partial(libvirt_qemu.qemuMonitorCommand, handle, f"hostfwd_add hostnet0 {rule}", human)
        if said := str(bounded("forward a port", deadline, ask)).strip():
            raise TareError(f"QEMU does not forward a port to {place.name}", details=said)


@contextlib.contextmanager
def _device(uri: str, number: int) -> Iterator[None]:
    """The macvtap's device where the libvirtd at `uri` opens it. Raises TareError when another's is in its place."""
    try:
        view = _view(uri)
        node, told = view / f"dev/tap{number}", view / f"sys/class/macvtap/tap{number}/dev"
        device = os.makedev(*map(int, told.read_text().split(":")))
        made = not node.exists()
        if made:
            os.mknod(node, stat.S_IFCHR | 0o600, device)
        elif node.stat().st_rdev != device:
            raise TareError(f"{node} is another macvtap's", hint="try again: the next one gets another number")
    except OSError as error:
        raise TareError("a macvtap cannot be handed to libvirtd", details=str(error)) from error
    try:
        yield
    finally:
        if made:
            node.unlink(missing_ok=True)


def _view(uri: str) -> Path:
    """The root of the file system as that libvirtd sees it: a private one has a /dev and a /sys of its own."""
    path = parse_qs(urlsplit(uri).query).get("socket")
    if not path:
        return Path("/")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path[0])
        listener = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return Path(f"/proc/{struct.unpack('3i', listener)[0]}/root")
