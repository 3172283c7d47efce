"""The knob `network`: for each value, a check of the host, and the host's side of one guest's network card."""

import contextlib
import os
import stat
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
from harness.host.unix_socket import listener_of
from harness.model import NetworkPlace
from harness.process import run
from harness.rig.publish import PROTOCOLS, published
from harness.runtimes.base import Available, Endpoint, Place
from harness.runtimes.guests.accel import EMULATOR
from harness.runtimes.guests.tap import open_macvtap
from harness.runtimes.libvirt.domain import RUN_LABEL, Domain
from harness.runtimes.libvirt.knobs import Network
from harness.runtimes.libvirt.session import bounded
from harness.runtimes.requirements import unavailable

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
        "apt-get install iptables; modprobe nf_nat",
    ),
    "user": (
        (EMULATOR, "-nodefaults", "-machine", "none", "-display", "none", "-netdev", "user,id=n", "-monitor", "stdio"),
        "quit\n",
        "install a QEMU built with slirp, such as Debian's qemu-system-x86",
    ),
    "macvtap": (
        ("unshare", "--net", "ip", "-batch", "-"),
        MACVTAP_LINKS,
        "apt-get install iproute2; modprobe macvtap",
    ),
}
"""A trial command that leaves nothing on the host, its standard input, and the fix when it fails."""
INNER, GATEWAY, PREFIX = "10.0.2.15", "10.0.2.2", 24
"""The addresses of the guest and of QEMU in a user-mode network (qemu(1), `-netdev user`)."""


@cache
def obstacle(kind: Network) -> Available | None:
    """Why the host cannot attach a guest in this way, found by a trial; None when it can."""
    if kind not in PROBES:
        return None
    argv, text, fix = PROBES[kind]
    try:
        done = run(argv, Deadline.after(PROBE_SECONDS), stdin=text, check=False)
    except TareError as error:
        return unavailable(f"{error.brief}: {error.details}", fix=fix)
    if done.status == 0:
        return None
    printed = " ".join((done.stderr or done.stdout).split())[:200]
    return unavailable(f"a trial of network={kind} failed: {printed}", fix=fix)


def inner(kind: Network, network: NetworkPlace | None) -> NetworkPlace | None:
    """The network as the guest sees it: QEMU's user-mode network has addresses of its own."""
    if network is None or kind != "user":
        return network
    return replace(network, address=INNER, host_address=GATEWAY, prefix=PREFIX)


def outer(kind: Network, network: NetworkPlace | None, own: Endpoint) -> Endpoint:
    """Where the peer reaches a server at the guest's `own` address."""
    if network and kind == "nat":
        return replace(own, address=network.nat_address)
    if network and kind == "user":
        return replace(own, address=network.host_address, bind=INNER)
    return own


@contextlib.contextmanager
def attached(kind: Network, domain: Domain, place: Place, uri: str, deadline: Deadline) -> Iterator[None]:
    """Make the host's side of the guest's card before QEMU starts; the end of the context removes it. Raises TareError.

    tare makes the macvtap: a private libvirtd has a copy of /dev, in which a macvtap of its own would have no device.
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

    The command goes to QEMU's monitor, since libvirt has no element for it. Raises TareError when it fails.
    """
    if kind != "user" or place.network is None or place.port is None:
        return
    for protocol in PROTOCOLS:
        rule = f"{protocol}:{place.network.host_address}:{place.port}-{INNER}:{place.port}"
        human = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        ask = partial(libvirt_qemu.qemuMonitorCommand, handle, f"hostfwd_add hostnet0 {rule}", human)
        if answer := str(bounded("forward a port", deadline, ask)).strip():
            raise TareError(f"QEMU does not forward a port to {place.name}", details=answer)


@contextlib.contextmanager
def _device(uri: str, number: int) -> Iterator[None]:
    """The macvtap's device node in the /dev of the libvirtd at `uri`. Raises TareError when the name is taken."""
    try:
        view = _view(uri)
        node, numbers = view / f"dev/tap{number}", view / f"sys/class/macvtap/tap{number}/dev"
        device = os.makedev(*map(int, numbers.read_text().split(":")))
        made = not node.exists()
        if made:
            os.mknod(node, stat.S_IFCHR | 0o600, device)
        elif node.stat().st_rdev != device:
            raise TareError(f"{node} belongs to another macvtap", hint="repeat the run: the number changes")
    except OSError as error:
        raise TareError("libvirtd cannot get a device node for a macvtap", details=str(error)) from error
    try:
        yield
    finally:
        if made:
            node.unlink(missing_ok=True)


def _view(uri: str) -> Path:
    """The root directory of the libvirtd at `uri`: a private one has a /dev and a /sys of its own. Raises OSError."""
    path = parse_qs(urlsplit(uri).query).get("socket")
    if not path:
        return Path("/")
    if (pid := listener_of(Path(path[0]))) is None:
        raise OSError(f"nothing listens at {path[0]}")
    return Path(f"/proc/{pid}/root")
