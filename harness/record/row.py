"""A row of the CSV: its columns, and what each field may hold. docs/csv.md has the table.

`RULES` states the rules once, as data: the checks of a row in Python and the SQL of `harness.record.checks` use them.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from harness.errors import TareError
from harness.model import NAME, VARIANT_NAME

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

SCHEMA = 1
LONGEST_TEXT = 200
LONGEST_REASON = 500
LONGEST_PARAMETERS = 8192
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_FORMULA = ("=", "+", "-", "@")
_ANGLES = str.maketrans("<>", "‹›")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sample, with the fields in the CSV's order. `elapsed` and `steal` are seconds, `mhz` is MHz.

    `parameters` is a JSON object as text (see `parameters_text`). The row of a failed case has no `value`, and its
    `valid` is False. The row of a discarded block keeps its value. `reason` explains both.
    """

    schema: int = SCHEMA
    run: str
    suite: str
    host: str
    host_virtualized: str
    time: str
    workload: str
    definition: str
    parameters: str
    block: int
    position: int
    case: str
    attempt: int
    instance: str
    role: str
    variant: str
    runtime: str
    accelerator: str
    image: str
    kernel: str
    shape: str
    cpus: str
    metric: str
    unit: str
    direction: str
    scale: str
    summary: str
    iteration: int
    phase: str
    value: float | None
    elapsed: float | None
    mhz: float | None
    steal: float | None
    valid: bool
    reason: str

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Row":
        """The checked row of a journal's `sample` event. `reason` is made printable.

        Raises FieldError for the first field that is absent, unknown, of a wrong type or out of range.
        """
        for name in data:
            if name not in RULES:
                raise FieldError(name, "is not a column", f"the columns are {', '.join(COLUMNS)}")
        values: dict[str, Any] = {}
        for name in COLUMNS:
            if name not in data:
                raise FieldError(name, "is missing", "give every column; write None or '' for an unknown value")
            value = printable(data[name]) if name == "reason" and isinstance(data[name], str) else data[name]
            values[name] = float(value) if name in FLOATS and type(value) is int else value
        row = cls(**values)
        check(row)
        return row

    def as_data(self) -> dict[str, Any]:
        """The row as a `sample` event's data."""
        return asdict(self)


class FieldError(Exception):
    """A field that a row may not hold: its column, the problem and the fix."""

    def __init__(self, column: str, problem: str, fix: str) -> None:
        super().__init__(f"{column} {problem}")
        self.column = column
        self.problem = problem
        self.fix = fix


COLUMNS = tuple(field.name for field in fields(Row))
FLOATS = frozenset({"value", "elapsed", "mhz", "steal"})
INTEGERS = frozenset({"schema", "block", "position", "attempt", "iteration"})
IDENTITY = ("run", "workload", "variant", "block", "attempt", "instance", "role", "metric", "phase", "iteration")
"""The columns that identify a sample, besides whether its value is empty."""
MEANING = ("unit", "direction", "scale")
"""The columns that must not change within one metric of one workload."""


class Consistency:
    """Refuses a row that contradicts an earlier one of its run: such a file could not be read."""

    def __init__(self) -> None:
        self._meanings: dict[tuple[str, str], tuple[str, ...]] = {}
        self._samples: set[tuple[object, ...]] = set()

    def declare(self, workload: str, metric: str, *meaning: str) -> None:
        """Give a metric's columns of MEANING before its first row."""
        self._meanings.setdefault((workload, metric), meaning)

    def check(self, row: Row) -> None:
        """Raise FieldError for a sample that was there already, or a metric with another unit, direction or scale."""
        meaning = tuple(getattr(row, name) for name in MEANING)
        known = self._meanings.setdefault((row.workload, row.metric), meaning)
        for name, before, after in zip(MEANING, known, meaning, strict=True):
            if before != after:
                raise FieldError(name, f"of {row.metric} changes from {before} to {after}", f"write {before}")
        sample = (*(getattr(row, name) for name in IDENTITY), row.value is None)
        if sample in self._samples:
            problem = f"{row.iteration} of {row.metric} is there twice"
            raise FieldError("iteration", problem, "give each iteration one value of a metric")
        self._samples.add(sample)


