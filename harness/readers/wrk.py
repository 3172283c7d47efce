"""wrk 4.1 `--latency` (text only).

Fields: `requests` (count), `requests_per_second` (1/s), `latency_p50`, `latency_p75`, `latency_p90`, `latency_p99`
(s, of one request). wrk keeps every connection busy, so its latencies are those of a closed loop.
"""

from harness.readers.base import NUMBER, Parameters, Reader

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_COUNT = rf" *([0-9]{{1,15}}) requests in {NUMBER}(?:us|ms|s|m), .{{1,20}} read"
_PERCENTILES = (50, 75, 90, 99)


class Wrk(Reader):
    """Requests: their rate and latency."""

    tool = "wrk"
    fields = ("requests", "requests_per_second", *(f"latency_p{percent}" for percent in _PERCENTILES))
    largest = 64 * 1024

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for missing lines, and when a request failed or its response was an error."""
        text = self.text(stdout)
        for sign in ("Socket errors:", "Non-2xx or 3xx responses:"):
            if sign in text:
                raise self.unreadable("reports that requests failed", text)
        count = int(self.only(_COUNT, text, "total")[1])
        rate = float(self.only(rf"Requests/sec: +{NUMBER} *", text, "request rate")[1])
        figures = {
            "requests": self.figure(count, "number of requests"),
            "requests_per_second": self.figure(rate, "request rate"),
        }
        for percent in _PERCENTILES:
            what = f"{percent} % latency"
            found = self.only(rf" *{percent}% +{NUMBER}(us|ms|s|m) *", text, what)
            figures[f"latency_p{percent}"] = self.figure(float(found[1]) * _UNITS[found[2]], what)
        return figures
