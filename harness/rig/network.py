"""The bridge `tare0`, adopted by Docker, and the peer with its two legs: a port on the bridge and a routed veth.

The addresses belong to 198.18.0.0/15, which RFC 2544 reserves for benchmarks: 198.18.0.0/24 for the bridge,
198.18.1.0/30 for the routed leg. The peer reaches a published port through the routed leg. From the bridge itself the
connection would go through docker-proxy instead of NAT.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from harness import process
from harness.deadline import Deadline
from harness.errors import ExitCode, TareError
from harness.host.daemons.reach import docker_client
from harness.host.links import (
    NETNS,
    Links,
    add_namespace,
    alias,
    inside,
    links_of,
    offloads,
    remove_link,
    remove_namespace,
    sysctl,
    tidied_namespaces,
    with_links,
)
from harness.model import NetworkPlace, Skip
from harness.rig.rules import open_rules

BRIDGE = "tare0"
PEER = "tare-peer"
LEG_PORT = "tare-p0"  # the bridge's port towards the peer
LEG_ROUTED = "tare-p1"  # the host's end of the routed veth
SUBNET = IPv4Network("198.18.0.0/24")
CONTAINERS = IPv4Network("198.18.0.128/25")  # what Docker's own allocation may hand out
HOST_ADDRESS = "198.18.0.1"
PEER_ADDRESS = "198.18.0.2"
FIRST, LAST = 16, 127  # our own static addresses: 198.18.0.16 … 127
ROUTED = IPv4Network("198.18.1.0/30")
NAT_ADDRESS = "198.18.1.1"
PEER_NAT_ADDRESS = "198.18.1.2"
MAC = "02:74:61:72:65:00"  # fixed, or the bridge changes its own with each port and ARP entries go stale
MTU = 1500
UNDO_SECONDS = 30.0
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}  # capabilities(7)


@dataclass(slots=True, kw_only=True)
class Network:
    """The open network: hands out places on the bridge. `docker_network` is "" without Docker."""

    run: str
    netns: str
    peer: str
    docker_network: str
    _used: dict[str, int] = field(default_factory=dict)
    _next: int = FIRST

    def place(self, name: str) -> NetworkPlace:
        """The place of the instance `name`, with an address of its own until `release`; the same one at each call.

        Addresses are handed out in turn, so that a new instance does not meet ARP entries of the last one. Raises
        TareError when all 112 are taken.
        """
        if name not in self._used:
            count = LAST - FIRST + 1
            order = [FIRST + (self._next - FIRST + step) % count for step in range(count)]
            free = next((number for number in order if number not in self._used.values()), None)
            if free is None:
                raise TareError(f"no address is left on {BRIDGE} for {name}: {count} instances hold one")
            self._used[name] = free
            self._next = free + 1
        return self._place(str(SUBNET[self._used[name]]), self.netns)

    def release(self, name: str) -> None:
        """Give the address of instance `name` back; nothing happens when it has none."""
        self._used.pop(name, None)

    def peer_place(self) -> NetworkPlace:
        """The peer's place: its own namespace, which holds both legs."""
        return self._place(PEER_ADDRESS, self.peer)

    def facts(self, deadline: Deadline) -> Mapping[str, str]:
        """Facts of the network for the parity table. Offloads keep the kernel's defaults on every leg."""
        facts = {
            "bridge-nf": sysctl(self.netns, "net/bridge/bridge-nf-call-iptables", deadline),
            "ip-forward": sysctl(self.netns, "net/ipv4/ip_forward", deadline),
            "forward-policy": _forward_policy(self.netns, deadline),
            "docker-network": self.docker_network or "none",
            "mtu": str(MTU),
        }
        for link in (BRIDGE, LEG_PORT, LEG_ROUTED):
            facts |= {f"{link}-{key}": value for key, value in offloads(self.netns, link, deadline).items()}
        return facts

    def _place(self, address: str, netns: str) -> NetworkPlace:
        return NetworkPlace(
            bridge=BRIDGE,
            docker_network=self.docker_network,
            netns=netns,
            host_address=HOST_ADDRESS,
            nat_address=NAT_ADDRESS,
            address=address,
            prefix=SUBNET.prefixlen,
        )