@dataclass(frozen=True, slots=True)
class Rule:
    """What a column may hold.

    `pattern` must match the whole text of a cell; Python's `re` and RE2 share its syntax. `sql` is the column's type in
    DuckDB. `longest` limits a text's characters, `least` a number. `fits` checks what a pattern cannot express.
    """

    pattern: str
    problem: str
    fix: str
    sql: str = "VARCHAR"
    longest: int = LONGEST_TEXT
    least: float = -math.inf
    fits: Callable[[str], bool] = lambda _: True

    def allows(self, text: str) -> bool:
        """Whether a cell may hold `text`."""
        return len(text) <= self.longest and re.fullmatch(self.pattern, text) is not None and self.fits(text)


def check(row: Row) -> None:
    """Raise FieldError when a field of `row` holds what the CSV does not allow."""
    for name in COLUMNS:
        check_value(name, getattr(row, name))
    if row.value is None and (row.valid or not row.reason):
        raise FieldError("value", "is empty in a row that is valid or has no reason", "write valid=false and a reason")
    if not row.valid and not row.reason:
        raise FieldError("reason", "is empty although the row is not valid", "write why the row is not valid")


def checked(rows: Iterable[Row], path: "Path") -> Iterable[Row]:
    """The rows as they are written to `path`: checked, with a printable `reason`.

    Raises TareError that names row and column for what the CSV does not allow.
    """
    for place, row in enumerate(rows, 1):
        safe = replace(row, reason=printable(row.reason))
        try:
            check(safe)
        except FieldError as error:
            raise TareError(f"{path}: row {place}, {error.column}: {error.problem}", hint=error.fix) from None
        yield safe


def parse(name: str, text: str) -> Any:
    """The value of a cell: text, int, float, bool, or None for an empty number. Raises FieldError."""
    rule = RULES[name]
    if not rule.allows(text):
        raise FieldError(name, f"{shown(text)} {rule.problem}", rule.fix)
    if rule.sql == "VARCHAR":
        return text
    if name == "valid":
        return text == "true"
    if name in INTEGERS:
        return int(text)
    return float(text) if text else None


def printable(text: str, longest: int = LONGEST_REASON) -> str:
    """Free text that is safe in a CSV which people open in a spreadsheet, a terminal or a browser.

    Escape sequences are removed, control characters become spaces, and `<` and `>` become `‹` and `›`. Text that would
    be a formula (it begins with `= + - @`) gets an apostrophe in front.
    """
    text = _ANSI.sub("", text).translate(_ANGLES)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if text.startswith(_FORMULA):
        text = "'" + text
    return text[:longest].rstrip()


