"""Numbers as people read them: humane units, percentages, intervals."""

import math
import re

from harness.analysis.intervals import Estimate
from harness.analysis.overhead import Overhead
from harness.model import HOST_COSTS

UNIT = re.compile(
    r"(?P<prefix>[pnuµmkKMGT]?)(?P<base>s|J|b/s|B/s|bit/s|bits/s|bytes/s|bytes|B|FLOPS|FLOP/s|flop/s)(?P<per>/.+)?"
)
POWERS = {"p": -12, "n": -9, "u": -6, "µ": -6, "m": -3, "": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12}
LETTERS = {-12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
SHOWN = {"bytes/s": "B/s", "bytes": "B", "bit/s": "b/s", "bits/s": "b/s"}
SMALL = ("s", "J")
"""Units of which there are thousandths, and no thousands."""
COUNTS = re.compile(r"IOPS|1?/s|[A-Za-z][A-Za-z0-9 ]*/s")
FACTOR_FROM = 1.0
"""An overhead of 100 % and more is written as a factor (2×), its interval too."""
WIDE_FROM = 9.0


def humane(value: float | None, unit: str) -> str:
    """`value` with four significant digits and a fitting prefix; an en dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    unit = "" if unit == "1" else unit
    match = UNIT.fullmatch(unit)
    if match and not (match["per"] and match["base"] not in SMALL):
        scaled = value * 10.0 ** POWERS[match["prefix"]]
        power = 0 if scaled == 0 else 3 * math.floor(math.log10(abs(scaled)) / 3 + 1e-9)
        power = min(max(power, -12), 0) if match["base"] in SMALL else min(max(power, 0), 12)
        base = SHOWN.get(match["base"], match["base"]) + (match["per"] or "").replace("/bytes", "/byte")
        return f"{digits(scaled / 10.0**power)} {LETTERS[power]}{base}"
    if COUNTS.fullmatch(unit):
        shown, million = unit.removeprefix("1"), abs(value) >= 1e6
        text = f"{digits(value / 1e6)} M {shown}" if million else f"{digits(value)} {shown}"
        return text.replace("M /s", "M/s")
    return f"{digits(value)} {unit}".rstrip()


def digits(value: float) -> str:
    """Four significant digits, thousands apart, never in powers of ten unless tiny or huge."""
    size = abs(value)
    if size >= 1e9 or 0 < size < 1e-4:
        return minus(f"{value:.3e}")
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    return minus(f"{value:,.{places}f}")


def percent(value: float | None, *, factor: bool | None = None) -> str:
    """A relative figure, `+3.2 %` or as a factor `12.5×`; by default the factor from FACTOR_FROM on."""
    if value == math.inf:
        return "∞"
    if value is None or not math.isfinite(value):
        return "–"
    if value >= FACTOR_FROM if factor is None else factor:
        return f"{value + 1:,.0f}×" if value >= 99 else f"{value + 1:.1f}×" if value >= 9 else f"{value + 1:.2f}×"
    text = f"{100 * value:+.{0 if abs(value) >= 1 else 1}f}"
    return minus("0.0" if text.strip("+-0.") == "" else text) + " %"


def difference(value: float | None, found: Overhead, *, factor: bool | None = None) -> str:
    """An overhead or plain change as its scale asks: percent, or a signed difference in its unit."""
    if found.scale == "log" or value is None:
        return percent(value, factor=factor)
    return ("+" if value > 0 else "") + humane(value, found.unit)


def overhead(found: Overhead) -> str:
    """An overhead with its interval, `+1.4 % [−0.9, +3.7]`; an en dash where there is none."""
    return f"{difference(found.overhead, found)} {interval(found)}".rstrip()


def interval(found: Overhead) -> str:
    """The interval in square brackets, or words where n = 1 gives none.

    In the form of the overhead itself, but as factors where it reaches WIDE_FROM.
    """
    if found.overhead is None:
        return ""
    if found.low is None or found.high is None:
        return "[no interval]"
    factor = found.overhead >= FACTOR_FROM or (found.scale == "log" and found.high >= WIDE_FROM)
    low, high = (difference(end, found, factor=factor).removesuffix(" %") for end in (found.low, found.high))
    return f"[{low}, {high}]"


def probability(p: float | None) -> str:
    """A p with three decimals; an en dash where there is none."""
    return "–" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def estimated(result: Estimate | None, unit: str) -> str:
    """An estimate with its interval in humane units."""
    if result is None:
        return "–"
    if result.low is None or result.high is None:
        return f"{humane(result.value, unit)} [no interval]"
    return f"{humane(result.value, unit)} [{humane(result.low, unit)}, {humane(result.high, unit)}]"


def figure(value: float, low: float | None, high: float | None, unit: str | None) -> str:
    """A figure with its interval; where `unit` is None it is an overhead, in percent or as a factor."""
    if unit is not None:
        return estimated(Estimate(value=value, low=low, high=high, n=0), unit)
    if low is None or high is None:
        return f"{percent(value)} [no interval]"
    ends = (percent(end, factor=value >= FACTOR_FROM).removesuffix(" %") for end in (low, high))
    return f"{percent(value)} [{', '.join(ends)}]"


def with_n(result: Estimate | None, unit: str) -> str:
    """An estimate with its interval and the number of blocks."""
    return f"{estimated(result, unit)}  n = {result.n if result else 0}"


def direction_words(direction: str) -> str:
    """`higher is better` or `lower is better`."""
    return f"{direction} is better"


def is_host_cost(metric: str) -> bool:
    """Whether the metric is the host's cost of a workload and not the workload's own result."""
    return metric.startswith(HOST_COSTS)


def minus(text: str) -> str:
    """With a true minus sign, so that columns align and no line breaks after it."""
    return text.replace("-", "−")
