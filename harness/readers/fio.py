"""fio 3 `--output-format=json --lat_percentiles=1 --percentile_list=50:99:99.9`, one job.

Fields for each of `read` and `write` that did any I/O: `read.bytes_per_second` (bytes/s), `read.iops` (1/s),
`read.latency_mean`, `read.latency_p50`, `read.latency_p99`, `read.latency_p99.9`, `read.latency_max` (s, from
submission to completion). With `--fsync` or `--fdatasync`: `sync.latency_mean`, `…_p50`, `…_p99`,
`…_p99.9`, `…_max` (s). And `elapsed` (s).
"""

from collections.abc import Mapping
from typing import Any

from harness.readers.output import NSEC, Fields, figure, json_object, member, unreadable

TOOL = "fio"
_PERCENTILES = {"p50": "50.000000", "p99": "99.000000", "p99.9": "99.900000"}


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for a job that failed, several jobs, or what is missing or impossible."""
    jobs = member(TOOL, json_object(TOOL, stdout), "jobs")
    if not isinstance(jobs, list) or len(jobs) != 1:
        raise unreadable(TOOL, "is not of one job")
    job = jobs[0]
    if error := figure(TOOL, member(TOOL, job, "error"), "error", positive=False):
        raise unreadable(TOOL, f"says that the job failed with error {error:.0f}")
    figures = {"elapsed": figure(TOOL, member(TOOL, job, "job_runtime"), "job_runtime") / 1000}
    for direction in ("read", "write"):
        side = member(TOOL, job, direction)
        if figure(TOOL, member(TOOL, side, "total_ios"), f"{direction}.total_ios", positive=False) == 0:
            continue
        figures[f"{direction}.bytes_per_second"] = figure(TOOL, member(TOOL, side, "bw_bytes"), f"{direction}.bw_bytes")
        figures[f"{direction}.iops"] = figure(TOOL, member(TOOL, side, "iops"), f"{direction}.iops")
        figures |= _latencies(direction, side)
    sync = member(TOOL, job, "sync")
    if figure(TOOL, member(TOOL, sync, "lat_ns", "N"), "sync.lat_ns.N", positive=False) > 0:
        figures |= _latencies("sync", sync)
    if len(figures) == 1:
        raise unreadable(TOOL, "shows no I/O")
    return Fields(TOOL, figures)


def _latencies(direction: str, side: Any) -> dict[str, float]:
    latency = member(TOOL, side, "lat_ns")
    found = {name: member(TOOL, latency, name) for name in ("mean", "max")}
    found |= {name: member(TOOL, latency, "percentile", key) for name, key in _PERCENTILES.items()}
    return {
        f"{direction}.latency_{name}": figure(TOOL, value, f"{direction} latency {name}") * NSEC
        for name, value in found.items()
    }