def parameters_text(parameters: Mapping[str, str | int | float]) -> str:
    """A workload's parameters as the JSON text of the CSV: sorted, ASCII, without raw `<`, `>` or `&`."""
    text = json.dumps(dict(parameters), sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def frame(rows: Iterable[Row]) -> "pd.DataFrame":
    """The rows as a DataFrame with the CSV's columns: integers int64, floats float64 (NaN: empty), `valid` bool."""
    import pandas as pd

    table = pd.DataFrame([[getattr(row, name) for name in COLUMNS] for row in rows], columns=list(COLUMNS))
    kinds = dict.fromkeys(INTEGERS, "int64") | dict.fromkeys(FLOATS, "float64") | {"valid": "bool"}
    return table.astype(kinds)


def shown(text: str) -> str:
    """A cell's content as an error message may show it."""
    return ascii(text if len(text) <= 40 else f"{text[:40]}…")


def check_value(name: str, value: object) -> None:
    """Raise FieldError unless the column `name` may hold `value`."""
    rule = RULES[name]
    if rule.sql == "VARCHAR":
        if type(value) is not str:
            raise FieldError(name, f"is {type(value).__name__}, not text", "write text")
        _check_text(name, value)
    elif name == "valid":
        if type(value) is not bool:
            raise FieldError(name, f"{value!r} {rule.problem}", rule.fix)
    elif name in INTEGERS:
        if type(value) is not int or value < rule.least:
            raise FieldError(name, f"{value!r} is not a whole number from 0 up", "write an integer")
        if name == "schema" and value != SCHEMA:
            raise FieldError(name, f"{value} is not {SCHEMA}, the schema that this version reads", rule.fix)
    elif value is not None:
        if type(value) is not float or not math.isfinite(value):
            raise FieldError(name, f"{value!r} is not a finite number", "write a finite float, or None")
        if value < rule.least:
            raise FieldError(name, f"{value!r} is negative", "write a number from 0 up, or None")


@lru_cache(maxsize=4096)
def _check_text(name: str, text: str) -> None:
    parse(name, text)


def _is_printable(text: str) -> bool:
    return printable(text) == text


def _is_flat_object(text: str) -> bool:
    if not text.isascii() or not text.isprintable() or set(text) & set("<>&"):
        return False
    try:
        values = json.loads(text, object_pairs_hook=_unique, parse_constant=_unfit, parse_float=_finite_float)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and all(type(value) in (str, int, float) for value in values.values())


def _is_finite(text: str) -> bool:
    return text == "" or math.isfinite(float(text))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError
    return found


def _unfit(text: str) -> NoReturn:
    raise ValueError(text)


def _finite_float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _unfit(text)


_DAY = (
    "[1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    "|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29"
)
_PLAIN = "[A-Za-z0-9µ%(][A-Za-z0-9 ._/+:@,=()%µ²^~#-]*"
_PLAIN_FIX = f"use up to {LONGEST_TEXT} letters, digits and . _ / + : @ , = ( ) -, and begin with a letter or digit"
_TEXT = Rule(f"({_PLAIN})?", "is not plain text", _PLAIN_FIX)
_FILLED = Rule(_PLAIN, "is empty or not plain text", _PLAIN_FIX)
_NAME = Rule(NAME.pattern, "is not a name", "use up to 41 of a-z 0-9 . -, and begin with a letter or digit")
_WHOLE = Rule("0|[1-9][0-9]{0,14}", "is not a whole number", "write ASCII digits only", "BIGINT", least=0)
_DIGITS = r"(-?(0|[1-9][0-9]{0,30})([.][0-9]{1,30})?([eE][+-]?[0-9]{1,3})?)?"
_NUMBER_FIX = "write it as 12, 1.5 or 2e-06, or leave it empty"
_NUMBER = Rule(_DIGITS, "is not a finite number", _NUMBER_FIX, "DOUBLE", fits=_is_finite)
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
_TIME = Rule(f"({_DAY})T{_CLOCK}Z", "is not a time in RFC 3339 UTC", "write it as 2026-01-31T12:00:00Z")
_OBJECT_FIX = 'write a JSON object of texts and finite numbers such as {"threads":1}, in ASCII, < > & as \\u003c'
_OBJECT = Rule(".*", "is not a flat JSON object", _OBJECT_FIX, longest=LONGEST_PARAMETERS, fits=_is_flat_object)
_SAFE_FIX = f"use at most {LONGEST_REASON} printable characters without < or >, and no = + - @ in front"
_SAFE = Rule(".*", "is not safe text", _SAFE_FIX, longest=LONGEST_REASON, fits=_is_printable)
_NEWER_FIX = "update tare (git pull; make setup), or export it again: tare export RUN --csv FILE"
_WORDS = {
    "direction": ("higher", "lower"),
    "scale": ("log", "linear"),
    "summary": ("median", "mean", "min", "max"),
    "phase": ("warmup", "measured"),
}
RULES: dict[str, Rule] = (
    dict.fromkeys(COLUMNS, _TEXT)
    | dict.fromkeys(("run", "host", "case", "unit"), _FILLED)
    | dict.fromkeys(("workload", "suite", "runtime", "metric", "role"), _NAME)
    | dict.fromkeys(INTEGERS, _WHOLE)
    | dict.fromkeys(FLOATS, replace(_NUMBER, least=0))
    | {"schema": replace(_WHOLE, fix=_NEWER_FIX), "variant": replace(_NAME, pattern=VARIANT_NAME.pattern)}
    | {"value": _NUMBER, "time": _TIME, "parameters": _OBJECT, "reason": _SAFE}
    | {"valid": Rule("true|false", "is neither true nor false", "write true or false", "BOOLEAN")}
    | {
        name: Rule("|".join(words), f"is none of {', '.join(words)}", "write one of them")
        for name, words in _WORDS.items()
    }
)
