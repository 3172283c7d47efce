"""Publish a guest to the peer by NAT at the routed leg's address, as Docker publishes a container."""

import contextlib
from collections.abc import Iterator

from harness.deadline import Deadline
from harness.host.links import set_sysctl
from harness.model import NetworkPlace
from harness.rig.network import BRIDGE, LEG_ROUTED
from harness.rig.rules import open_rules

PROTOCOLS = ("tcp", "udp")


@contextlib.contextmanager
def published(network: NetworkPlace, port: int, run: str, deadline: Deadline) -> Iterator[None]:
    """Make `port` (TCP and UDP) of the instance at `network` reachable at the routed leg too, until the end.

    What the instance sends out by that leg gets the leg's address. Forwarding is switched on for the rig's own links
    alone, and ends with them: the host's own setting stays as it was. Raises TareError.
    """
    for link in (BRIDGE, LEG_ROUTED):
        set_sysctl(network.netns, f"net/ipv4/conf/{link}/forwarding", "1", deadline)
    address, bound = network.address, f"-d {network.nat_address} --dport {port}"
    rules = (
        f"filter FORWARD -i {LEG_ROUTED} -o {BRIDGE} -d {address} -j ACCEPT",
        f"filter FORWARD -i {BRIDGE} -o {LEG_ROUTED} -s {address} -j ACCEPT",
        f"nat POSTROUTING -o {LEG_ROUTED} -s {address} -j MASQUERADE",
    )
    dnat = (
        f"nat PREROUTING -i {LEG_ROUTED} -p {protocol} {bound} -j DNAT --to-destination {address}:{port}"
        for protocol in PROTOCOLS
    )
    with open_rules(network.netns, run, deadline, *rules, *dnat):
        yield
