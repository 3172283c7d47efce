"""pgbench 15: its summary, then one line for each transaction with its time in microseconds (its log's third column).

Fields: `transactions` (count), `transactions_per_second` (1/s, without the time to connect), `latency_mean`,
`latency_p50`, `latency_p95`, `latency_p99`, `latency_max` (s, of one transaction).
"""

import re

from harness.readers.base import NUMBER, USEC, Parameters, Reader, percentile

_TPS = rf"tps = {NUMBER} \(without initial connection time\)"
_COUNT = r"number of transactions actually processed: ([0-9]{1,12})"
_FAILED = r"number of failed transactions: ([0-9]{1,12}) \(.{1,12}\)"
_PERCENTILES = (50, 95, 99)


class Pgbench(Reader):
    """Transactions: their rate and latency."""

    tool = "pgbench"
    fields = (
        "transactions",
        "transactions_per_second",
        "latency_mean",
        "latency_max",
        *(f"latency_p{percent}" for percent in _PERCENTILES),
    )

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for missing lines, a failed transaction, or parts that disagree."""
        text = self.text(stdout)
        count = int(self.only(_COUNT, text, "transaction count")[1])
        failed = int(self.only(_FAILED, text, "failure count")[1])
        rate = float(self.only(_TPS, text, "tps")[1])
        summary, found, log = text.rpartition("(without initial connection time)\n")
        times = log.split()
        if not found or not all(re.fullmatch(r"[0-9]{1,12}", one) for one in times):
            raise self.unreadable("has no plain list of times after its summary", log or summary)
        if failed or len(times) != count or not times:
            raise self.unreadable(f"counts {count} transactions, {failed} of them failed, and has {len(times)} times")
        micro = [int(one) for one in times]
        figures = {
            "transactions": self.figure(count, "transaction count"),
            "transactions_per_second": self.figure(rate, "tps"),
            "latency_mean": self.figure(sum(micro) / count * USEC, "mean latency"),
            "latency_max": self.figure(max(micro) * USEC, "longest latency"),
        }
        for percent in _PERCENTILES:
            name = f"latency_p{percent}"
            figures[name] = self.figure(percentile(micro, percent) * USEC, name)
        return figures
