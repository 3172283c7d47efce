"""What the host shows of a process's confinement: namespaces, capabilities, filters, limits; only read."""

from collections.abc import Mapping
from pathlib import Path

import psutil

from harness.errors import TareError

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
SECCOMP = {"0": "none", "1": "strict", "2": "filter"}
LIMITS = {
    "memory limit": ("memory", ("memory.limit_in_bytes", "memory.max")),
    "process limit": ("pids", ("pids.max",)),
}
"""The controller and its file, in version 1 and in version 2, for each limit."""
UNLIMITED = 2**62
"""Version 1 writes no limit as the largest number of pages."""


def fields(status: str) -> dict[str, str]:
    """The fields of a /proc/PID/status."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def capabilities(mask: str) -> int:
    """How many capabilities a mask such as `00000000a80425fb` has."""
    return int(mask, 16).bit_count()


def innermost(pid: int) -> int:
    """The process in which a tree of launchers ends: what runs inside, where a sandbox helper started it.

    Raises TareError once it is gone.
    """
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess as error:
        raise TareError("what serves an instance is gone", details=str(error)) from error
    return children[-1].pid if children else pid


def confinement(pid: int) -> Mapping[str, str]:
    """By name, how the host confines a process. Raises TareError once it is gone, or where this user may not look.

    `namespaces` are those that it does not share with the harness; limits are its cgroup's, that of memory in
    bytes.
    """
    try:
        said = fields((PROC / str(pid) / "status").read_text())
        cgroups = (PROC / str(pid) / "cgroup").read_text()
        return {
            "user": said["Uid"].split()[0],
            "capabilities": str(capabilities(said["CapEff"])),
            "seccomp": SECCOMP.get(said.get("Seccomp", ""), "unknown"),
            "no_new_privs": "yes" if said.get("NoNewPrivs") == "1" else "no",
            "namespaces": " ".join(own_namespaces(pid)) or "none",
            "lsm": _read(PROC / str(pid) / "attr/current") or "none",
            "CPUs": said["Cpus_allowed_list"],
            **{name: limit(cgroups, *where) for name, where in LIMITS.items()},
        }
    except (OSError, KeyError) as error:
        raise TareError("what serves an instance cannot be looked at", details=str(error)) from error


def own_namespaces(pid: int) -> list[str]:
    """The kinds of namespace in which a process is apart from the harness."""
    kinds = [path.name for path in (PROC / "self/ns").iterdir() if not path.name.endswith("_for_children")]
    return sorted(kind for kind in kinds if _link(pid, kind) != (PROC / "self/ns" / kind).readlink())


def limit(cgroups: str, controller: str, files: tuple[str, ...]) -> str:
    """A limit of the cgroup that a /proc/PID/cgroup names; `none` where it has none."""
    for line in cgroups.splitlines():
        _, controllers, path = line.split(":", 2)
        for folder in (CGROUPS / controller, CGROUPS):
            if controllers and controller not in controllers.split(","):
                continue
            for file in files:
                text = _read(folder / path.lstrip("/") / file)
                if text and text != "max" and not (text.isdigit() and int(text) >= UNLIMITED):
                    return text
    return "none"


def _link(pid: int, kind: str) -> Path:
    return (PROC / str(pid) / "ns" / kind).readlink()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
