"""Energy of the host's processors and memory, from the RAPL counters of Intel and AMD.

A zone's `energy_uj` counts µJ and wraps to 0 after `max_energy_range_uj`. Only disjoint zones are added: the packages
and their DRAM. The zone `psys` (the platform) contains the packages, and the core zones are part of a package.
Source: the kernel's power/powercap/powercap.rst.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/sys/class/powercap")
ZONES = "intel-rapl:*"
"""Excludes `intel-rapl-mmio:*`, a second interface to the counters of the same packages."""
COUNTED = ("package", "dram")
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Counter:
    """The counter of one zone: its value `at` the reading and its wrap-around `range`, in µJ."""

    at: int
    range: int


def read(folder: Path = FOLDER) -> Mapping[str, Counter]:
    """The counters by zone; empty if the host has none or only root may read them."""
    found = {}
    for zone in sorted(folder.glob(ZONES)):
        with contextlib.suppress(OSError, ValueError):
            if (zone / "name").read_text().startswith(COUNTED):
                energy, limit = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[zone.name] = Counter(energy, limit)
    return found


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """The joules between two readings; correct if each zone wrapped at most once (20 minutes at 200 W).

    Returns None if there are no counters, or if the zones of the readings differ.
    """
    if not before or before.keys() != after.keys():
        return None
    spent = 0
    for zone, first in before.items():
        last = after[zone].at
        spent += last - first.at if last >= first.at else first.range - first.at + last
    return spent * MICRO
