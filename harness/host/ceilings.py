"""The kernel's own limits to how many processes, files and control groups a host can have: what is used of each."""

import contextlib
import errno
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
MEMORY_CGROUPS = 65535
"""Most memory control groups of a kernel: MEM_CGROUP_ID_MAX (mm/memcontrol.c)."""
UNLIMITED = 2**62
"""From here on a limit is none."""
MET = {
    errno.ENFILE: "open files of the host",
    errno.EMFILE: "open files",
    errno.EAGAIN: "processes",
    errno.ENOMEM: "memory",
    errno.EXFULL: "bridge ports",
    errno.EDQUOT: "keys or disk quota",
    errno.ENOSPC: "space (disk, control groups or watched files)",
}
"""What an error of the kernel stands for when one more cannot be had, the more special words first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One limit: what is counted, how many are `used` and the `most` there may be. A `shared` one is the whole host's:
    who takes all of it stops everybody else."""

    name: str
    used: int
    most: int
    shared: bool = True


def ceilings() -> list[Ceiling]:
    """The limits that can be read here, now."""
    found = [*_processes(), *_files(), *_control_groups(), *_keys()]
    return [one for one in found if 0 < one.most < UNLIMITED]


def met(error: BaseException) -> str:
    """Which limit of the kernel an error tells of, by its number or the kernel's words in its text; "" for none."""
    if isinstance(error, OSError) and error.errno in MET:
        return MET[error.errno]
    text = f"{error}".lower()
    if "can't start new thread" in text:
        return MET[errno.EAGAIN]
    return next((name for number, name in MET.items() if os.strerror(number).lower() in text), "")


@contextlib.contextmanager
def many_open_files() -> Iterator[None]:
    """As many open files as this process may have; its limit is put back afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _processes() -> Iterator[Ceiling]:
    # The kernel counts threads as it counts processes: proc(5), /proc/loadavg's fourth field.
    tasks = int(_text(PROC / "loadavg").split()[3].partition("/")[2])
    for name, setting in (("process ids", "pid_max"), ("threads", "threads-max")):
        if number := _number(PROC / "sys/kernel" / setting):
            yield Ceiling(name=name, used=tasks, most=number)


def _files() -> Iterator[Ceiling]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        yield Ceiling(name="open files", used=len(list(Path("/proc/self/fd").iterdir())), most=soft, shared=False)
    words = _text(PROC / "sys/fs/file-nr").split()
    if len(words) == 3:
        yield Ceiling(name="open files of the host", used=int(words[0]), most=int(words[2]))


def _control_groups() -> Iterator[Ceiling]:
    for line in _text(PROC / "cgroups").splitlines():
        name, _, number, *_ = line.split()
        if name == "memory":
            yield Ceiling(name="memory control groups", used=int(number), most=MEMORY_CGROUPS)
    for line in _text(PROC / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("pids", ""):
            folder = CGROUPS / controllers / path.lstrip("/")
            if most := _number(folder / "pids.max"):
                used = _number(folder / "pids.current")
                yield Ceiling(name="processes of tare's control group", used=used, most=most)


def _keys() -> Iterator[Ceiling]:
    # proc(5), /proc/key-users: uid, usage, keys/instantiated, quota'd keys/most, bytes/most.
    found = re.search(rf"^\s*{os.geteuid()}:\s+\d+ \d+/\d+ (\d+)/(\d+) ", _text(PROC / "key-users"), re.MULTILINE)
    if found:
        yield Ceiling(name="keys", used=int(found[1]), most=int(found[2]))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _number(path: Path) -> int:
    """0 where there is none, or no limit (`max`)."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0
