"""fio 3 `--output-format=json --lat_percentiles=1 --percentile_list=50:99:99.9`, one job.

Fields for each of `read` and `write` that did any I/O: `read.bytes_per_second` (bytes/s), `read.iops` (1/s),
`read.latency_mean`, `read.latency_p50`, `read.latency_p99`, `read.latency_p99.9`, `read.latency_max` (s, from
submission to completion). With `--fsync` or `--fdatasync`: `sync.latency_mean`, `…_p50`, `…_p99`, `…_p99.9`,
`…_max` (s). And `elapsed` (s).
"""

from typing import Any

from harness.readers.base import NSEC, Parameters, Reader

_PERCENTILES = {"p50": "50.000000", "p99": "99.000000", "p99.9": "99.900000"}
_SIDES = ("read", "write")


class Fio(Reader):
    """Throughput and latency of one job."""

    tool = "fio"
    fields = (
        "elapsed",
        *(f"{side}.{name}" for side in _SIDES for name in ("bytes_per_second", "iops")),
        *(f"{part}.latency_{name}" for part in (*_SIDES, "sync") for name in ("mean", "max", *_PERCENTILES)),
    )

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for a job that failed, several jobs, and a figure that is missing or impossible."""
        jobs = self.member(self.json_object(stdout), "jobs")
        if not isinstance(jobs, list) or len(jobs) != 1:
            raise self.unreadable("is not of one job")
        job = jobs[0]
        if error := self.figure(self.member(job, "error"), "error", positive=False):
            raise self.unreadable(f"reports that the job failed with error {error:.0f}")
        figures = {"elapsed": self.figure(self.member(job, "job_runtime"), "job_runtime") / 1000}
        for name in _SIDES:
            side = self.member(job, name)
            if self.figure(self.member(side, "total_ios"), f"{name}.total_ios", positive=False) == 0:
                continue
            figures[f"{name}.bytes_per_second"] = self.figure(self.member(side, "bw_bytes"), f"{name}.bw_bytes")
            figures[f"{name}.iops"] = self.figure(self.member(side, "iops"), f"{name}.iops")
            figures |= self._latencies(name, side)
        sync = self.member(job, "sync")
        if self.figure(self.member(sync, "lat_ns", "N"), "sync.lat_ns.N", positive=False) > 0:
            figures |= self._latencies("sync", sync)
        if len(figures) == 1:
            raise self.unreadable("shows no I/O")
        return figures

    def _latencies(self, part: str, side: Any) -> dict[str, float]:
        latency = self.member(side, "lat_ns")
        found = {name: self.member(latency, name) for name in ("mean", "max")}
        found |= {name: self.member(latency, "percentile", key) for name, key in _PERCENTILES.items()}
        return {
            f"{part}.latency_{name}": self.figure(value, f"{part} latency {name}") * NSEC
            for name, value in found.items()
        }
