"""Values of command-line options → numbers; a wrong one is refused with its option and an example."""

import math
import re
from collections.abc import Mapping
from itertools import pairwise

from harness.errors import bad_input

_DIGITS = re.compile(r"[0-9]{1,9}")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(s|m|h)")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)%")
_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-zµ%/0-9-]{0,20})")
_SCALES: Mapping[str, Mapping[str, float]] = {
    "s": {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60},
    "bytes": {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}
_KINDS = {"s": "a duration", "bytes": "a size"}
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}


def parse_count(text: str, flag: str, *, least: int = 1, most: int = 10**9 - 1, fix: str = "") -> int:
    """A whole number in plain ASCII digits from `least` to `most`. Raises TareError (bad input), naming `flag`."""
    if not _DIGITS.fullmatch(text) or not least <= int(text) <= most:
        problem = f"{text!r} is not a whole number from {least:,} to {most:,}"
        raise bad_input(
            flag, problem, fix or f"give a number in that range, in digits only, for example {flag} {max(least, 10)}"
        )
    return int(text)


def parse_duration(text: str, flag: str) -> float:
    """A positive duration such as 90s, 30m or 1.5h, in seconds. Raises TareError (bad input), naming `flag`."""
    found = _DURATION.fullmatch(text)
    seconds = float(found[1]) * _UNIT_SECONDS[found[2]] if found else math.nan
    if not 0 < seconds <= 30 * 86400:
        if _DIGITS.fullmatch(text) and int(text):
            raise bad_input(flag, f"{text!r} has no unit", f"write {text}s, {text}m or {text}h")
        raise bad_input(
            flag, f"{text!r} is not a duration of at most 30 days", f"write for example {flag} 90s, 30m or 2h"
        )
    return seconds


def parse_percent(text: str, flag: str) -> float:
    """A percentage above 0 and up to 100, such as 1% or 0.5%, as a fraction. Raises TareError (bad input)."""
    found = _PERCENT.fullmatch(text)
    if not found or not 0 < float(found[1]) <= 100:
        raise bad_input(
            flag,
            f"{text!r} is not a percentage above 0% and up to 100%",
            f"give a percentage in that range, for example {flag} 1%",
        )
    return float(found[1]) / 100


def parse_looks(text: str, flag: str) -> tuple[int, ...]:
    """Two to ten increasing numbers of blocks, such as 10,20,40. Raises TareError (bad input)."""
    fix = f"give increasing numbers, each 5 or more, for example {flag} 10,20,40"
    looks = tuple(parse_count(word, flag, least=5, most=10_000, fix=fix) for word in text.split(","))
    if not 2 <= len(looks) <= 10 or any(after <= before for before, after in pairwise(looks)):
        raise bad_input(flag, f"{text!r} is not two to ten increasing numbers", fix)
    return looks


def parse_last(text: str, flag: str) -> int:
    """K of `last:K`, from 1 to 100. Raises TareError (bad input)."""
    return parse_count(text.removeprefix("last:"), f"{flag} last:K", most=100, fix=f"write for example {flag} last:5")


def parse_gate(text: str, flag: str) -> float:
    """The threshold of `regression=5%`, as a fraction. Raises TareError (bad input)."""
    name, _, percent = text.partition("=")
    if name != "regression":
        raise bad_input(flag, f"there is no gate {name!r}; the only one is regression=P%", f"{flag} regression=5%")
    return parse_percent(percent, f"{flag} regression")


def parse_amount(given: str | float, unit: str, where: str) -> float:
    """An amount of `unit` (a metric's): a number of it, or a text such as `1.5 s`, `64 MiB`, `2 GB/s`, `200`.

    Raises TareError (bad input), naming `where`.
    """
    if not isinstance(given, str):
        return float(given)
    base, slash, per = unit.partition("/")
    scales = {f"{name}{slash}{per}": size for name, size in _SCALES.get(base, {}).items()} | {unit: 1.0}
    found = _AMOUNT.fullmatch(given)
    if not found or found[2] not in {*scales, ""}:
        kind = _KINDS.get(unit, f"an amount in {unit}")
        *units, last = scales
        names = f"{', '.join(units)} or {last}" if units else last
        fix = f"use the unit {names}, for example 5{'MiB' if base == 'bytes' else base}{slash}{per}"
        raise bad_input(where, f"{given!r} is not {kind}", fix)
    if unit == "%" and not found[2]:
        raise bad_input(where, f"{given!r} has no unit", "write a percentage such as 5 %")
    return float(found[1]) * scales.get(found[2], 1.0)
