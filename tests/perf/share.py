"""The share of a run's wall-clock time that is spent in measured iterations."""

import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from harness.errors import TareError
from harness.record.journal import Event, read

SUITE = ("run", "--suite", "default", "--workload", "cpu.sysbench", "--seed", "1")
LONGEST_SECONDS = 900


def compare(blocks: int) -> str:
    """Run one workload of the default suite; the share of its iterations in the wall-clock time, as text."""
    with tempfile.TemporaryDirectory(prefix="tare-perf-") as out:
        argv = [sys.executable, "-m", "harness", *SUITE, "--blocks", str(blocks), "--out", out]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False)
        if done.returncode != 0:
            raise TareError("the run of the comparison failed", details=done.stderr[-1000:])
        events = read(next(Path(out).iterdir()))
    measured, whole = measured_seconds(events), loop_seconds(events)
    return (
        f"share of wall-clock spent measuring (cpu.sysbench, {blocks} blocks): {measured:.1f} s of {whole:.1f} s, "
        + (f"{measured / whole:.0%}")
    )


def measured_seconds(events: list[Event]) -> float:
    """The seconds of all iterations including warm-ups; the metrics of one iteration share its time."""
    iterations = {
        (event.data["case"], event.data["iteration"]): event.data["elapsed"] or 0.0
        for event in events
        if event.event == "sample"
    }
    return sum(iterations.values())


def loop_seconds(events: list[Event]) -> float:
    """The seconds from the start of the first block to the end of the last."""
    times = [datetime.fromisoformat(event.time) for event in events if event.event.startswith("block-")]
    return (times[-1] - times[0]).total_seconds()
