"""`name=value` lines, for tare's own small probes, the fake runtime and your own scripts.

Fields: the names as printed. Values are plain decimals of zero or more (exponents allowed), in the units that the
program documents. Every line must be such a pair, with each name once; empty lines are skipped.
"""

import re

from harness.readers.base import Parameters, Reader

_NAME = r"[a-z][a-z0-9_.-]{0,59}"
_PAIR = re.compile(rf"({_NAME})=([0-9]{{1,18}}(?:\.[0-9]{{1,18}})?(?:e[+-]?[0-9]{{1,3}})?)", re.ASCII)


class Pairs(Reader):
    """Any names and their values."""

    tool = "the probe"
    pattern = _NAME
    form = "NAME"
    largest = 64 * 1024

    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """Raises TareError for any other line, a duplicate name, or a cut last line."""
        figures: dict[str, float] = {}
        for line in filter(None, self.text(stdout).split("\n")):
            pair = _PAIR.fullmatch(line)
            if pair is None:
                raise self.unreadable("has a line that is not name=value", line)
            name, value = pair.groups()
            if name in figures:
                raise self.unreadable(f"has {name} twice", line)
            figures[name] = self.figure(float(value), name, positive=False)
        return figures