def network_missing() -> Skip | None:
    """None where a bridge and a peer can be made; else the skip, with reason and fix."""
    if os.geteuid() != 0:
        return Skip(what="network", reason="bridge and peer need root", fix="sudo make bench")
    if lacking := [name for name, bit in CAPABILITIES.items() if not _capabilities() >> bit & 1]:
        reason = f"bridge and peer need {', '.join(lacking)}, which this root lacks"
        return Skip(what="network", reason=reason, fix="run tare on the host itself, not in a container")
    if missing := process.have("ip", "nsenter"):
        return Skip(
            what="network",
            reason=f"{', '.join(missing)} missing",
            fix="apt-get install --no-remove iproute2 util-linux",
        )
    return None


@contextlib.contextmanager
def open_network(
    netns: str,
    run: str,
    docker_url: str | None,
    deadline: Deadline,
    *,
    peer: str = PEER,
    labels: Mapping[str, str] | None = None,
) -> Iterator[Network]:
    """Make the bridge in the network namespace `netns` ("" for the host's own), the peer, and Docker's network on it.

    `docker_url` is the socket of the dockerd in `netns`, None without Docker. Docker's network gets `labels` besides
    `tare.run`. At the end everything is removed in reverse order, also after a failure half-way.
    Raises TareError with HOST_NOT_FIT when one of its names or addresses is taken.
    """
    _refuse_taken(netns, peer, deadline)
    with ExitStack() as stack:
        stack.enter_context(tidied_namespaces())
        _make_peer(stack, peer, run, deadline)
        _make_bridge(stack, netns, peer, run, deadline)
        if docker_url:
            stack.enter_context(_docker_network(docker_url, {"tare.run": run, **(labels or {})}, deadline))
        else:
            stack.enter_context(_own_accept(netns, run, deadline))
        yield Network(run=run, netns=netns, peer=peer, docker_network=BRIDGE if docker_url else "")


def _refuse_taken(netns: str, peer: str, deadline: Deadline) -> None:
    names = {link.name for link in links_of(netns, deadline)}
    if taken := names & {BRIDGE, LEG_PORT, LEG_ROUTED}:
        raise _taken(f"the interface {min(taken)} exists already", "tare clean")
    if (NETNS / peer).exists():
        raise _taken(f"the network namespace {peer} exists already", f"tare clean, or `ip netns delete {peer}`")
    for route in with_links(netns, deadline, Links.routes):
        if route.destination.overlaps(SUBNET) or route.destination.overlaps(ROUTED):
            raise _taken(
                f"a route of this host covers the benchmarking addresses {SUBNET}: "
                f"{route.destination} dev {route.link or 'none'}",
                f"delete it for the run (`ip route delete {route.destination}`), or choose workloads without network",
            )


def _taken(brief: str, hint: str) -> TareError:
    return TareError(brief, hint=hint, code=ExitCode.HOST_NOT_FIT)


def _make_peer(stack: ExitStack, peer: str, run: str, deadline: Deadline) -> None:
    stack.callback(remove_namespace, peer)
    add_namespace(peer, deadline)
    with_links(peer, deadline, lambda links: links.change("lo", ifalias=alias(run), state="up"))


