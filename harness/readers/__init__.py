"""Readers: what a tool printed → named figures in base units; pure, found by name.

Each module documents its fields; a metric's `source` in a workload names one of them.
"""

from harness.errors import bad_input
from harness.readers import (
    fio,
    gate,
    hyperfine,
    iperf3,
    openssl,
    pairs,
    pgbench,
    redis_benchmark,
    sockperf,
    stress_ng,
    sysbench,
    wrk,
    zstd,
)
from harness.readers.output import Fields, Reader

__all__ = ["READERS", "Fields", "Reader", "reader"]

READERS: dict[str, Reader] = {
    "fio": fio.read,
    "gate": gate.read,
    "hyperfine": hyperfine.read,
    "iperf3": iperf3.read,
    "openssl": openssl.read,
    "pairs": pairs.read,
    "pgbench": pgbench.read,
    "redis-benchmark": redis_benchmark.read,
    "sockperf": sockperf.read,
    "stress-ng": stress_ng.read,
    "sysbench": sysbench.read,
    "wrk": wrk.read,
    "zstd": zstd.read,
}


def reader(name: str) -> Reader:
    """The reader of that name. Raises TareError (bad input) that names those there are."""
    if name not in READERS:
        raise bad_input("reader", f"there is no reader {name[:40]!r}", f"use one of: {', '.join(sorted(READERS))}")
    return READERS[name]
