"""The signalling overhead: how much later the host stamps a milestone's line because of the way it travels.

Where instance and host share one clock (native, containers: the same boot of the same kernel), the overhead is a line's
stamp minus the clock just before its write. Lines are sent one by one, with a pause, as the beacon sends them.

A guest has a clock of its own, so that one-way delay cannot be observed. There lines are sent back to back. In the long
run they arrive at the rate of the slowest part of the way. So their mean interval is at most the delay of each. The
sender's time between its writes is subtracted, because the beacon has none. The figure is a lower bound: delays outside
the slowest part are not in it.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from harness.deadline import Deadline
from harness.runtimes.base import SignallingOverhead

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
LINES = 20
"""The number of lines sent one by one, or in each round."""
PAUSE_SECONDS = 0.005
"""Long enough that a line is stamped and its reader sleeps again before the next one."""
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalledLines:
    """Lines that an instance sent.

    `stamps` are the host's, `begins` and `ends` of each write the instance's own, all CLOCK_MONOTONIC in seconds;
    `boot` is the id of the boot from which the instance's clock counts.
    """

    stamps: tuple[float, ...]
    begins: tuple[float, ...]
    ends: tuple[float, ...]
    boot: str


class Signaller(Protocol):
    """The host's end of an instance's channel."""

    def signal(
        self, lines: int, deadline: Deadline, *, pause: float = 0.0, device: str = "", watched: str = ""
    ) -> SignalledLines:
        """Have the instance send so many lines."""
        ...


def signalling_overhead(
    channel: Signaller, deadline: Deadline, *, device: str = "", watched: str = ""
) -> SignallingOverhead:
    """The overhead of an agent's channel, or of a `device` in the instance that ends in the socket `watched`.

    Raises TareError when the agent cannot send lines, DeadlineExceeded when they do not arrive.
    """
    alone = channel.signal(LINES, deadline, pause=PAUSE_SECONDS, device=device, watched=watched)
    if alone.boot == BOOT_ID.read_text().strip():
        return _cost([stamp - begin for stamp, begin in zip(alone.stamps, alone.begins, strict=True)], "clock")
    rounds = [channel.signal(LINES, deadline, device=device, watched=watched) for _ in range(ROUNDS)]
    return _cost([interval(signalled) for signalled in rounds], "interval")


def interval(lines: SignalledLines) -> float:
    """Mean seconds between the stamps of lines sent back to back, minus the sender's time between its writes."""
    outside = [begin - end for end, begin in zip(lines.ends, lines.begins[1:], strict=False)]
    return max(0.0, (lines.stamps[-1] - lines.stamps[0] - sum(outside)) / (len(lines.stamps) - 1))


def _cost(readings: list[float], method: Literal["clock", "interval"]) -> SignallingOverhead:
    middle = statistics.median(readings)
    return SignallingOverhead(
        seconds=middle, low=min(readings), high=max(readings), readings=len(readings), method=method
    )
