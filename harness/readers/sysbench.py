"""sysbench 1.0 `cpu … run` (it has no structured output).

Fields: `events_per_second` (1/s), `events` (count), `elapsed` (s), `latency_mean`, `latency_p95`, `latency_max` (s
per event), `threads`.
"""

from harness.readers.base import MSEC, NUMBER, Parameters, Reader

_LINES = {
    "threads": (r"Number of threads: " + NUMBER, 1.0),
    "events_per_second": (r" {4}events per second: +" + NUMBER, 1.0),
    "elapsed": (r" {4}total time: +" + NUMBER + "s", 1.0),
    "events": (r" {4}total number of events: +" + NUMBER, 1.0),
    "latency_mean": (r" {9}avg: +" + NUMBER, MSEC),
    "latency_max": (r" {9}max: +" + NUMBER, MSEC),
    "latency_p95": (r" {9}95th percentile: +" + NUMBER, MSEC),
}
_LAST = rf" {{4}}execution time \(avg/stddev\): +{NUMBER}/{NUMBER}"


class Sysbench(Reader):
    """Events: their rate and latency."""

    tool = "sysbench"
    fields = tuple(_LINES)

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for a line that is missing, cut or duplicated."""
        text = self.text(stdout)
        self.only(_LAST, text, "execution time")
        figures = {}
        for name, (pattern, unit) in _LINES.items():
            what = name.replace("_", " ")
            value = float(self.only(pattern, text, what)[1]) * unit
            # Latencies have two decimals of a millisecond: a short one is 0.00.
            figures[name] = self.figure(value, what, positive=not name.startswith("latency"))
        return figures
