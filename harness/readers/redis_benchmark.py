"""redis-benchmark 7.0 `--csv`, one row for each test.

Fields for each test, by its name in lower case (`set`, `get`): `set_per_second` (1/s) and `set_mean`, `set_min`,
`set_p50`, `set_p95`, `set_p99`, `set_max` (s, of one request, timed by the client).
"""

import csv
import re

from harness.readers.base import MSEC, NUMBER, Parameters, Reader

_TEST = r"[a-z][a-z_]{0,20}"
_COLUMNS = {
    "rps": ("per_second", 1.0),
    "avg_latency_ms": ("mean", MSEC),
    "min_latency_ms": ("min", MSEC),
    "p50_latency_ms": ("p50", MSEC),
    "p95_latency_ms": ("p95", MSEC),
    "p99_latency_ms": ("p99", MSEC),
    "max_latency_ms": ("max", MSEC),
}


class RedisBenchmark(Reader):
    """Rate and latency of each test."""

    tool = "redis-benchmark"
    pattern = rf"{_TEST}_(?:{'|'.join(name for name, _ in _COLUMNS.values())})"
    form = "TEST_per_second, TEST_mean, TEST_min, TEST_p50, TEST_p95, TEST_p99, TEST_max"
    largest = 64 * 1024

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for another header, a ragged row, a duplicate or no test, and values that are no numbers."""
        text = self.text(stdout)
        header, *rows = csv.reader(text.splitlines())
        if header != ["test", *_COLUMNS]:
            raise self.unreadable("does not have the columns expected", ",".join(header))
        figures: dict[str, float] = {}
        for row in rows:
            name = row[0].lower() if row else ""
            if len(row) != len(header) or not re.fullmatch(_TEST, name):
                raise self.unreadable("has a row that is not of one test", ",".join(row))
            if f"{name}_per_second" in figures:
                raise self.unreadable(f"has {name} twice", text)
            for value, (field, unit) in zip(row[1:], _COLUMNS.values(), strict=True):
                what = f"{name} {field}"
                if not re.fullmatch(NUMBER, value):
                    raise self.unreadable(f"has no number for {what}", value)
                figures[f"{name}_{field}"] = self.figure(float(value) * unit, what, positive=field != "min")
        if not figures:
            raise self.unreadable("has no test", text)
        return figures
