"""pgbench 15: its summary, then one line for each transaction with its time in microseconds (its log's third column).

Fields: `transactions` (count), `transactions_per_second` (1/s, connecting left out), `latency_mean`, `latency_p50`,
`latency_p95`, `latency_p99`, `latency_max` (s, of one transaction).
"""

import re
from collections.abc import Mapping

from harness.readers.output import NUMBER, USEC, Fields, figure, lines_of, only, percentile, unreadable

TOOL = "pgbench"
_TPS = rf"tps = {NUMBER} \(without initial connection time\)"


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError where lines are missing, a transaction failed, or the two parts disagree."""
    text = lines_of(TOOL, stdout)
    count = int(only(TOOL, r"number of transactions actually processed: ([0-9]{1,12})", text, "transaction count")[1])
    failed = int(only(TOOL, r"number of failed transactions: ([0-9]{1,12}) \(.{1,12}\)", text, "failure count")[1])
    rate = float(only(TOOL, _TPS, text, "tps")[1])
    summary, found, log = text.rpartition("(without initial connection time)\n")
    times = log.split()
    if not found or not all(re.fullmatch(r"[0-9]{1,12}", one) for one in times):
        raise unreadable(TOOL, "has no plain list of times after its summary", log or summary)
    if failed or len(times) != count or not times:
        raise unreadable(TOOL, f"counts {count} transactions, {failed} of them failed, and has {len(times)} times")
    micro = [int(one) for one in times]
    figures = {
        "transactions": figure(TOOL, count, "transaction count"),
        "transactions_per_second": figure(TOOL, rate, "tps"),
        "latency_mean": figure(TOOL, sum(micro) / count * USEC, "mean latency"),
        "latency_max": figure(TOOL, max(micro) * USEC, "longest latency"),
    }
    for percent in (50, 95, 99):
        name = f"latency_p{percent}"
        figures[name] = figure(TOOL, percentile(micro, percent) * USEC, name)
    return Fields(TOOL, figures)
