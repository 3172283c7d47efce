"""`name=value` lines, for our own small probes and the fake runtime.

Fields: the names as they stand; values are plain decimals (exponents allowed) of zero or more, in the units that the
program documents. Every line must be such a pair, each name once; empty lines are skipped.
"""

import re
from collections.abc import Mapping

from harness.readers.output import Fields, figure, lines_of, unreadable

TOOL = "the probe"
_PAIR = re.compile(r"([a-z][a-z0-9_.-]{0,59})=([0-9]{1,18}(?:\.[0-9]{1,18})?(?:e[+-]?[0-9]{1,3})?)", re.ASCII)
_LARGEST = 64 * 1024


def read(stdout: str, parameters: Mapping[str, str | int | float]) -> Fields:
    """See the module. Raises TareError for any other line, a name twice, or a cut last line."""
    figures: dict[str, float] = {}
    for line in lines_of(TOOL, stdout, largest=_LARGEST).split("\n"):
        if not line:
            continue
        pair = _PAIR.fullmatch(line)
        if pair is None:
            raise unreadable(TOOL, "has a line that is not name=value", line)
        name, value = pair.groups()
        if name in figures:
            raise unreadable(TOOL, f"has {name} twice", line)
        figures[name] = figure(TOOL, float(value), name, positive=False)
    return Fields(TOOL, figures)
