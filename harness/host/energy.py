"""Energy of the host's processors and their memory, where the processor counts it (RAPL, Intel's and AMD's).

Source: the kernel's power/powercap/powercap.rst; a zone's `energy_uj` counts µJ and wraps to 0 after
`max_energy_range_uj`. Only zones that do not hold each other are added: each package, and its DRAM, which a package's
figure does not hold. The zone `psys` (the whole platform) holds the packages, and cores are a part of their package.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("/sys/class/powercap")
ZONES = "intel-rapl:*"
"""Not `intel-rapl-mmio:*`, which counts the same packages by another way."""
COUNTED = ("package", "dram")
MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Counter:
    """One zone's counter at a moment, and after how much it wraps, in µJ."""

    at: int
    range: int


def read(folder: Path = FOLDER) -> Mapping[str, Counter]:
    """The counters by zone; empty where the host has none, or shows them to root alone."""
    found = {}
    for zone in sorted(folder.glob(ZONES)):
        with contextlib.suppress(OSError, ValueError):
            if (zone / "name").read_text().startswith(COUNTED):
                energy, limit = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
                found[zone.name] = Counter(energy, limit)
    return found


def joules(before: Mapping[str, Counter], after: Mapping[str, Counter]) -> float | None:
    """What was spent between two readings, each zone having wrapped once at most (at 200 W that takes 20 minutes).

    None where there is nothing to read, or a zone is not in both.
    """
    if not before or before.keys() != after.keys():
        return None
    spent = 0
    for zone, first in before.items():
        last = after[zone].at
        spent += last - first.at if last >= first.at else first.range - first.at + last
    return spent * MICRO
