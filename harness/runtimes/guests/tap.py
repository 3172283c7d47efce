"""A guest's port on the rig's bridge, made by the harness: a tap, or a macvtap behind a veth pair."""

import contextlib
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.host.links import Links, alias, remove_link, with_links
from harness.model import NetworkPlace
from harness.runtimes.guests.labelled_processes import RUN


def tap_name(identity: str) -> str:
    """The interface's name: 13 bytes of the 15 that Linux allows, from a guest's UUID."""
    return f"tare-{identity[:8]}"


@contextlib.contextmanager
def open_tap(
    identity: str, network: NetworkPlace | None, labels: Mapping[str, str], deadline: Deadline
) -> Iterator[str]:
    """The tap of the guest with that UUID, on the bridge, in the bridge's network namespace, gone at the end; yields
    its name, "" without a network.

    It carries the run's label, so that it is found as a leftover when this process is killed. Raises TareError.
    """
    if network is None:
        yield ""
        return
    name = tap_name(identity)
    try:
        add_tap(name, network, labels.get(RUN, ""), deadline)
        yield name
    finally:
        remove_link(network.netns, name)


def add_tap(name: str, network: NetworkPlace, run: str, deadline: Deadline) -> None:
    """Make a tap of that name on the bridge, with the run's label. Raises TareError."""

    def make(links: Links) -> None:
        # Without packet information, as `ip tuntap add` makes them and every emulator opens them.
        links.add(name, "tuntap", alias(run), mode="tap", ifr={"no_pi": 1})
        links.change(name, master=links.index(network.bridge), state="up")

    with_links(network.netns, deadline, make)


@contextlib.contextmanager
def open_macvtap(name: str, mac: str, network: NetworkPlace, run: str, deadline: Deadline) -> Iterator[int]:
    """A macvtap of that MAC address on the bridge, gone at the end; yields the number N of its device, /dev/tapN.

    A port of a bridge carries no macvtap: its lower interface is one end of a veth pair, whose other end is the port.
    All carry the run's label. Raises TareError.
    """
    lower, port, label = f"{name}l", f"{name}p", alias(run)

    def make(links: Links) -> int:
        links.add(lower, "veth", label, peer=port)
        links.change(lower, state="up")
        links.change(port, ifalias=label)
        links.change(port, master=links.index(network.bridge), state="up")
        links.add(name, "macvtap", label, link=links.index(lower), address=mac, macvtap_mode="bridge")
        links.change(name, state="up")
        return links.index(name)

    try:
        yield with_links(network.netns, deadline, make)
    finally:
        remove_link(network.netns, lower)
