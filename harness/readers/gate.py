"""tare's own gate (harness/inside/gate.c): one line for each system call, with its number and its answer.

Fields, all counts: `allowed` (any other answer), `refused` (EPERM), `absent` (ENOSYS: not in this kernel, or refused
so by a filter), `killed` (SIGSYS: a filter ends the caller), `skipped` (not called).
"""

import errno
import re
import signal
from collections import Counter

from harness.readers.base import Parameters, Reader

_LINE = re.compile(r"([0-9]{1,4}) (-|0|E[0-9]{1,3}|S[0-9]{1,2})", re.ASCII)
_SPECIAL = {f"E{errno.EPERM}": "refused", f"E{errno.ENOSYS}": "absent", f"S{signal.SIGSYS}": "killed", "-": "skipped"}


class Gate(Reader):
    """System calls, counted by their answers."""

    tool = "the gate"
    fields = ("allowed", "refused", "absent", "killed", "skipped")

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError as `answers` does."""
        times = Counter(_SPECIAL.get(answer, "allowed") for answer in self.answers(stdout).values())
        return {name: float(times[name]) for name in self.fields}

    def answers(self, stdout: str) -> dict[int, str]:
        """Each call's answer as printed. Raises TareError for any other line, a gap, or a cut last line."""
        found: dict[int, str] = {}
        for line in self.text(stdout).splitlines():
            match = _LINE.fullmatch(line)
            if match is None or int(match[1]) != len(found):
                raise self.unreadable("has a line that is not the next call's", line)
            found[int(match[1])] = match[2]
        return found
