"""redis-benchmark 7.0 `--csv`, one row for each test.

Fields: for each test by its name in small letters (`set`, `get`) `set_per_second` (1/s) and `set_mean`, `set_min`,
`set_p50`, `set_p95`, `set_p99`, `set_max` (s, of one request as the client saw it).
"""

import csv
import re
from collections.abc import Mapping

from harness.readers.output import NUMBER, Fields, figure, lines_of, unreadable

TOOL = "redis-benchmark"
_MILLI = 1e-3
_LARGEST = 64 * 1024
_COLUMNS = {
    "rps": ("per_second", 1.0),
    "avg_latency_ms": ("mean", _MILLI),
    "min_latency_ms": ("min", _MILLI),
    "p50_latency_ms": ("p50", _MILLI),
    "p95_latency_ms": ("p95", _MILLI),
    "p99_latency_ms": ("p99", _MILLI),
    "max_latency_ms": ("max", _MILLI),
}


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for another header, a ragged row, a test twice or none, or what is no number."""
    text = lines_of(TOOL, stdout, largest=_LARGEST)
    header, *rows = csv.reader(text.splitlines())
    if header != ["test", *_COLUMNS]:
        raise unreadable(TOOL, "has not the columns expected", ",".join(header))
    figures: dict[str, float] = {}
    for row in rows:
        name = row[0].lower() if row else ""
        if len(row) != len(header) or not re.fullmatch(r"[a-z][a-z_]{0,20}", name):
            raise unreadable(TOOL, "has a row that is not of one test", ",".join(row))
        if f"{name}_per_second" in figures:
            raise unreadable(TOOL, f"has {name} twice", text)
        for value, (field, unit) in zip(row[1:], _COLUMNS.values(), strict=True):
            if not re.fullmatch(NUMBER, value):
                raise unreadable(TOOL, f"has no number for {name} {field}", value)
            figures[f"{name}_{field}"] = figure(TOOL, float(value) * unit, f"{name} {field}", positive=field != "min")
    if not figures:
        raise unreadable(TOOL, "has no test", text)
    return Fields(TOOL, figures)
