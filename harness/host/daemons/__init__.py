"""Connect to dockerd and libvirtd or start private ones; restore the host's network state and services at the end."""

from harness.host.daemons.acquire import Daemons, open_daemons
from harness.host.daemons.enclosure import NETNS
from harness.host.daemons.orphans import Stale, leftovers, sweep
from harness.host.daemons.private import Kvm

__all__ = ["NETNS", "Daemons", "Kvm", "Stale", "leftovers", "open_daemons", "sweep"]
