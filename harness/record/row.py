"""A row of the CSV: its columns, and what may stand in each field. docs/csv.md has the table."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from harness.model import is_name, is_variant_name

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
LONGEST_TEXT = 200
LONGEST_REASON = 500
LONGEST_PARAMETERS = 8192
_INTEGER = re.compile(r"0|[1-9][0-9]{0,14}")
_FLOAT = re.compile(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_PLAIN = re.compile(r"[A-Za-z0-9µ%(][A-Za-z0-9 ._/+:@,=()%µ²^~#-]*")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
_ANSI = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One sample as the CSV has it, in the CSV's order. `elapsed` and `steal` are seconds, `mhz` MHz.

    `parameters` is a JSON object as text (`parameters_text` makes it). A failed case has a row whose `value` is None,
    `valid` False and `reason` says why; a discarded one keeps its value.
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
        """The row of a journal's `sample` event, checked; `reason` is made printable.

        Raises FieldError for the first field that is absent, unknown, of a wrong type or out of range.
        """
        for name in data:
            if name not in _CHECKS:
                raise FieldError(name, "is not a column", f"the columns are {', '.join(COLUMNS)}")
        values: dict[str, Any] = {}
        for name in COLUMNS:
            if name not in data:
                raise FieldError(name, "is missing", "give every column, None or an empty text where nothing is known")
            value = printable(data[name]) if name == "reason" and isinstance(data[name], str) else data[name]
            values[name] = float(value) if name in FLOATS and type(value) is int else value
        row = cls(**values)
        check(row)
        return row

    def as_data(self) -> dict[str, Any]:
        """The row as a `sample` event's data."""
        return asdict(self)


class FieldError(Exception):
    """A field that cannot stand in a row: column, what is wrong, and the fix."""

    def __init__(self, column: str, problem: str, fix: str) -> None:
        super().__init__(f"{column} {problem}")
        self.column = column
        self.problem = problem
        self.fix = fix


COLUMNS = tuple(field.name for field in fields(Row))
FLOATS = frozenset({"value", "elapsed", "mhz", "steal"})
INTEGERS = frozenset({"schema", "block", "position", "attempt", "iteration"})


def check(row: Row) -> None:
    """Raise FieldError when a field of `row` holds what the CSV does not allow."""
    for name in COLUMNS:
        value = getattr(row, name)
        if name in INTEGERS or name in FLOATS or name == "valid":
            _CHECKS[name](name, value)
        elif type(value) is not str:
            raise FieldError(name, f"is {type(value).__name__}, not text", "write text")
        else:
            _check_text(name, value)
    if row.value is None and (row.valid or not row.reason):
        raise FieldError(
            "value", "is empty in a row that is valid or has no reason", "write valid=false and the reason"
        )
    if not row.valid and not row.reason:
        raise FieldError("reason", "is empty though the row is not valid", "say why it is not valid")


def number(name: str, text: str) -> float | int | bool | None:
    """The value of a numeric or boolean cell, in ASCII digits as JSON writes them. Raises FieldError."""
    if name == "valid":
        if text not in ("true", "false"):
            raise FieldError(name, f"{shown(text)} is neither true nor false", "write true or false")
        return text == "true"
    if name in INTEGERS:
        if not _INTEGER.fullmatch(text):
            raise FieldError(name, f"{shown(text)} is not a whole number", "write ASCII digits only")
        return int(text)
    if text == "":
        return None
    if not _FLOAT.fullmatch(text) or not math.isfinite(float(text)):
        raise FieldError(
            name, f"{shown(text)} is not a finite number", "write it as 12, 1.5 or 2e-06, or leave it empty"
        )
    return float(text)


