"""Reach dockerd and libvirtd, or start private ones, and undo at the end what that changed."""

from harness.host.daemons.enclosure import NETNS
from harness.host.daemons.opening import Daemons, open_daemons
from harness.host.daemons.private import Kvm
from harness.host.daemons.sweep import Stale, leftovers, sweep

__all__ = ["NETNS", "Daemons", "Kvm", "Stale", "leftovers", "open_daemons", "sweep"]
