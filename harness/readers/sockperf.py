"""sockperf 3.7 `ping-pong --full-rtt` (text only; it exits 0 even when no server answered).

Fields: `rtt_mean`, `rtt_min`, `rtt_p50`, `rtt_p90`, `rtt_p99`, `rtt_p99.9`, `rtt_max` (s, round trip), `observations`
(count), `dropped`, `duplicated`, `out_of_order` (count, may be 0), `round_trips_per_second` (1/s, of the observations).
"""

import re

from harness.readers.base import NUMBER, USEC, Parameters, Reader

_COLOUR = re.compile(r"\x1b\[[0-9;]{0,12}m")
_MEAN = rf"sockperf: Summary: Round trip is +{NUMBER} usec *"
_TOTAL = rf"sockperf: Total ([0-9]{{1,15}}) observations; each percentile contains {NUMBER} observations"
_VALID = rf"sockperf: \[Valid Duration\] RunTime={NUMBER} sec; SentMessages=[0-9]+; ReceivedMessages=[0-9]+"
_LOST = r"sockperf: # dropped messages = ([0-9]{1,15}); # duplicated messages = ([0-9]{1,15}); " + (
    r"# out-of-order messages = ([0-9]{1,15})"
)
_COUNTS = ("dropped", "duplicated", "out_of_order")
_PERCENTILES = {
    "rtt_min": r"<MIN> observation",
    "rtt_p50": r"percentile 50\.000",
    "rtt_p90": r"percentile 90\.000",
    "rtt_p99": r"percentile 99\.000",
    "rtt_p99.9": r"percentile 99\.900",
    "rtt_max": r"<MAX> observation",
}


class Sockperf(Reader):
    """Round trips: their rate and latency."""

    tool = "sockperf"
    fields = ("rtt_mean", "observations", "round_trips_per_second", *_COUNTS, *_PERCENTILES)

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for a line that is missing, cut or duplicated, and when no server answered."""
        text = _COLOUR.sub("", self.text(stdout))
        if "No messages were received" in text:
            raise self.unreadable("reports that no server answered", text)
        if "Summary: Latency is" in text:
            raise self.unreadable("shows half round trips: run it with --full-rtt", text)
        count = self.figure(int(self.only(_TOTAL, text, "total observations")[1]), "number of observations")
        seconds = self.figure(float(self.only(_VALID, text, "valid duration")[1]), "valid duration")
        lost = self.only(_LOST, text, "dropped messages").groups()
        mean = float(self.only(_MEAN, text, "round trip summary")[1])
        figures = {
            "rtt_mean": self.figure(mean * USEC, "mean round trip"),
            "observations": count,
            "round_trips_per_second": count / seconds,
        }
        for name, number in zip(_COUNTS, lost, strict=True):
            figures[name] = self.figure(int(number), name, positive=False)
        for name, label in _PERCENTILES.items():
            value = float(self.only(rf"sockperf: ---> {label} += +{NUMBER}", text, name)[1])
            figures[name] = self.figure(value * USEC, name)
        return figures
