"""A guest's own port on the rig's bridge, where the harness makes it: a tap, or a macvtap behind a veth pair."""

import contextlib
from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.model import NetworkPlace
from harness.rig.links import alias, ip, ip_json
from harness.rig.network import remove_interface
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

    It carries the run's label, by which the rig's sweep finds it when this process is killed. Raises TareError.
    """
    if network is None:
        yield ""
        return
    name = tap_name(identity)
    try:
        ip(
            network.netns,
            deadline,
            f"tuntap add dev {name} mode tap",
            f"link set dev {name} alias {alias(labels.get(RUN, ''))}",
            f"link set dev {name} master {network.bridge} up",
        )
        yield name
    finally:
        remove_interface(network.netns, name)


@contextlib.contextmanager
def open_macvtap(name: str, mac: str, network: NetworkPlace, run: str, deadline: Deadline) -> Iterator[int]:
    """A macvtap of that MAC address on the bridge, gone at the end; yields the number N of its device, /dev/tapN.

    A port of a bridge carries no macvtap: its lower interface is one end of a veth pair, whose other end is the port.
    All carry the run's label. Raises TareError.
    """
    lower, port = f"{name}l", f"{name}p"
    try:
        ip(
            network.netns,
            deadline,
            f"link add name {lower} type veth peer name {port}",
            f"link set dev {lower} alias {alias(run)} up",
            f"link set dev {port} alias {alias(run)}",
            f"link set dev {port} master {network.bridge} up",
            f"link add link {lower} name {name} address {mac} type macvtap mode bridge",
            f"link set dev {name} alias {alias(run)} up",
        )
        yield int(ip_json(network.netns, "link", deadline, "show", "dev", name)[0]["ifindex"])
    finally:
        remove_interface(network.netns, lower)
