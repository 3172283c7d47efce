"""Run the tare command on this host and return its samples."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.deadline import Deadline
from harness.errors import ExitCode, TareError
from harness.record.columnar import read_samples
from harness.record.row import frame
from harness.rig.lock import HELD

WORKLOADS = Path(__file__).parent / "workloads"
METRIC = "rate"
SEEDS = 10**9
"""The seeds of runs are below this number."""
LONGEST_SECONDS = 4 * 3600.0
LOCK_SECONDS = 1800.0
RETRY_SECONDS = 10.0
END_SECONDS = 120.0
"""The time that an interrupted run may take to clean up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The result of a run: the measured rows of its subjects, for all metrics, and seconds per case without set-up."""

    variant: str
    samples: pd.DataFrame
    seconds_per_case: float


def measure(suite: str, variant: str, rounds: int, seed: int) -> Measured | None:
    """Run `rounds` blocks of each workload of a suite in one variant; None if the variant cannot run here.

    Waits while another run holds the host lock. Raises TareError if the run fails; failed cases are rows without
    values.
    """
    argv = [sys.executable, "-m", "harness", "run", "--suite", suite, "--workloads-dir", str(WORKLOADS)]
    argv += ["--variant", variant, "--baseline", variant, "--blocks", str(rounds), "--seed", str(seed), "--json"]
    with tempfile.TemporaryDirectory(prefix="tare-validation-") as out:
        _run([*argv, "--out", out], Deadline.after(LOCK_SECONDS))
        rows = read_samples(next(Path(out).iterdir()) / "samples.csv")
    samples = frame([row for row in rows if row.role == "subject" and row.phase == "measured"])
    if samples.empty or samples["value"].isna().all():
        return None
    return Measured(variant=variant, samples=samples, seconds_per_case=_pace(samples))


def _pace(samples: pd.DataFrame) -> float:
    ends = pd.to_datetime(samples["time"], format="ISO8601")
    cases = samples["case"].nunique()
    return float((ends.max() - ends.min()).total_seconds()) / max(cases - 1, 1)


def _run(argv: Sequence[str], lock: Deadline) -> None:
    while True:
        status, output = _once(argv)
        if status in (ExitCode.FINE, ExitCode.CASE_FAILED):
            return
        if HELD not in output or lock.left <= RETRY_SECONDS:
            raise TareError(f"the run exited with status {status}", details=output[-1000:])
        print(f"  {HELD}: waiting", file=sys.stderr, flush=True)
        time.sleep(RETRY_SECONDS)


def _once(argv: Sequence[str]) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output, _child(argv, output.fileno()) as child:
        status = child.wait(LONGEST_SECONDS)
        output.seek(0)
        return status, output.read().decode(errors="replace")


@contextlib.contextmanager
def _child(argv: Sequence[str], stderr: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Start a run; it receives SIGTERM if this program ends first."""
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait(END_SECONDS)
