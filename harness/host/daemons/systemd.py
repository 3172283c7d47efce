"""On a systemd host: start a stopped service for the run, and stop it and its dependencies at the end."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from harness.deadline import Deadline
from harness.host.daemons.network_state import Footprint
from harness.process import run

UNITS = {"docker": ("docker.service",), "libvirt": ("libvirtd.service", "virtqemud.service")}
FAMILIES = ("docker", "containerd", "libvirt", "virt")


def booted() -> bool:
    """Whether systemd is the init system of this host (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def unit_of(kind: str, deadline: Deadline) -> str | None:
    """The installed unit of `docker` or `libvirt`; None if there is none."""
    listed = run(["systemctl", "list-unit-files", "--no-legend", "--plain", *UNITS[kind]], deadline, check=False)
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.split()[1:2] != ["masked"]}
    return next((unit for unit in UNITS[kind] if unit in installed), None)


def stopped(kind: str, deadline: Deadline) -> bool:
    """Whether `docker` or `libvirt` has a unit that is not running; a connection to its socket unit would start it."""
    unit = unit_of(kind, deadline)
    if unit is None:
        return False
    return run(["systemctl", "is-active", unit], deadline, check=False).stdout.strip() not in ("active", "activating")


@contextlib.contextmanager
def started(unit: str, deadline: Deadline) -> Iterator[None]:
    """Start `unit`; at the end stop every docker, containerd or libvirt unit that was not active before.

    Also restores the packet filter, forwarding and interfaces. Raises TareError if the unit does not start.
    """
    before = _active(deadline)
    footprint = Footprint.take(deadline)
    try:
        run(["systemctl", "start", unit], deadline)
        yield
    finally:
        closing = Deadline.after(60.0)
        if came := sorted(_active(closing) - before):
            run(["systemctl", "stop", *came], closing, check=False)
        footprint.restore(closing)


def _active(deadline: Deadline) -> set[str]:
    listed = run(
        ["systemctl", "list-units", "--no-legend", "--plain", "--type=service,socket", "--state=active,activating"],
        deadline,
        check=False,
    )
    names = {line.split()[0] for line in listed.stdout.splitlines() if line.split()}
    return {name for name in names if name.startswith(FAMILIES)}
