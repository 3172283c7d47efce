"""The wall time of `tare --help`, compared with the start of the Python interpreter."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.process import run
from tests.perf.pairs import Times, alternate, table

STEP_SECONDS = 30.0


def compare(pairs: int) -> str:
    """The table of wall times."""
    tare = Path(sys.executable).parent / "tare"
    rounds = alternate(lambda: _time([tare, "--help"]), lambda: _time([sys.executable, "-c", "pass"]), pairs)
    return table("command line: wall time", ("tare --help", "python -c pass"), rounds)


def _time(argv: Sequence[str | Path]) -> Times:
    begin = time.monotonic()
    run(argv, Deadline.after(STEP_SECONDS))
    return {"gone": time.monotonic() - begin}
