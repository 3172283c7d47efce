"""How many samples can be compared: tare's scan of a large CSV and Parquet beside pandas doing the same by hand.

Each way runs in a process of its own (`python -m tests.perf.scale WAY FILE`), so that its peak of memory is its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RUNS, WORKLOADS, BLOCKS = 1000, 10, 20
VARIANTS = ("native", "docker/bridge", "docker/host", "libvirt/kvm", "libvirt/kvm-qcow2")
CASES = RUNS * WORKLOADS * BLOCKS * len(VARIANTS)
LEAST_ITERATIONS = 10
PANDAS_BYTES = 250
"""Memory that pandas takes per row with the columns of USED; measured."""
PANDAS_MOST = 10 * 2**30
USED = ["run", "workload", "variant", "block", "attempt", "role", "metric", "phase", "value", "valid"]


@dataclass(frozen=True, slots=True)
class Spent:
    """What one way took: wall seconds, the processors' seconds, peak of resident memory in bytes, series found."""

    seconds: float
    busy: float
    peak: int
    found: int


def compare(rows_csv: int = 10_000_000, rows_parquet: int = 100_000_000) -> str:
    """The table; nothing remains of the files, which take some 500 bytes per row of CSV and 7 of Parquet."""
    lines = [f"scale: {os.cpu_count()} CPUs; a warm page cache; memory is the process's peak"]
    with tempfile.TemporaryDirectory(prefix="tare-scale-") as folder:
        for name, rows in (("samples.csv", rows_csv), ("samples.parquet", rows_parquet)):
            path = Path(folder) / name
            if rows:
                written = write(path, rows)
                lines += [f"  {written:,} rows, {path.stat().st_size / 1e6:.0f} MB of {path.suffix[1:]}"]
                lines += [_line(way, path, written) for way in WAYS]
                path.unlink()
    return "\n".join(lines)