def _make_bridge(stack: ExitStack, netns: str, peer: str, run: str, deadline: Deadline) -> None:
    for link in (BRIDGE, LEG_ROUTED, LEG_PORT):
        stack.callback(remove_link, netns, link)
    with (NETNS / peer).open("rb") as other:

        def make(links: Links) -> None:
            links.add(BRIDGE, "bridge", alias(run), address=MAC, mtu=MTU)
            links.add_address(BRIDGE, IPv4Interface((HOST_ADDRESS, SUBNET.prefixlen)))
            links.change(BRIDGE, state="up")
            for leg, end in ((LEG_PORT, "leg0"), (LEG_ROUTED, "leg1")):
                far = {"ifname": end, "mtu": MTU, "net_ns_fd": other.fileno()}
                links.add(leg, "veth", alias(run), mtu=MTU, peer=far)
            links.change(LEG_PORT, master=links.index(BRIDGE), state="up")
            links.add_address(LEG_ROUTED, IPv4Interface((NAT_ADDRESS, ROUTED.prefixlen)))
            links.change(LEG_ROUTED, state="up")

        with_links(netns, deadline, make)

    def make_ends(links: Links) -> None:
        links.add_address("leg0", IPv4Interface((PEER_ADDRESS, SUBNET.prefixlen)))
        links.add_address("leg1", IPv4Interface((PEER_NAT_ADDRESS, ROUTED.prefixlen)))
        links.change("leg0", state="up")
        links.change("leg1", state="up")

    with_links(peer, deadline, make_ends)


@contextlib.contextmanager
def _docker_network(url: str, labels: Mapping[str, str], deadline: Deadline) -> Iterator[None]:
    """Have Docker adopt the bridge (its gateway is the bridge's address) and add its accept rules, for taps too."""
    import docker
    from docker.errors import DockerException

    pool = docker.types.IPAMPool(subnet=str(SUBNET), gateway=HOST_ADDRESS, iprange=str(CONTAINERS))
    with docker_client(url, deadline) as client:
        if client.networks.list(names=[f"^{BRIDGE}$"]):
            raise _taken(f"Docker has a network {BRIDGE} already", f"tare clean, or `docker network rm {BRIDGE}`")
        try:
            client.networks.create(
                BRIDGE,
                driver="bridge",
                ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                options={"com.docker.network.bridge.name": BRIDGE, "com.docker.network.driver.mtu": str(MTU)},
                labels=dict(labels),
            )
        except BaseException as error:
            # Docker may have made it although no answer came, as after an interrupt.
            with contextlib.suppress(TareError):
                remove_docker_networks(url, labels["tare.run"])
            if isinstance(error, DockerException):
                raise TareError(f"Docker does not adopt {BRIDGE}", details=str(error), hint="make doctor") from error
            raise
    try:
        yield
    finally:
        remove_docker_networks(url, labels["tare.run"])


def remove_docker_networks(url: str, run: str) -> None:
    """Remove Docker's network of that run, found by its label; none is fine. Raises TareError."""
    from docker.errors import DockerException, NotFound

    try:
        with docker_client(url, Deadline.after(UNDO_SECONDS)) as client:
            for network in client.networks.list(filters={"label": f"tare.run={run}"}):
                with contextlib.suppress(NotFound):
                    network.remove()
    except DockerException as error:
        raise TareError(f"Docker's network {BRIDGE} remains", details=str(error), hint="tare clean") from error


@contextlib.contextmanager
def _own_accept(netns: str, run: str, deadline: Deadline) -> Iterator[None]:
    """Accept packets of our bridge where the FORWARD chain drops bridged packets and Docker's rule is missing."""
    filtered = sysctl(netns, "net/bridge/bridge-nf-call-iptables", deadline) == "1"
    if not filtered or _forward_policy(netns, deadline) != "DROP":
        yield
        return
    with open_rules(netns, run, deadline, f"filter FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT"):
        yield


def _capabilities() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))


def _forward_policy(netns: str, deadline: Deadline) -> str:
    if process.have("iptables"):
        return "unknown (no iptables)"
    done = process.run(inside(netns, "iptables", "-w", "-S", "FORWARD"), deadline, check=False)
    policy = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("-P FORWARD")]
    return policy[0] if policy else "unknown"
