"""What it costs to tell a milestone: how much later the host stamps a line because of the way it travels.

Where instance and host share one clock (native, containers: the same boot of the same kernel), a line's stamp less the
clock read just before its write is the cost itself; lines are told one by one, with a pause, as the beacon's are.

A guest has a clock of its own, so that no single line shows its way. There lines are told one after another without a
pause. In the long run they come as fast as the slowest part of the way lets them, so that their mean interval is no
more than what each spends on the way. What the teller did between its writes is taken off: the beacon does not do it.
That is a low figure: what a line waits for besides the slowest part is not in it.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.deadline import Deadline
from harness.runtimes.base import SignallingOverhead

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LINES = 20
"""Told one by one, or in each round."""
PAUSE_SECONDS = 0.005
"""Long enough for a line to be stamped and its reader to sleep again before the next."""
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Lines that an instance told: the host's stamps, when each write began and ended on the instance's own clock, and
    the id of the boot that this clock counts from."""

    stamps: tuple[float, ...]
    begins: tuple[float, ...]
    ends: tuple[float, ...]
    boot: str


class Teller(Protocol):
    """The host's end of an instance's channel."""

    def tell(self, lines: int, deadline: Deadline, *, pause: float = 0.0, device: str = "", watched: str = "") -> Told:
        """Have the instance tell so many lines."""
        ...


def signalling_overhead(
    channel: Teller, deadline: Deadline, *, device: str = "", watched: str = ""
) -> SignallingOverhead:
    """What telling costs over an agent's channel, or over a `device` inside that ends in the socket `watched`.

    Raises TareError when the agent cannot tell, DeadlineExceeded when its lines do not come.
    """
    alone = channel.tell(LINES, deadline, pause=PAUSE_SECONDS, device=device, watched=watched)
    if alone.boot == BOOT_ID.read_text().strip():
        return _cost([stamp - begin for stamp, begin in zip(alone.stamps, alone.begins, strict=True)], "clock")
    rounds = [channel.tell(LINES, deadline, device=device, watched=watched) for _ in range(ROUNDS)]
    return _cost([interval(told) for told in rounds], "interval")


def interval(told: Told) -> float:
    """Mean seconds between the stamps of lines told one after another, less what the teller did between its writes."""
    outside = [begin - end for end, begin in zip(told.ends, told.begins[1:], strict=False)]
    gaps = len(told.stamps) - 1
    return max(0.0, (told.stamps[-1] - told.stamps[0] - sum(outside)) / gaps)


def _cost(readings: list[float], method: Literal["clock", "interval"]) -> SignallingOverhead:
    middle = statistics.median(readings)
    return SignallingOverhead(
        seconds=middle, low=min(readings), high=max(readings), readings=len(readings), method=method
    )
