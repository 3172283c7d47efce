"""What readers share: output is hostile until every number in it is found once, whole, finite and not negative."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.errors import TareError

LARGEST = 4 * 2**20
"""Characters of output that a reader will look at; the tools print some kilobytes."""

NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,12})?)"
"""A plain decimal number as the tools print it; no sign, exponent, NaN or other digits."""

USEC, NSEC, MEGA = 1e-6, 1e-9, 1e6


class Fields(dict[str, float]):
    """The figures by name; one that is not there raises TareError, saying which there are."""

    def __init__(self, tool: str, figures: Mapping[str, float]) -> None:
        super().__init__(figures)
        self.tool = tool

    def __missing__(self, name: str) -> float:
        raise unreadable(self.tool, f"has no {name}", ", ".join(self))


Reader = Callable[[str, Mapping[str, str | int | float]], Fields]
"""`(stdout, parameters) -> fields`; raises TareError that says what is missing."""


def unreadable(tool: str, problem: str, shown: str = "") -> TareError:
    """The error for output that does not say what it should; `shown` is quoted, cut and made printable."""
    details = ascii(shown[-300:]) if shown else ""
    return TareError(
        f"the output of {tool} {problem}", details=details, hint="see the case's raw output in the results"
    )


def lines_of(tool: str, stdout: str, *, largest: int = LARGEST) -> str:
    """`stdout` as it is, once it is of a fair size and ends with a whole line."""
    if not stdout.strip():
        raise unreadable(tool, "is empty")
    if len(stdout) > largest:
        raise unreadable(tool, f"has {len(stdout)} characters, more than {largest}")
    if not stdout.endswith("\n"):
        raise unreadable(tool, "ends within a line", stdout)
    return stdout


def only(tool: str, pattern: str, text: str, what: str) -> re.Match[str]:
    """The one place where a whole-line `pattern` matches; none or several are errors that name `what`."""
    found = list(re.finditer(rf"^{pattern}$", text, re.MULTILINE))
    if len(found) != 1:
        raise unreadable(tool, f"has {len(found) or 'no'} {what}" + (" lines" if found else " line"), text)
    return found[0]


def figure(tool: str, value: object, what: str, *, positive: bool = True) -> float:
    """`value` as a float that is finite and above zero (without `positive`, zero too)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unreadable(tool, f"has no number for {what}", repr(value)[:300])
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < 0 or (positive and number == 0):
        raise unreadable(tool, f"has an impossible {what}", repr(number))
    return number


def json_object(tool: str, stdout: str) -> dict[str, Any]:
    """The one JSON object that the output consists of; a key twice, NaN or Infinity is an error."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a key is there twice")
        return members

    try:
        parsed = json.loads(lines_of(tool, stdout), parse_constant=refuse, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise unreadable(tool, f"is not the JSON expected: {str(error)[:200]}", stdout) from None
    if not isinstance(parsed, dict):
        raise unreadable(tool, "is not a JSON object", stdout)
    return parsed


def member(tool: str, holder: object, *path: str | int) -> Any:
    """What is at `path` in parsed output; raises TareError that names the first part which is missing."""
    for depth, part in enumerate(path):
        try:
            holder = holder[part]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            raise unreadable(tool, f"has no {'.'.join(map(str, path[: depth + 1]))}") from None
    return holder


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of `values` (one or more, in any order) that `percent` % of them do not exceed: the nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
