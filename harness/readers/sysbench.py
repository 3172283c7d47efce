"""sysbench 1.0 `cpu … run` (it has no structured output).

Fields: `events_per_second` (1/s), `events` (count), `elapsed` (s), `latency_mean`, `latency_p95`, `latency_max` (s
per event), `threads`.
"""

from collections.abc import Mapping

from harness.readers.output import NUMBER, Fields, figure, lines_of, only

TOOL = "sysbench"
MSEC = 1e-3
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


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for a line that is missing, cut or there twice."""
    text = lines_of(TOOL, stdout)
    only(TOOL, _LAST, text, "execution time")
    figures = {}
    for name, (pattern, unit) in _LINES.items():
        what = name.replace("_", " ")
        value = float(only(TOOL, pattern, text, what)[1]) * unit
        # Latencies have two decimals of a millisecond, so that a short one is 0.00.
        figures[name] = figure(TOOL, value, what, positive=not name.startswith("latency"))
    return Fields(TOOL, figures)
