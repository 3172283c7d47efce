"""What a dead run left of its daemons: found by proof of ownership, removed by id."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.host.daemons.enclosure import NETNS, NETNS_DIRECTORY, Enclosure
from harness.host.daemons.private import DOCKER_FOLDERS, LIBVIRT_FOLDERS, SECOND, remove_mount_point
from harness.process import run

FOLDERS = ("dockerd", "libvirtd", SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """Something of a dead run: `kind` is `process`, `netns`, `cgroup` or `folder`, `name` which."""

    kind: str
    name: str


def leftovers(run_dir: Path, deadline: Deadline, *, netns: str = NETNS) -> list[Stale]:
    """What is left of daemons and their namespace when no live process owns them; empty while one does."""
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
    """Remove what `leftovers` finds and return it. Raises DeadlineExceeded when a process does not end."""
    found = leftovers(run_dir, deadline, netns=netns)
    if found:
        with tidied_netns_directory():
            Enclosure(netns).remove(deadline)
        remove_folders(run_dir)
        for folder in (LIBVIRT_FOLDERS["run"], DOCKER_FOLDERS["run"], DOCKER_FOLDERS["shims"]):
            remove_mount_point(folder)
    return found


def remove_folders(run_dir: Path) -> None:
    """Remove the daemons' own folders below `run_dir`, once the daemons have ended."""
    for name in FOLDERS:
        shutil.rmtree(run_dir / name, ignore_errors=True)


@contextlib.contextmanager
def tidied_netns_directory() -> Iterator[None]:
    """Leave /run/netns as it was: `ip netns add` makes the folder and mounts it on itself, `delete` leaves both."""
    mounts, existed = _netns_mounts(), NETNS_DIRECTORY.exists()
    try:
        yield
    finally:
        deadline = Deadline.after(5.0)
        # With other namespaces in it the mount is busy or wanted, and stays.
        while _netns_mounts() > mounts and not any(NETNS_DIRECTORY.iterdir()):
            if run(["umount", NETNS_DIRECTORY], deadline, check=False).status != 0:
                break
        if not existed:
            with contextlib.suppress(OSError):
                NETNS_DIRECTORY.rmdir()


def _netns_mounts() -> int:
    # The line's fifth field is the mount point (proc(5), mountinfo).
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sum(line.split()[4] == str(NETNS_DIRECTORY) for line in lines)


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return words[0].decode(errors="replace")
