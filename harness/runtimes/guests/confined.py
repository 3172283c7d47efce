"""The command prefix that confines a guest's process to its place: network namespace and CPUs."""

from collections.abc import Iterable

from harness.runtimes.base import Place

HELPERS = ("nsenter", "setpriv", "taskset")
"""The programs that `confined` needs."""
HELPER_PACKAGES = "apt-get install --no-install-recommends util-linux"


def placed(place: Place, argv: Iterable[str]) -> list[str]:
    """The command, run in the bridge's network namespace and on the shape's CPUs."""
    netns = place.network.netns if place.network else None
    enter = ["nsenter", f"--net=/run/netns/{netns}"] if netns else []
    return [*enter, "taskset", "--cpu-list", place.shape.cpu_list, *argv]


def confined(place: Place, argv: Iterable[str]) -> list[str]:
    """The command as `placed`; the kernel kills it with the thread that starts it."""
    return placed(place, ("setpriv", "--pdeathsig", "KILL", *argv))
