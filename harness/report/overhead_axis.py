"""The log-ratio axis on which overheads are drawn: its span, its ticks and their words."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes

from harness.analysis.overhead import Overhead
from harness.report import number_format, panels, style

TICKS = (-0.95, -0.9, -0.8, -0.67, -0.5, -0.33, -0.2, -0.1, -0.05, -0.02, -0.01, 0.0, 0.01, 0.02, 0.05)
SMALL = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
FACTORS = (0.5, 1.0, 2.0, 4.0, 9.0, 19.0, 49.0, 99.0, 199.0, 499.0, 999.0)
LEAST_SPAN = math.log1p(0.05)
"""The axis shows at least −5 … +5 %, so that noise does not look like an effect."""


def draw(axes: Axes, low: float, high: float, quantity: str = "overhead", *, apart: float = 0.105) -> list[float]:
    """Make the x-axis one of log-ratios; returns its ticks as overheads. `apart`: see ticks."""
    shown = ticks(low, high, apart)
    factors = math.expm1(high) > number_format.FACTOR_FROM
    axes.set_xlim(low, high)
    axes.set_xticks([math.log1p(tick) for tick in shown], [label(tick, factors) for tick in shown])
    axes.set_xlabel(f"{quantity} (log-ratio axis)", color=style.MUTED)
    panels.bare(axes, grid=0)
    return shown


def span(rows: Sequence[Overhead]) -> tuple[float, float]:
    """Axis limits: every dot, and whiskers up to as far again as the dots spread (the rest becomes an arrow)."""
    dots = [math.log1p(row.overhead or 0.0) for row in rows]
    low, high = min(0.0, *dots), max(0.0, *dots)
    reach = max(high - low, 2 * LEAST_SPAN)
    ends = [math.log1p(end) for row in rows for end in (row.low, row.high) if end is not None]
    low = min([low, *(max(end, low - reach / 2) for end in ends)])
    high = max([high, *(min(end, high + reach / 2) for end in ends)])
    if high - low < 2 * LEAST_SPAN:
        low, high = min(low, -LEAST_SPAN), max(high, LEAST_SPAN)
    room = 0.06 * (high - low)
    return low - room, high + room


def ticks(low: float, high: float, apart: float = 0.105) -> list[float]:
    """Tick values, zero among them, thinned until their labels cannot touch: `apart` is a part of the axis."""
    choice = (*TICKS, *(FACTORS if math.expm1(high) > number_format.FACTOR_FROM else SMALL))
    inside = [tick for tick in choice if low <= math.log1p(tick) <= high]
    kept = [0.0]
    for side in (sorted(t for t in inside if t > 0), sorted((t for t in inside if t < 0), reverse=True)):
        last = 0.0
        for tick in side:
            if abs(math.log1p(tick) - math.log1p(last)) >= apart * (high - low):
                kept.append(tick)
                last = tick
    return sorted(kept)


def label(value: float, factors: bool) -> str:
    """A tick's text: a percentage, or with `factors` a factor."""
    if factors and value >= 0:
        return f"{value + 1:g}×"
    return "0" if value == 0 else number_format.minus(f"{100 * value:+.0f} %")
