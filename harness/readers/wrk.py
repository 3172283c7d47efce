"""wrk 4.1 `--latency` (text only).

Fields: `requests` (count), `requests_per_second` (1/s), `latency_p50`, `latency_p75`, `latency_p90`, `latency_p99`
(s, of one request). wrk keeps every connection busy, so its latencies are those of a closed loop.
"""

from collections.abc import Mapping

from harness.readers.output import NUMBER, Fields, figure, lines_of, only, unreadable

TOOL = "wrk"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LARGEST = 64 * 1024


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for missing lines, and where a request failed or was answered by an error."""
    text = lines_of(TOOL, stdout, largest=_LARGEST)
    for sign in ("Socket errors:", "Non-2xx or 3xx responses:"):
        if sign in text:
            raise unreadable(TOOL, "says that requests failed", text)
    count = int(only(TOOL, rf" *([0-9]{{1,15}}) requests in {NUMBER}(?:us|ms|s|m), .{{1,20}} read", text, "total")[1])
    rate = float(only(TOOL, rf"Requests/sec: +{NUMBER} *", text, "request rate")[1])
    figures = {
        "requests": figure(TOOL, count, "number of requests"),
        "requests_per_second": figure(TOOL, rate, "request rate"),
    }
    for percent in (50, 75, 90, 99):
        found = only(TOOL, rf" *{percent}% +{NUMBER}(us|ms|s|m) *", text, f"{percent} % latency")
        figures[f"latency_p{percent}"] = figure(TOOL, float(found[1]) * _UNITS[found[2]], f"{percent} % latency")
    return Fields(TOOL, figures)
