"""Our own gate (harness/inside/gate.c): a line for each system call, its number and how it answered.

Fields, all counts: `allowed` (it answered as one that the place lets through), `refused` (EPERM), `absent` (ENOSYS: the
kernel has it not, or a filter says so), `killed` (SIGSYS: a filter ends who calls it), `skipped` (not called).
"""

import errno
import re
import signal
from collections import Counter
from collections.abc import Mapping

from harness.readers.output import Fields, lines_of, unreadable

TOOL = "the gate"
WORDS = ("allowed", "refused", "absent", "killed", "skipped")
_LINE = re.compile(r"([0-9]{1,4}) (-|0|E[0-9]{1,3}|S[0-9]{1,2})", re.ASCII)
_SPECIAL = {f"E{errno.EPERM}": "refused", f"E{errno.ENOSYS}": "absent", f"S{signal.SIGSYS}": "killed", "-": "skipped"}


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError as `answers` does."""
    times = Counter(_SPECIAL.get(answer, "allowed") for answer in answers(stdout).values())
    return Fields(TOOL, {word: float(times[word]) for word in WORDS})


def answers(stdout: str) -> dict[int, str]:
    """Each call's answer as it was printed. Raises TareError for any other line, a gap, or a cut last line."""
    found: dict[int, str] = {}
    for line in lines_of(TOOL, stdout).splitlines():
        match = _LINE.fullmatch(line)
        if match is None or int(match[1]) != len(found):
            raise unreadable(TOOL, "has a line that is not the next call's", line)
        found[int(match[1])] = match[2]
    return found
