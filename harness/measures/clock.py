"""An instance's clock compared with the host's: its rate and its offset over the life of the instance."""

from dataclasses import dataclass, field
from statistics import linear_regression

from harness.runtimes.base import RawOutput

CLOCK_SECONDS = 0.1
"""The framing of a message on a busy channel, in seconds: so much of a difference is always allowed."""
CLOCK_SHARE = 0.02
"""The further difference allowed over one iteration, as a share of its length."""
DRIFT_SHARE = 0.005
"""The further difference allowed over the whole instance: a longer span shows smaller errors."""


@dataclass(slots=True)
class Clock:
    """Readings of both clocks at the beginning and end of each job: host and inner seconds (CLOCK_MONOTONIC)."""

    readings: list[tuple[float, float]] = field(default_factory=list)

    def take(self, output: RawOutput) -> None:
        """Add the readings of one job."""
        self.readings += [(output.begin, output.inner_begin), (output.end, output.inner_end)]

    def facts(self) -> dict[str, float]:
        """`slope`, `offset` and `span`; nothing without two different readings.

        `slope` is inner seconds per host second, by least squares; its error is about the channel's delay over the
        span. `offset` is inner less host seconds at the first reading. `span` is in host seconds.
        """
        if len({outer for outer, _ in self.readings}) < 2:
            return {}
        (first, begin), (last, _) = self.readings[0], self.readings[-1]
        # Differences: clocks that count from boot have few digits left for microseconds.
        outer, inner = zip(*((host - first, own - begin) for host, own in self.readings), strict=True)
        slope = float(linear_regression(outer, inner).slope)
        return {"slope": slope, "offset": begin - first, "span": last - first}

    def wrong(self) -> str:
        """The reason to discard an iteration because of the instance's clock, or ""."""
        if not self.readings:
            return ""
        for share, (first, last) in (
            (CLOCK_SHARE, (self.readings[-2], self.readings[-1])),
            (DRIFT_SHARE, (self.readings[0], self.readings[-1])),
        ):
            outer, inner = (after - before for before, after in zip(first, last, strict=True))
            if abs(outer - inner) > CLOCK_SECONDS + share * outer:
                return f"clock: {outer:.3f} s by the host's clock, {inner:.3f} s by the instance's"
        return ""
