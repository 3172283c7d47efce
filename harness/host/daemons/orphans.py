"""Leftovers of a dead run's daemons: find them by proof of ownership and remove them by id."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.host.daemons.enclosure import NETNS, Enclosure
from harness.host.daemons.private import DOCKER_FOLDERS, LIBVIRT_FOLDERS, SECOND, remove_mount_point
from harness.host.links import tidied_namespaces

FOLDERS = ("dockerd", "libvirtd", SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """One leftover of a dead run; `kind` is `process`, `netns`, `cgroup` or `folder`."""

    kind: str
    name: str


def leftovers(run_dir: Path, deadline: Deadline, *, netns: str = NETNS) -> list[Stale]:
    """The leftovers of daemons and their namespace; empty while a live process owns them."""
    enclosure = Enclosure(netns)
    ours = enclosure.owner(deadline) is not None
    if not ours and enclosure.handle.exists():
        return []
    if enclosure.in_use(deadline):
        return []
    found = [Stale(kind="process", name=f"{pid} {_command(pid)}") for pid in enclosure.processes()]
    found += [Stale(kind="netns", name=netns)] if ours else []
    found += [Stale(kind="cgroup", name=str(path)) for path in enclosure.cgroups()]
    found += [Stale(kind="folder", name=str(run_dir / name)) for name in FOLDERS if (run_dir / name).exists()]
    return found


def sweep(run_dir: Path, deadline: Deadline, *, netns: str = NETNS) -> list[Stale]:
    """Remove and return what `leftovers` finds. Raises DeadlineExceeded when a process does not end."""
    found = leftovers(run_dir, deadline, netns=netns)
    if found:
        with tidied_namespaces():
            Enclosure(netns).remove(deadline)
        remove_folders(run_dir)
        for folder in (LIBVIRT_FOLDERS["run"], DOCKER_FOLDERS["run"], DOCKER_FOLDERS["shims"]):
            remove_mount_point(folder)
    return found


def remove_folders(run_dir: Path) -> None:
    """Remove the daemons' folders below `run_dir`; call it after the daemons have ended."""
    for name in FOLDERS:
        shutil.rmtree(run_dir / name, ignore_errors=True)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return words[0].decode(errors="replace")
