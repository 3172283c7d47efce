"""The host process of one guest's virtual machine monitor (QEMU, Firecracker, libkrun), read from /proc."""

import contextlib
import os
import select
import time
from collections import defaultdict
from pathlib import Path

PROC = Path("/proc")
NANO = 1e-9
GROUPS = (
    ("CPU ", "vcpu"),
    ("IO mon_", "emulator"),
    ("IO ", "iothread"),
    ("vhost-", "vhost"),
    ("fc_vcpu", "vcpu"),
)


class VmmProcess:
    """One guest's process; its threads are told apart by their names."""

    def __init__(self, pid: int, arguments: tuple[str, ...] = ()) -> None:
        self.pid = pid
        self.arguments = arguments
        self._descriptor = os.pidfd_open(pid)
        self._vhost = _vhost_threads(pid)

    @classmethod
    def find(cls, identity: str, option: str = "-uuid") -> "VmmProcess | None":
        """The QEMU whose argument of `option` is `identity`; None when there is none (any more)."""
        for entry in PROC.iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = tuple((entry / "cmdline").read_bytes().decode("utf-8", "replace").split("\0"))
                if option in words and words[words.index(option) + 1] == identity and "qemu" in words[0]:
                    return cls(int(entry.name), words)
        return None

    def gone(self, seconds: float = 0.0) -> bool:
        """Whether it has ended; waits for that at most `seconds`."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def counters(self) -> dict[str, float]:
        """Cumulative CPU seconds: `vcpu`, `iothread`, `vhost` by their threads' names, `emulator` all else.

        `emulator` (main loop and disk workers) is the process's CPU clock minus the other parts: workers come and go,
        and only that clock still counts those that ended. The parts add up to the whole.
        """
        parts: defaultdict[str, float] = defaultdict(float)
        for task in (PROC / str(self.pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                group = _group((task / "comm").read_text().strip())
                if group != "emulator":
                    parts[group] += _ran(task)
        # The kernel's id of another process's CPU clock: see clock_getcpuclockid(3) and CPUCLOCK_SCHED.
        process = time.clock_gettime((~self.pid << 3) | 2)
        parts["emulator"] = max(0.0, process - sum(parts.values()))
        for thread in self._vhost:
            with contextlib.suppress(OSError):
                parts["vhost"] += _ran(thread)
        return dict(parts)

    def uses_vhost(self) -> bool:
        """Whether its network goes through vhost-net."""
        return any("vhost" in word and "vhost=off" not in word for word in self.arguments) or bool(self._vhost)

    def vhost_threads(self) -> tuple[int, ...]:
        """Process ids of the kernel threads, outside the process, that carry its packets."""
        return tuple(int(thread.name) for thread in self._vhost)

    def huge_mib(self) -> int | None:
        """Its anonymous huge pages in MiB; None where /proc does not show them."""
        try:
            lines = (PROC / str(self.pid) / "smaps_rollup").read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("AnonHugePages:")), None)

    def close(self) -> None:
        """Close the process's descriptor."""
        os.close(self._descriptor)


def _group(thread: str) -> str:
    """The part of the guest that a thread's name stands for (`CPU 0/KVM`, `IO iothread1`, `vhost-123`, `fc_vcpu 0`)."""
    return next((group for start, group in GROUPS if thread.startswith(start)), "emulator")


def _ran(task: Path) -> float:
    return int((task / "schedstat").read_text().split()[0]) * NANO


def _vhost_threads(pid: int) -> list[Path]:
    """The kernel threads `vhost-PID` outside the process, which Linux before 6.4 uses."""
    found = []
    for entry in PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and (entry / "comm").read_text().strip() == f"vhost-{pid}":
                found.append(entry)
    return found
