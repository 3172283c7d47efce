"""Time and false alarms until a ±2 % interval: tare's paired blocks compared with the usual sequential runs.

The usual practice runs one arm N times and then the other, and compares them with Welch's t. Both use tare's cases, so
an instance takes the same time in both; blocks also include their idle window.
"""

import json
import math
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis.blocks import block_values
from harness.analysis.overhead import overheads
from harness.errors import TareError
from harness.record.columnar import read_samples
from harness.record.journal import Event, read
from harness.record.manifest import read_manifest
from harness.record.row import frame
from tests.validation import engine, live
from tests.validation.rounds import compare as compare_twins
from tests.validation.rounds import drawn, paired, rejects, sequential_rejects, windows

WORKLOAD, METRIC, VARIANT = "cpu.sysbench", "rate", "docker/bridge"
PRECISION = 0.02
PILOT = 10
MOST = 25
"""The maximum number of runs per arm in the usual practice."""
TWIN_ROUNDS = 80
COMPARISONS = 400
LONGEST_SECONDS = 1800


def compare() -> str:
    """The wall time and false alarms of both methods, as text."""
    ours, usual, alarms = _blocks(), _sequential(), _alarms()
    return "\n".join(
        [
            f"rigour: {WORKLOAD}, {VARIANT} against native, to a 95 % interval of ±{PRECISION:.0%}",
            f"  {'':<34}{'wall time':>10}{'runs':>7}  {'overhead [95 %]':<26}false alarms (A/A, nominal 5 %)",
            f"  {'blocks, Stein, Student on pairs':<34}{ours}  {alarms[0]}",
            f"  {'sequential runs, Welch':<34}{usual}  {alarms[1]}",
        ]
    )


def _blocks() -> str:
    with tempfile.TemporaryDirectory(prefix="tare-perf-") as out:
        folder = _run(out, VARIANT, "--precision", f"{PRECISION:.0%}")
        samples = frame(read_samples(folder / "samples.csv"))
        known = read_manifest(folder)
        seconds = _seconds(read(folder), "block")
    rows = samples[samples["workload"] == WORKLOAD]
    found = next(one for one in overheads(rows) if one.metric == METRIC)
    half = found.interval(0.95)
    if half is None or half.low is None or half.high is None:
        raise TareError("the run with blocks has no interval", hint="tare doctor")
    return _line(sum(seconds), 2 * len(known["plan"]), half.value, half.low, half.high)


def _sequential() -> str:
    """The result of the usual practice: the smallest N, from PILOT on, with a Welch interval of ±PRECISION."""
    values, seconds = [], []
    with tempfile.TemporaryDirectory(prefix="tare-perf-") as out:
        for variant in ("native", VARIANT):
            folder = _run(str(Path(out) / variant.replace("/", "-")), variant, "--blocks", str(MOST), baseline=variant)
            found = block_values(frame(read_samples(folder / "samples.csv")))
            own = found[(found["metric"] == METRIC)].sort_values("block")["value"]
            values.append(np.log(own.to_numpy(dtype=float)))
            seconds.append(_seconds(read(folder), "case"))
    for n in range(PILOT, min(len(one) for one in values) + 1):
        result = stats.ttest_ind(values[0][:n], values[1][:n], equal_var=False)
        low, high = result.confidence_interval()
        if (high - low) / 2 <= math.log1p(PRECISION):
            break
    value = float(values[0][:n].mean() - values[1][:n].mean())
    late = " (not reached)" if (high - low) / 2 > math.log1p(PRECISION) else ""
    taken = sum(sum(one[:n]) for one in seconds)
    return _line(taken, 2 * n, *(math.expm1(end) for end in (value, low, high))) + late


def _alarms() -> tuple[str, str]:
    """The false alarms of both methods on one series of identical native instances, in windows of PILOT rounds."""
    found = engine.measure(live.SUITE, "native", TWIN_ROUNDS, 11)
    if found is None:
        raise TareError("native cannot run here", hint="tare doctor")
    rows = paired(found.samples, engine.METRIC, live.ARMS)
    ours = [rejects(compare_twins(one, "one")) for one in drawn(rows, PILOT, COMPARISONS, np.random.default_rng(11))]
    usual = [sequential_rejects(one) for one in _overlapping(rows)]
    disjoint = len(list(windows(rows, PILOT)))
    note = f"{PILOT} a side, windows overlap over {disjoint} disjoint ones"
    return (f"{np.mean(ours):.1%} of {len(ours)}; {note}", f"{np.mean(usual):.1%} of {len(usual)}; {note}")


def _overlapping(rows: pd.DataFrame) -> list[pd.DataFrame]:
    last = int(rows["block"].max()) - PILOT + 1
    return [rows[rows["block"].between(start, start + PILOT - 1)] for start in range(last + 1)]


def _line(seconds: float, instances: int, value: float, low: float, high: float) -> str:
    return f"{seconds:>8.1f} s{instances:>7}  {f'{value:+.1%} [{low:+.1%}, {high:+.1%}]':<26}"


def _run(out: str, variant: str, *words: str, baseline: str = "native") -> Path:
    argv = [sys.executable, "-m", "harness", "run", "--suite", "default", "--workload", WORKLOAD, "--seed", "1"]
    argv += ["--variant", variant, "--baseline", baseline, "--out", out, "--json", *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
    if done.returncode != 0:
        raise TareError("a run of the comparison failed", details=done.stderr[-1000:])
    return Path(json.loads(done.stdout)["directory"])


def _seconds(events: list[Event], what: str) -> list[float]:
    """The duration in seconds of each block or case, in order."""
    opened, closed = ([e for e in events if e.event == f"{what}-{end}"] for end in ("opened", "closed"))
    return [
        (datetime.fromisoformat(after.time) - datetime.fromisoformat(before.time)).total_seconds()
        for before, after in zip(opened, closed, strict=True)
    ]
