"""A machine that is a process of ours is confined to its place: the bridge's network namespace, the shape's CPUs."""

from collections.abc import Iterable

from harness.model import Available
from harness.process import have
from harness.runtimes.base import Place

HELPERS = ("nsenter", "setpriv", "taskset")
"""What `confined` needs."""


def lacking() -> Available | None:
    """Which of the helpers are not installed, with the fix; None when all are."""
    if missing := have(*HELPERS):
        fix = "apt-get install --no-install-recommends util-linux"
        return Available(ok=False, reason=f"not installed: {', '.join(missing)}", fix=fix)
    return None


def confined(place: Place, argv: Iterable[str]) -> list[str]:
    """The command line, with what confines it to its place before it. It is killed with the thread that starts it."""
    netns = place.network.netns if place.network else None
    enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    return [*enter, "taskset", "--cpu-list", place.shape.cpu_list, "setpriv", "--pdeathsig", "KILL", *argv]
