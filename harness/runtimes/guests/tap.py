"""A guest's own port on the rig's bridge, for runtimes that start their guests themselves."""

import contextlib
from collections.abc import Iterator

from harness.deadline import Deadline
from harness.model import NetworkPlace
from harness.rig.links import alias, ip
from harness.rig.network import remove_interface


def tap_name(identity: str) -> str:
    """The interface's name: 13 bytes of the 15 that Linux allows, from a guest's UUID."""
    return f"tare-{identity[:8]}"


@contextlib.contextmanager
def open_tap(name: str, network: NetworkPlace, run: str, deadline: Deadline) -> Iterator[str]:
    """A tap on the bridge, in the bridge's network namespace, gone at the end.

    It carries the run's label, by which the rig's sweep finds it when this process is killed. Raises TareError.
    """
    try:
        ip(
            network.netns,
            deadline,
            f"tuntap add dev {name} mode tap",
            f"link set dev {name} alias {alias(run)}",
            f"link set dev {name} master {network.bridge} up",
        )
        yield name
    finally:
        remove_interface(network.netns, name)
