"""What a case costs the host: CPU time of all CPUs, of single processes, frequency and throttling; callers subtract.

CPU times are /proc/stat's, in steps of 10 ms: over short sections prefer the processes' own figures. Guests' time is
part of `user` there and counts once; waiting for a disk is idleness; steal is time that another host took and is kept
apart.
"""

import contextlib
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

CPU = Path("/sys/devices/system/cpu")
BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The host's CPU clocks at the moment `at` (CLOCK_MONOTONIC), in cumulative seconds by CPU number."""

    at: float
    busy: tuple[float, ...]
    steal: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the host spent between two readings: `busy` and `steal` in CPU seconds of all CPUs, in `elapsed` s."""

    elapsed: float
    busy: float
    steal: float

    @property
    def rate(self) -> float:
        """Busy CPUs: CPU seconds per second."""
        return self.busy / self.elapsed if self.elapsed > 0 else 0.0

    @property
    def steal_share(self) -> float:
        """The part of the time that something wanted to run and could not: stolen / (stolen + busy), 0 to 1."""
        total = self.steal + self.busy
        return self.steal / total if total > 0 else 0.0

    def above(self, background: float) -> float:
        """Busy CPU seconds beyond a background of so many busy CPUs (a `rate`); negative when the host was quieter."""
        return self.busy - background * self.elapsed


class HostClock:
    """Reads the CPU clocks of the whole host, or of `cpus` alone."""

    def __init__(self, cpus: Collection[int] = ()) -> None:
        self._cpus = frozenset(cpus)

    def read(self) -> Reading:
        """The clocks now; takes about 0.1 ms."""
        times = psutil.cpu_times(percpu=True)
        chosen = [t for cpu, t in enumerate(times) if not self._cpus or cpu in self._cpus]
        return Reading(
            at=time.monotonic(),
            busy=tuple(sum(getattr(t, name, 0.0) for name in BUSY) for t in chosen),
            steal=tuple(getattr(t, "steal", 0.0) for t in chosen),
        )

    def busy(self) -> float:
        """Cumulative busy CPU seconds."""
        return sum(self.read().busy)

    def steal(self) -> float:
        """Cumulative stolen CPU seconds."""
        return sum(self.read().steal)

    def idle_window(self, seconds: float) -> Usage:
        """What the host spends while we sleep for `seconds`: its background, as `Usage.rate`."""
        before = self.read()
        time.sleep(seconds)
        return between(before, self.read())


def between(before: Reading, after: Reading) -> Usage:
    """The usage from one reading to a later one of the same clock."""
    return Usage(
        elapsed=after.at - before.at,
        # Single counters may step back by a tick when the kernel folds idle time in.
        busy=sum(max(0.0, b - a) for a, b in zip(before.busy, after.busy, strict=True)),
        steal=sum(max(0.0, b - a) for a, b in zip(before.steal, after.steal, strict=True)),
    )


def process_cpu(pids: Iterable[int], *, tree: bool = True) -> float:
    """Cumulative CPU seconds of live processes, with `tree` of their live descendants too; a process counts once.

    Children that ended and were waited for are in it. What is gone or hidden counts as 0: subtract figures of processes
    that live through the section.
    """
    found: dict[int, float] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            for one in [process, *(process.children(recursive=True) if tree else [])]:
                with contextlib.suppress(psutil.Error):
                    times = one.cpu_times()
                    found[one.pid] = times.user + times.system + times.children_user + times.children_system
    return sum(found.values())


def pids_named(names: Collection[str]) -> dict[str, list[int]]:
    """The processes (kernel threads too) of each name, such as `dockerd`, `containerd`, `docker-proxy`."""
    found: dict[str, list[int]] = {name: [] for name in names}
    for process in psutil.process_iter(["name"]):
        name = process.info["name"]
        if name in found:
            found[name].append(process.pid)
    return found


def mhz(cpus: Collection[int]) -> float | None:
    """Mean frequency now of `cpus`, in MHz; None where the kernel knows no frequencies.

    Without a cpufreq driver (in most guests) /proc/cpuinfo shows a nominal figure that never changes: not known.
    """
    known = [cpu for cpu in cpus if (CPU / f"cpu{cpu}" / "cpufreq").exists()]
    frequencies = psutil.cpu_freq(percpu=True) if known and len(known) == len(cpus) else []
    if not known or max(known) >= len(frequencies):
        return None
    return sum(frequencies[cpu].current for cpu in known) / len(known)


def throttled() -> int | None:
    """How often CPUs were slowed down for heat since boot, summed; None where the kernel does not count it."""
    counts = []
    for path in CPU.glob("cpu[0-9]*/thermal_throttle/*_throttle_count"):
        with contextlib.suppress(OSError, ValueError):
            counts.append(int(path.read_text()))
    return sum(counts) if counts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the host spent while something ran.

    `elapsed` seconds by the host's clock; `cpu` busy CPU seconds of all CPUs above the idle window; `steal` seconds
    that the layer below took from the measured CPUs, and `steal_share` their part of those CPUs' time (0 to 1); `mhz`
    the measured CPUs' mean frequency where known.
    """

    elapsed: float
    cpu: float
    steal: float
    steal_share: float
    mhz: float | None


class HostMeter:
    """Opened before something runs on `cpus`, read after it; `idle` is the background in busy CPUs (`Usage.rate`)."""

    def __init__(self, cpus: Collection[int], idle: float) -> None:
        self._cpus = cpus
        self._idle = idle
        self._whole, self._measured = HostClock(), HostClock(cpus)
        self._before = self._whole.read(), self._measured.read()

    def read(self) -> Cost:
        """The cost since the meter was opened."""
        whole = between(self._before[0], self._whole.read())
        measured = between(self._before[1], self._measured.read())
        return Cost(
            elapsed=whole.elapsed,
            cpu=whole.above(self._idle),
            steal=measured.steal,
            steal_share=measured.steal / (measured.elapsed * len(self._cpus)),
            mhz=mhz(self._cpus),
        )


def idle_rate(seconds: float) -> float:
    """The host's background over an idle window of so many seconds, in busy CPUs."""
    return HostClock().idle_window(seconds).rate
