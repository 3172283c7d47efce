"""An instance's clock against the host's: how fast it runs and how far it is off, over one instance's whole life."""

from dataclasses import dataclass, field

import numpy as np

from harness.runtimes.base import RawOutput

CLOCK_SECONDS = 0.1
"""What framing on a busy channel costs, in seconds …"""
CLOCK_SHARE = 0.02
"""… beyond which the clocks may differ by so much over one iteration …"""
DRIFT_SHARE = 0.005
"""… and by so much over the whole instance, whose longer span shows a smaller error."""


@dataclass(slots=True)
class Clock:
    """Readings of both clocks at the begin and end of each job: pairs of host and inner seconds (CLOCK_MONOTONIC)."""

    readings: list[tuple[float, float]] = field(default_factory=list)

    def take(self, output: RawOutput) -> None:
        """Add the readings of one job."""
        self.readings += [(output.begin, output.inner_begin), (output.end, output.inner_end)]

    def facts(self) -> dict[str, float]:
        """`slope` (inner seconds per host second, by least squares), `offset` (inner less host at the first reading, in
        seconds) and `span` (host seconds); the slope is known to about the channel's delay over the span.
        """
        if len(self.readings) < 2:
            return {}
        outer, inner = np.array(self.readings).T
        slope = float(np.polyfit(outer - outer[0], inner - inner[0], 1)[0])
        return {"slope": slope, "offset": float(inner[0] - outer[0]), "span": float(outer[-1] - outer[0])}

    def wrong(self) -> str:
        """Why the instance's clock makes what was measured discarded, or ""."""
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
