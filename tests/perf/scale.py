"""Time and memory to read and check large files of samples, beside DuckDB and pandas on the same files.

DuckDB checks nothing in its ways. `sum` is the yardstick: the rows counted and every column summed, a text by its
length. `count` reads one column only: the rows counted and `value` summed. `blocks` is a lower bound for Parquet: the
rows grouped by block. `check` is tare reading and checking every row, and `pair` is `check` and the comparison of the
blocks. Each way runs in a process of its own (`python -m tests.perf.scale WAY FILE`), so that its peak of memory is its
own.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from harness.deadline import Deadline
from harness.process import run

RUNS, WORKLOADS, BLOCKS = 1000, 10, 20
VARIANTS = ("native", "docker/bridge", "docker/host", "libvirt/kvm", "libvirt/kvm-qcow2")
CASES = RUNS * WORKLOADS * BLOCKS * len(VARIANTS)
LEAST_ITERATIONS = 10
PANDAS_BYTES = 250
"""Memory that pandas takes per row with the columns of USED; measured."""
PANDAS_MOST = 10 * 2**30
BYTES_PER_ROW = 600
ROUNDS = 3
HELP_PAIRS = 10
LONGEST_SECONDS = 900.0
USED = ["run", "workload", "variant", "block", "attempt", "role", "metric", "phase", "value", "valid"]


@dataclass(frozen=True, slots=True)
class Spent:
    """The cost of one way: wall seconds, CPU seconds, peak of resident memory in bytes, and the series found."""

    seconds: float
    busy: float
    peak: int
    found: int


def compare(rows: int = 10_000_000) -> str:
    """The table. The files take about 500 bytes per row of CSV and 15 of Parquet, and are removed."""
    # Not in the processes of the ways: it imports SciPy.
    from tests.perf import starts

    lines = [f"scale: {os.cpu_count()} CPUs; warm page cache; medians of {ROUNDS} rounds; memory is the process's peak"]
    with tempfile.TemporaryDirectory(prefix="tare-scale-") as folder:
        for path, ways in ((Path(folder) / name, ways) for name, ways in FILES.items()):
            if (free := shutil.disk_usage(folder).free) < rows * BYTES_PER_ROW:
                lines.append(f"  {path.suffix[1:]}: skipped, {free / 1e9:.0f} GB free in {folder}")
                continue
            written = write(path, rows)
            lines.append(f"  {written:,} rows, {path.stat().st_size / 1e6:.0f} MB of {path.suffix[1:]}")
            lines += _beside(path, ways, written)
            path.unlink()
    return "\n".join([*lines, starts.compare(HELP_PAIRS)])


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


def by_check(path: Path) -> int:
    """Every row read and checked."""
    from harness.record.columnar import open_source

    with open_source(path) as source:
        return int(source.connection.table("series").count("*").fetchall()[0][0])


def by_pair(path: Path) -> int:
    """Every row read and checked, and the moments of every series."""
    from harness.analysis.blocks import moments
    from harness.record.columnar import open_source

    with open_source(path) as source:
        return len(moments(source))


def by_pandas(path: Path) -> int:
    """The usual way: reads the needed columns, checks nothing; medians, logarithms, mean and variance."""
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path, usecols=USED)
    table = table[(table["role"] == "subject") & (table["phase"] == "measured") & table["valid"]]
    case = ["run", "workload", "metric", "block", "variant"]
    values = table.groupby(case)["value"].median().unstack("variant")
    d = values.div(values["native"], axis=0).apply(np.log)
    return int(d.groupby(["run", "workload", "metric"]).agg(["mean", "var"]).shape[0] * len(VARIANTS))


def by_count(path: Path) -> int:
    """The rows counted and `value` summed; every column of a CSV is text."""
    return _fetched(f"SELECT count(*), sum(value::DOUBLE) FROM {_relation(path)}")


def by_sum(path: Path) -> int:
    """The rows counted and every column summed, a text by its length; every column of a CSV is text."""
    from harness.record.row import COLUMNS, RULES

    def summed(name: str) -> str:
        text = path.suffix == ".csv" or RULES[name].sql == "VARCHAR"
        return f'sum(strlen("{name}"))' if text else f'sum("{name}"::DOUBLE)'

    return _fetched(f"SELECT count(*), {', '.join(map(summed, COLUMNS))} FROM {_relation(path)}")


def by_blocks(path: Path) -> int:
    """The rows grouped by series and block, and the values of each group collected."""
    keys = "hash(run, workload, metric, variant, role), block, attempt"
    return _fetched(
        f"SELECT count(*), sum(len(found)) FROM (SELECT list(value) AS found FROM '{path}' GROUP BY {keys})"
    )


def _relation(path: Path) -> str:
    return f"read_csv('{path}', all_varchar = true)" if path.suffix == ".csv" else f"'{path}'"


def _fetched(statement: str) -> int:
    import duckdb

    with duckdb.connect() as connection:
        return len(connection.execute(statement).fetchall())


WAYS: dict[str, Callable[[Path], int]] = {
    "sum": by_sum,
    "count": by_count,
    "blocks": by_blocks,
    "check": by_check,
    "pair": by_pair,
    "pandas": by_pandas,
}
FILES = {
    "samples.csv": ("sum", "count", "check", "pair", "pandas"),
    "samples.parquet": ("sum", "count", "blocks", "check", "pair"),
}


def _beside(path: Path, ways: Sequence[str], rows: int) -> Iterator[str]:
    """One line per way; the ways alternate, so that all meet the same load of the host."""
    skipped = {"pandas": reason} if (reason := _unfit(rows)) else {}
    fit = [way for way in ways if way not in skipped]
    found = [{way: _spent(way, path) for way in fit} for _ in range(ROUNDS)]
    for way in fit:
        own = [one[way] for one in found]
        seconds = median(one.seconds for one in own)
        ratios = (
            f"{median(one[way].seconds / one[base].seconds for one in found):>7.1f} x {base}, "
            f"{median(one[way].busy / one[base].busy for one in found):.1f} x its CPU time"
            for base in ("sum", "count")
        )
        yield (
            f"    {way:<8}{seconds:>8.2f} s{median(one.busy for one in own):>9.2f} s of CPU"
            f"{max(one.peak for one in own) / 1e6:>9.0f} MB{rows / 1e6 / seconds:>8.1f} million rows/s{''.join(ratios)}"
        )
    yield from (f"    {way:<8} skipped, {reason}" for way, reason in skipped.items())


def _spent(way: str, path: Path) -> Spent:
    argv = [sys.executable, "-m", "tests.perf.scale", way, str(path)]
    done = run(argv, Deadline.after(LONGEST_SECONDS))
    return Spent(**json.loads(done.stdout))


def _unfit(rows: int) -> str:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if (need := rows * PANDAS_BYTES) > min(PANDAS_MOST, free):
        return f"it would take about {need / 2**30:.0f} GiB of memory"
    return ""


def _peak() -> int:
    """The peak of this process's resident memory in bytes; getrusage would begin with its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Run one way on one file and print its cost as JSON."""
    way, path = sys.argv[1], Path(sys.argv[2])
    begin, busy = time.monotonic(), time.process_time()
    found = WAYS[way](path)
    spent = Spent(time.monotonic() - begin, time.process_time() - busy, _peak(), found)
    print(json.dumps({name: getattr(spent, name) for name in Spent.__dataclass_fields__}))


if __name__ == "__main__":
    main()
