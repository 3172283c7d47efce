"""The base class of readers, which turn the output of a tool into figures.

Output is hostile until every number in it is found once, is whole and finite, and is not negative.
"""

import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import TareError
from harness.plugins import contained

NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,12})?)"
"""A plain decimal number as the tools print it: no sign, exponent, NaN or other digits."""

MSEC, USEC, NSEC, MEGA = 1e-3, 1e-6, 1e-9, 1e6
Parameters = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class FieldNames:
    """The names of the fields that there can be: those that are `known`, and all that match the regular expression
    `pattern`, which is written as `form` in messages."""

    known: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""

    def __contains__(self, name: str) -> bool:
        return re.fullmatch(self.expression, name) is not None

    @property
    def expression(self) -> str:
        """A regular expression that matches exactly these names; nothing where there are none."""
        choices = [re.escape(name) for name in self.known] + ([self.pattern] if self.pattern else [])
        return f"(?:{'|'.join(choices)})" if choices else r"(?!)"


class Fields(dict[str, float]):
    """The figures by name; a missing one raises TareError, which lists those that there are."""

    def __init__(self, tool: str, figures: Mapping[str, float]) -> None:
        super().__init__(figures)
        self.tool = tool

    def __missing__(self, name: str) -> float:
        raise unreadable(self.tool, f"has no {name}", ", ".join(self))


class Reader(ABC):
    """A reader: pure, and without state. A new one gives `tool`, `fields` and `parse`.

    `tool` names the program in messages. `fields` are the names of the figures that `parse` may return, in base units
    (s, bytes/s, 1/s, counts); further names match the regular expression `pattern`, which messages write as `form`.
    `largest` is the number of characters above which output is refused.
    """

    tool: str
    fields: tuple[str, ...] = ()
    pattern: str = ""
    form: str = ""
    largest: int = 4 * 2**20

    def names(self, parameters: Parameters) -> FieldNames:
        """The fields that output of a command with these parameters can have."""
        return FieldNames(self.fields, self.pattern, self.form)

    @abstractmethod
    def parse(self, stdout: str, parameters: Parameters) -> dict[str, float]:
        """The figures in the output by field. Raises TareError for output that is not whole or not plausible."""

    def read(self, stdout: str, parameters: Parameters) -> Fields:
        """The figures in the output. Raises TareError as `parse` does, and when a figure is taken that is missing.

        A PluginError when `parse` fails otherwise, or returns what is no finite number or not declared.
        """
        with contained(f"the reader of {self.tool}", self):
            figures, names = self.parse(stdout, parameters), self.names(parameters)
            if not isinstance(figures, Mapping):
                raise TypeError(f"parse returned {figures!r:.60}, not figures by name")
            for name, value in figures.items():
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise ValueError(f"{name!s:.60} = {value!r:.60} is not a finite number")
                if name not in names:
                    raise ValueError(f"{name!s:.60} is not among the fields that it declares")
        return Fields(self.tool, figures)

    def unreadable(self, problem: str, shown: str = "") -> TareError:
        """The error for wrong output; the end of `shown` is quoted, cut and made printable."""
        return unreadable(self.tool, problem, shown)

    def text(self, stdout: str) -> str:
        """`stdout` unchanged. Raises TareError when it is empty, too large, or ends within a line."""
        if not stdout.strip():
            raise self.unreadable("is empty")
        if len(stdout) > self.largest:
            raise self.unreadable(f"has {len(stdout)} characters, more than {self.largest}")
        if not stdout.endswith("\n"):
            raise self.unreadable("ends within a line", stdout)
        return stdout

    def only(self, pattern: str, text: str, what: str) -> re.Match[str]:
        """The one match of a whole-line `pattern`. Raises TareError, which names `what`, for none or several."""
        found = list(re.finditer(rf"^{pattern}$", text, re.MULTILINE))
        if len(found) != 1:
            raise self.unreadable(f"has {len(found) or 'no'} {what}" + (" lines" if found else " line"), text)
        return found[0]

    def figure(self, value: object, what: str, *, positive: bool = True) -> float:
        """`value` as a float. Raises TareError unless it is finite and above zero (or zero without `positive`)."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.unreadable(f"has no number for {what}", repr(value)[:300])
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            raise self.unreadable(f"has an impossible {what}", repr(number))
        return number

    def json_object(self, stdout: str) -> dict[str, Any]:
        """The JSON object that the output consists of. Raises TareError for a duplicate key, NaN or Infinity too."""
        try:
            parsed = json.loads(self.text(stdout), parse_constant=_refused, object_pairs_hook=_unique)
        except (ValueError, RecursionError) as error:
            raise self.unreadable(f"is not the JSON expected: {str(error)[:200]}", stdout) from None
        if not isinstance(parsed, dict):
            raise self.unreadable("is not a JSON object", stdout)
        return parsed

    def member(self, holder: object, *path: str | int) -> Any:
        """The value at `path` in parsed output. Raises TareError, which names the first part that is missing."""
        for depth, part in enumerate(path):
            try:
                holder = holder[part]  # type: ignore[index]
            except (KeyError, IndexError, TypeError):
                raise self.unreadable(f"has no {'.'.join(map(str, path[: depth + 1]))}") from None
        return holder


def unreadable(tool: str, problem: str, shown: str = "") -> TareError:
    """The error for wrong output of `tool`; the end of `shown` is quoted, cut and made printable."""
    details = ascii(shown[-300:]) if shown else ""
    hint = "see the case's raw output in the results"
    return TareError(f"the output of {tool} {problem}", details=details, hint=hint)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest of one or more `values` that `percent` % of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is there twice")
    return members
