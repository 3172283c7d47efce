"""Host cost: CPU time of all CPUs minus an idle window, energy, steal time and CPU frequency.

CPU times come from /proc/stat, in steps of 10 ms. Guest time is part of `user` and counts once. I/O wait counts as
idle. Steal time, which the layer below took, is reported separately.
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
    """Cumulative busy and steal seconds, one value per CPU, at time `at` (CLOCK_MONOTONIC, seconds)."""

    at: float
    busy: tuple[float, ...]
    steal: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The difference of two readings: busy and steal seconds summed over the CPUs, in `elapsed` seconds."""

    elapsed: float
    busy: float
    steal: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The host cost of an operation.

    - `elapsed`: seconds on the host's clock.
    - `cpu`: busy CPU seconds of all CPUs, minus the idle window's rate.
    - `steal`: seconds that the layer below took from the measured CPUs; `steal_share` is their share (0 to 1).
    - `mhz`: mean frequency of the measured CPUs; None if unknown.
    - `joules`: energy of the host's processors and memory, idle power included; None if the host does not count it.
    """

    elapsed: float
    cpu: float
    steal: float
    steal_share: float
    mhz: float | None
    joules: float | None = None


class HostMeter:
    """Measures host cost from its creation to `read`; `idle` is the host's idle rate in busy CPUs (`idle_rate`)."""

    def __init__(self, cpus: Collection[int], idle: float, powercap: Path = energy.FOLDER) -> None:
        self._cpus = cpus
        self._idle = idle
        self._powercap = powercap
        self._energy = energy.read(powercap)
        self._before = reading(), reading(cpus)

    def read(self) -> Cost:
        """The cost since the meter was created."""
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
    """Read the times of `cpus`, or of all CPUs; takes about 0.1 ms."""
    times = [one for cpu, one in enumerate(psutil.cpu_times(percpu=True)) if not cpus or cpu in cpus]
    return Reading(
        at=time.monotonic(),
        busy=tuple(sum(getattr(one, name, 0.0) for name in BUSY) for one in times),
        steal=tuple(getattr(one, "steal", 0.0) for one in times),
    )


def between(before: Reading, after: Reading) -> Usage:
    """The usage between two readings of the same CPUs."""
    return Usage(
        elapsed=after.at - before.at,
        # A counter can decrease by one tick when the kernel accounts idle time.
        busy=sum(max(0.0, b - a) for a, b in zip(before.busy, after.busy, strict=True)),
        steal=sum(max(0.0, b - a) for a, b in zip(before.steal, after.steal, strict=True)),
    )


def idle_rate(seconds: float) -> float:
    """The mean number of busy CPUs during an idle window of `seconds`."""
    before = reading()
    time.sleep(seconds)
    usage = between(before, reading())
    return usage.busy / usage.elapsed


def mhz(cpus: Collection[int]) -> float | None:
    """The mean current frequency of `cpus` in MHz; None without a cpufreq driver.

    Without a driver, as in most guests, /proc/cpuinfo shows a constant nominal frequency, which is ignored.
    """
    known = [cpu for cpu in cpus if (CPU / f"cpu{cpu}" / "cpufreq").exists()]
    frequencies = psutil.cpu_freq(percpu=True) if known and len(known) == len(cpus) else []
    if not known or max(known) >= len(frequencies):
        return None
    return sum(frequencies[cpu].current for cpu in known) / len(known)
