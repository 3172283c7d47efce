"""Read a process's confinement from the host: namespaces, capabilities, seccomp, LSM and limits."""

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
"""Version 1 shows "no limit" as a number of bytes above this value."""


def fields(status: str) -> dict[str, str]:
    """The fields of a /proc/PID/status text, by name."""
    return {name: value.strip() for name, _, value in (line.partition(":") for line in status.splitlines())}


def capabilities(mask: str) -> int:
    """The number of capabilities in a mask such as `00000000a80425fb`."""
    return int(mask, 16).bit_count()


def innermost(pid: int) -> int:
    """The id of the last descendant of `pid`: the process inside a sandbox that helper processes started.

    Returns `pid` if it has no children. Raises TareError if the process is gone.
    """
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess as error:
        raise TareError(f"the instance's process {pid} has ended", details=str(error)) from error
    return children[-1].pid if children else pid


def confinement(pid: int) -> Mapping[str, str]:
    """How the host confines a process, by property name.

    `namespaces` lists those that the process does not share with the harness. The limits are its cgroup's; the memory
    limit is in bytes. Raises TareError if the process is gone or this user may not read its files in /proc.
    """
    try:
        status = fields((PROC / str(pid) / "status").read_text())
        cgroups = (PROC / str(pid) / "cgroup").read_text()
        return {
            "user": status["Uid"].split()[0],
            "capabilities": str(capabilities(status["CapEff"])),
            "seccomp": SECCOMP.get(status.get("Seccomp", ""), "unknown"),
            "no_new_privs": "yes" if status.get("NoNewPrivs") == "1" else "no",
            "namespaces": " ".join(own_namespaces(pid)) or "none",
            "lsm": _read(PROC / str(pid) / "attr/current") or "none",
            "CPUs": status["Cpus_allowed_list"],
            **{name: limit(cgroups, *where) for name, where in LIMITS.items()},
        }
    except (OSError, KeyError) as error:
        raise TareError(f"cannot read the confinement of process {pid}", details=str(error)) from error


def own_namespaces(pid: int) -> list[str]:
    """The kinds of namespace that a process does not share with the harness, sorted."""
    kinds = [path.name for path in (PROC / "self/ns").iterdir() if not path.name.endswith("_for_children")]
    return sorted(kind for kind in kinds if _link(pid, kind) != (PROC / "self/ns" / kind).readlink())


def limit(cgroups: str, controller: str, files: tuple[str, ...]) -> str:
    """A limit of the cgroup in the /proc/PID/cgroup text `cgroups`; `none` if it has no limit."""
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
