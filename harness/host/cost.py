"""What something costs the host: CPU time of all CPUs above an idle window, energy, steal, frequency.

CPU times are /proc/stat's, in steps of 10 ms. Guests' time is part of `user` there and counts once; waiting for a disk
is idleness; steal is time that another host took and is kept apart.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil

from harness.host import energy

CPU = Path("/sys/devices/system/cpu")
BUSY = ("user", "nice", "system", "irq", "softirq")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The clocks of some CPUs at the moment `at` (CLOCK_MONOTONIC), in cumulative seconds for each."""

    at: float
    busy: tuple[float, ...]
    steal: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What was spent between two readings: CPU seconds over their CPUs in `elapsed` seconds."""

    elapsed: float
    busy: float
    steal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the host spent while something ran.

    `elapsed` seconds by the host's clock; `cpu` busy CPU seconds of all CPUs above the idle window; `steal` seconds
    that the layer below took from the measured CPUs, and `steal_share` their part of those CPUs' time (0 to 1); `mhz`
    the measured CPUs' mean frequency where known; `joules` the energy of the whole host's processors and their memory
    where it is counted, what they draw in idleness included.
    """

    elapsed: float
    cpu: float
    steal: float
    steal_share: float
    mhz: float | None
    joules: float | None = None


class HostMeter:
    """Opened before something runs on `cpus`, read after it; `idle` is the background in busy CPUs (`idle_rate`)."""

    def __init__(self, cpus: Collection[int], idle: float, powercap: Path = energy.FOLDER) -> None:
        self._cpus = cpus
        self._idle = idle
        self._powercap = powercap
        self._energy = energy.read(powercap)
        self._before = reading(), reading(cpus)

    def read(self) -> Cost:
        """The cost since the meter was opened."""
        whole = between(self._before[0], reading())
        measured = between(self._before[1], reading(self._cpus))
        return Cost(
            elapsed=whole.elapsed,
            cpu=whole.busy - self._idle * whole.elapsed,
            steal=measured.steal,
            steal_share=measured.steal / (measured.elapsed * len(self._cpus)),
            mhz=mhz(self._cpus),
            joules=energy.joules(self._energy, energy.read(self._powercap)),
        )


def reading(cpus: Collection[int] = ()) -> Reading:
    """The clocks of `cpus`, or of all CPUs, now; takes about 0.1 ms."""
    times = [one for cpu, one in enumerate(psutil.cpu_times(percpu=True)) if not cpus or cpu in cpus]
    return Reading(
        at=time.monotonic(),
        busy=tuple(sum(getattr(one, name, 0.0) for name in BUSY) for one in times),
        steal=tuple(getattr(one, "steal", 0.0) for one in times),
    )


def between(before: Reading, after: Reading) -> Usage:
    """The usage from one reading to a later one of the same CPUs."""
    return Usage(
        elapsed=after.at - before.at,
        # Single counters may step back by a tick when the kernel folds idle time in.
        busy=sum(max(0.0, b - a) for a, b in zip(before.busy, after.busy, strict=True)),
        steal=sum(max(0.0, b - a) for a, b in zip(before.steal, after.steal, strict=True)),
    )


def idle_rate(seconds: float) -> float:
    """The host's background over an idle window of so many seconds, in busy CPUs."""
    before = reading()
    time.sleep(seconds)
    usage = between(before, reading())
    return usage.busy / usage.elapsed


def mhz(cpus: Collection[int]) -> float | None:
    """Mean frequency now of `cpus`, in MHz; None where the kernel knows no frequencies.

    Without a cpufreq driver /proc/cpuinfo shows a nominal figure that never changes (in most guests): not known then.
    """
    known = [cpu for cpu in cpus if (CPU / f"cpu{cpu}" / "cpufreq").exists()]
    frequencies = psutil.cpu_freq(percpu=True) if known and len(known) == len(cpus) else []
    if not known or max(known) >= len(frequencies):
        return None
    return sum(frequencies[cpu].current for cpu in known) / len(known)