def write(path: Path, rows: int) -> int:
    """Write made-up samples of every column, about `rows`, ten or more per case; returns how many."""
    import duckdb

    iterations = max(LEAST_ITERATIONS, rows // CASES)
    cases = min(CASES, rows // LEAST_ITERATIONS)
    with duckdb.connect() as connection:
        for setting in ("memory_limit = '4GB'", "enable_progress_bar = false", "preserve_insertion_order = false"):
            connection.execute(f"SET {setting}")
        connection.execute(f"CREATE TABLE cases AS {_cases(cases)}")
        form = "(FORMAT csv, HEADER)" if path.suffix == ".csv" else "(FORMAT parquet, COMPRESSION zstd)"
        connection.execute(f"COPY ({_samples(iterations)}) TO '{path}' {form}")
    return cases * iterations


def _cases(count: int) -> str:
    variants = ", ".join(f"'{name}'" for name in VARIANTS)
    return f"""
        SELECT *, printf('20261123T092444Z-host-%05d', r) AS run, printf('h-%08x', r % 50) AS host,
            strftime(TIMESTAMP '2026-11-23 09:24:44' + to_seconds(i), '%Y-%m-%dT%H:%M:%S') AS begun,
            printf('cpu.made-up-%d', w) AS workload, printf('sha256:%064x', 4096 + w) AS definition,
            [{variants}][v + 1] AS variant, printf('sha256:%064x', v) AS image,
            printf('cpu.made-up-%d_%d_b%03d_a1', w, v, b) AS name, printf('tare-%05d-%d-%d-%d', r, w, b, v) AS instance
        FROM (
            SELECT i, i // {CASES // RUNS} AS r, i // {len(VARIANTS)} % {BLOCKS} AS b,
                i // {len(VARIANTS) * BLOCKS} % {WORKLOADS} AS w, i % {len(VARIANTS)} AS v
            FROM range({count}) t(i)
        )
    """


def _samples(iterations: int) -> str:
    return f"""
        SELECT 1::BIGINT AS schema, run, 'default' AS suite, host, 'none' AS host_virtualized,
            begun || '.' || lpad(k::VARCHAR, 6, '0') || 'Z' AS time, workload, definition,
            '{{"max-prime":10000,"threads":1}}' AS parameters, b * {WORKLOADS} + w AS block, v AS position,
            name AS "case", 1::BIGINT AS attempt, instance, 'subject' AS role, variant,
            split_part(variant, '/', 1) AS runtime, CASE WHEN v > 2 THEN 'kvm' ELSE 'none' END AS accelerator, image,
            '6.18.0' AS kernel, '1vcpu-1024MiB@1' AS shape, '1' AS cpus, 'events' AS metric, '1/s' AS unit,
            'higher' AS direction, 'log' AS scale, 'median' AS summary, k AS iteration, 'measured' AS phase,
            1180 / (1 + v * 0.02) * (1 + random() / 50) AS value, 10 + random() / 100 AS elapsed,
            2445::DOUBLE AS mhz, 0::DOUBLE AS steal, true AS valid, '' AS reason
        FROM (SELECT *, unnest(range(1, {iterations + 1})) AS k FROM cases)
    """


def by_tare(path: Path) -> int:
    """Every row checked, and the moments of every series."""
    from harness.analysis.blocks import moments
    from harness.record.columnar import open_source

    with open_source(path) as source:
        return len(moments(source))


def by_pandas(path: Path) -> int:
    """The usual way: the columns that are needed, nothing checked, medians, logarithms, mean and variance."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path, usecols=USED)
    table = table[(table["role"] == "subject") & (table["phase"] == "measured") & table["valid"]]
    case = ["run", "workload", "metric", "block", "variant"]
    values = table.groupby(case)["value"].median().unstack("variant")
    d = values.div(values["native"], axis=0).apply(np.log)
    return int(d.groupby(["run", "workload", "metric"]).agg(["mean", "var"]).shape[0] * len(VARIANTS))


def by_reading(path: Path) -> int:
    """DuckDB's reading of one column, nothing checked or summed up: what bounds any way."""
    import duckdb

    with duckdb.connect() as connection:
        relation = f"read_csv('{path}', all_varchar = true)" if path.suffix == ".csv" else f"'{path}'"
        return len(connection.execute(f"SELECT sum(value::DOUBLE) FROM {relation}").fetchall())


WAYS: dict[str, Callable[[Path], int]] = {"tare": by_tare, "pandas": by_pandas, "reading": by_reading}


def _line(way: str, path: Path, rows: int) -> str:
    if way == "pandas" and (reason := _unfit(path, rows)):
        return f"    {way:<8} skipped, {reason}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.perf.scale", way, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return f"    {way:<8} failed: {done.stderr.strip().splitlines()[-1:]}"
    spent = Spent(**json.loads(done.stdout))
    speed = path.stat().st_size / 1e6 / spent.seconds
    return (
        f"    {way:<8}{spent.seconds:>8.1f} s{spent.busy:>9.1f} s of CPU{spent.peak / 1e6:>9.0f} MB"
        f"{rows / 1e6 / spent.seconds:>8.1f} million rows/s{speed:>8.0f} MB/s"
    )


def _unfit(path: Path, rows: int) -> str:
    if path.suffix == ".parquet":
        return "it reads no Parquet without pyarrow, which tare does not need"
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (need := rows * PANDAS_BYTES) > min(PANDAS_MOST, free):
        return f"it would take about {need / 2**30:.0f} GiB of memory"
    return ""


def _peak() -> int:
    """The peak of this process's resident memory in bytes; getrusage would begin with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """One way on one file; prints what it took as JSON."""
    way, path = sys.argv[1], Path(sys.argv[2])
    begin, busy = time.monotonic(), time.process_time()
    found = WAYS[way](path)
    spent = Spent(time.monotonic() - begin, time.process_time() - busy, _peak(), found)
    print(json.dumps({name: getattr(spent, name) for name in Spent.__dataclass_fields__}))


if __name__ == "__main__":
    main()