def printable(text: str, longest: int = LONGEST_REASON) -> str:
    """Free text as it may stand in a CSV that people open in a spreadsheet, a terminal or a browser.

    Escape sequences go, control characters become spaces, `<` and `>` become `‹` and `›`, and text that would be a
    formula (`= + - @` in front) gets an apostrophe before it.
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


_ANGLES = str.maketrans("<>", "‹›")


@lru_cache(maxsize=4096)
def _check_text(name: str, text: str) -> None:
    _CHECKS[name](name, text)


def _whole(name: str, value: object) -> None:
    if type(value) is not int or value < 0:
        raise FieldError(name, f"{value!r} is not a whole number from 0 up", "write an integer")
    if name == "schema" and value != SCHEMA:
        _schema(value)


def _schema(value: int) -> NoReturn:
    fix = "update tare: git pull; make setup" if value > SCHEMA else "export the CSV anew from the run's journal"
    raise FieldError("schema", f"{value} is not {SCHEMA}, which this version reads", fix)


def _finite(name: str, value: object) -> None:
    if value is None:
        return
    if type(value) is not float or not math.isfinite(value):
        raise FieldError(name, f"{value!r} is not a finite number", "write a finite float, or None")
    if name != "value" and value < 0:
        raise FieldError(name, f"{value!r} is negative", "write a number from 0 up, or None")


def _boolean(name: str, value: object) -> None:
    if type(value) is not bool:
        raise FieldError(name, f"{value!r} is neither true nor false", "write true or false")


def _one_of(*words: str) -> Callable[[str, Any], None]:
    def check_word(name: str, text: str) -> None:
        if text not in words:
            raise FieldError(name, f"{shown(text)} is none of {', '.join(words)}", "write one of them")

    return check_word


def _named(fits: Callable[[str], bool]) -> Callable[[str, Any], None]:
    def check_name(name: str, text: str) -> None:
        if not fits(text):
            fix = "use up to 41 of a-z 0-9 . - and begin with a letter or digit"
            raise FieldError(name, f"{shown(text)} is not a name", fix)

    return check_name


def _plain(name: str, text: str) -> None:
    if text and (len(text) > LONGEST_TEXT or not _PLAIN.fullmatch(text)):
        fix = f"use up to {LONGEST_TEXT} letters, digits and . _ / + : @ , = ( ) - and begin with a letter or digit"
        raise FieldError(name, f"{shown(text)} is not plain text", fix)


def _filled(name: str, text: str) -> None:
    if not text:
        raise FieldError(name, "is empty", "fill it in")
    _plain(name, text)


def _moment(name: str, text: str) -> None:
    try:
        if _TIME.fullmatch(text):
            datetime.fromisoformat(text)
            return
    except ValueError:
        pass
    raise FieldError(name, f"{shown(text)} is not a time in RFC 3339 UTC", "write it as 2026-01-31T12:00:00Z")


def _reason(name: str, text: str) -> None:
    if printable(text) != text:
        fix = f"at most {LONGEST_REASON} printable characters, no < or >, and no = + - @ in front"
        raise FieldError(name, f"{shown(text)} is not safe text", fix)


def _parameters(name: str, text: str) -> None:
    try:
        if len(text) > LONGEST_PARAMETERS or not text.isascii() or not text.isprintable() or set(text) & set("<>&"):
            raise ValueError
        values = json.loads(text, object_pairs_hook=_unique, parse_constant=_unfit, parse_float=_finite_float)
        if not isinstance(values, dict) or not all(type(value) in (str, int, float) for value in values.values()):
            raise ValueError
    except (ValueError, RecursionError):
        fix = 'write a JSON object of texts and finite numbers such as {"threads":1}, in ASCII, < > & as \\u003c'
        raise FieldError(name, f"{shown(text)} is not a flat JSON object", fix) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) != len(pairs):
        raise ValueError
    return found


def _unfit(text: str) -> NoReturn:
    raise ValueError(text)


def _finite_float(text: str) -> float:
    return value if math.isfinite(value := float(text)) else _unfit(text)


_CHECKS: dict[str, Callable[[str, Any], None]] = (
    dict.fromkeys(COLUMNS, _plain)
    | dict.fromkeys(("run", "host", "case", "unit"), _filled)
    | dict.fromkeys(("workload", "suite", "runtime", "metric", "role"), _named(is_name))
    | dict.fromkeys(INTEGERS, _whole)
    | dict.fromkeys(FLOATS, _finite)
    | {"variant": _named(is_variant_name), "time": _moment, "parameters": _parameters, "reason": _reason}
    | {"direction": _one_of("higher", "lower"), "scale": _one_of("log", "linear")}
    | {"summary": _one_of("median", "mean", "min", "max"), "phase": _one_of("warmup", "measured"), "valid": _boolean}
)
