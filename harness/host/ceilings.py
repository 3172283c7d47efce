"""The kernel's limits on processes, open files, control groups and keys, and the current use of each."""

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
"""The maximum number of memory control groups: MEM_CGROUP_ID_MAX (linux/mm/memcontrol.c)."""
UNLIMITED = 2**62
"""A limit at or above this value counts as no limit."""
MET = {
    errno.ENFILE: "open files of the host",
    errno.EMFILE: "open files",
    errno.EAGAIN: "processes",
    errno.ENOMEM: "memory",
    errno.EXFULL: "bridge ports",
    errno.EDQUOT: "keys or disk quota",
    errno.ENOSPC: "space (disk, control groups or watched files)",
}
"""The exhausted resource by errno; specific messages come first, because `met` returns the first match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One limit: the counted resource `name`, the number `used`, and the maximum `most`.

    A `shared` limit is one of the whole host: at the limit, other processes fail too.
    """

    name: str
    used: int
    most: int
    shared: bool = True


def ceilings() -> list[Ceiling]:
    """The limits that this host shows, with their current use."""
    found = [*_processes(), *_files(), *_control_groups(), *_keys()]
    return [one for one in found if 0 < one.most < UNLIMITED]


def met(error: BaseException) -> str:
    """The kernel limit that caused an error, from its errno or from an errno message in its text; "" if none did."""
    if isinstance(error, OSError) and error.errno in MET:
        return MET[error.errno]
    text = f"{error}".lower()
    if "can't start new thread" in text:
        return MET[errno.EAGAIN]
    return next((name for number, name in MET.items() if os.strerror(number).lower() in text), "")


@contextlib.contextmanager
def many_open_files() -> Iterator[None]:
    """Raise the soft limit on open files to the hard limit, and restore it at the end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _processes() -> Iterator[Ceiling]:
    # Threads count too: proc(5), the fourth field of /proc/loadavg.
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
    """The number in a file; 0 if the file is missing or contains `max`."""
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0
