"""Dot-and-whisker plots of overheads: one line per variant, its figure and n beside it, on a log-ratio axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.overhead import Overhead
from harness.report import axis, formatting, style

LINE = 0.235
"""Inches per line of text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Overheads that share an axis."""

    title: str
    rows: Sequence[Overhead]

    @property
    def groups(self) -> dict[tuple[str, str], list[Overhead]]:
        """The rows by workload and metric."""
        found: dict[tuple[str, str], list[Overhead]] = {}
        for row in self.rows:
            found.setdefault((row.workload, row.metric), []).append(row)
        return found

    @property
    def lines(self) -> int:
        """Lines that the panel needs: one per row and one per heading."""
        return len(self.rows) + len(self.groups)


def panels(rows: Sequence[Overhead]) -> list[Panel]:
    """The rows on the log scale that have a figure; emulated guests in a panel of their own."""
    drawn = [row for row in rows if row.overhead is not None and row.scale == "log"]
    plain = [row for row in drawn if not formatting.emulated(row.accelerator)]
    apart = [row for row in drawn if formatting.emulated(row.accelerator)]
    found = []
    if plain:
        found.append(Panel(title="", rows=plain))
    if apart:
        found.append(Panel(title=style.APART, rows=apart))
    return found


def forest(title: str, rows: Sequence[Overhead], confidence: float, quantity: str = "overhead") -> Figure | None:
    """A figure of the rows, or None where nothing can be drawn; `quantity` is what the axis shows."""
    drawn = panels(rows)
    if not drawn:
        return None
    above, below = 0.62, 0.62
    tops = [0.30 if panel.title else 0.0 for panel in drawn]
    height = above + sum(panel.lines * LINE + below + top for panel, top in zip(drawn, tops, strict=True))
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"against {rows[0].baseline}; right of 0 costs the user; {100 * confidence:g} % intervals over n blocks"
    note += (
        "" if all(row.verdict for panel in drawn for row in panel.rows) else "; * over a tenth of the blocks missing"
    )
    style.head(figure, title, note)
    labels = max(len(style.short(row.variant, 24)) for panel in drawn for row in panel.rows)
    left = (0.35 + 0.078 * labels) / style.WIDTH
    at = height - above
    for panel, top in zip(drawn, tops, strict=True):
        if panel.title:
            where = (at - top * 0.6) / height
            figure.text(0.012, where, panel.title, color=style.EMULATED, fontweight="bold", va="center", fontsize=9)
        at -= top + panel.lines * LINE
        axes = figure.add_axes((left, at / height, 0.70 - left, panel.lines * LINE / height))
        _draw(axes, panel, quantity)
        at -= below
    return figure


def _draw(axes: Axes, panel: Panel, quantity: str) -> None:
    low, high = axis.span(panel.rows)
    axes.set_xlim(low, high)
    axes.set_ylim(panel.lines - 0.5, -0.5)
    ticks = axis.ticks(low, high)
    factors = math.expm1(high) > formatting.FACTOR_FROM
    axes.set_xticks([math.log1p(tick) for tick in ticks], [axis.label(tick, factors) for tick in ticks])
    axes.set_xlabel(f"{quantity} (log-ratio axis)", color=style.MUTED)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_yticks([])
    line = 0
    for (workload, metric), rows in panel.groups.items():
        words = f" {metric}, {formatting.direction_words(rows[0].direction)}"
        known = rows[0].baseline_value is not None
        base = f";  {rows[0].baseline} {formatting.humane(rows[0].baseline_value, rows[0].unit)}" if known else ""
        edge = axes.get_position().x0 * style.WIDTH * 72 - 6
        axes.annotate(
            style.short(f"{workload} ·{words}{base}", 92), (0, line), xycoords=("axes fraction", "data"),
            xytext=(-edge, -1), textcoords="offset points", va="center", fontweight="bold", fontsize=8.5,
        )  # fmt: skip
        for tick in ticks:
            where = math.log1p(tick)
            strong: dict[str, Any] = {"color": style.INK, "lw": 1.0} if tick == 0 else {"color": style.GRID, "lw": 0.7}
            axes.plot([where, where], [line + 0.5, line + len(rows) + 0.5], zorder=0, **strong)
        for number, row in enumerate(rows, line + 1):
            _row(axes, row, number, (low, high))
        line += len(rows) + 1


def _row(axes: Axes, row: Overhead, line: int, span: tuple[float, float]) -> None:
    colour = style.colour(row.runtime, row.accelerator)
    apart = formatting.emulated(row.accelerator)
    middle = math.log1p(row.overhead or 0.0)
    if row.low is not None and row.high is not None:
        ends = [max(math.log1p(row.low), span[0]), min(math.log1p(row.high), span[1])]
        axes.plot(ends, [line, line], color=colour, lw=1.3 if apart else 1.8, solid_capstyle="butt")
        for end, limit, arrow in ((row.low, span[0], "<"), (row.high, span[1], ">")):
            if (math.log1p(end) - limit) * (1 if arrow == ">" else -1) > 0:
                axes.plot([limit], [line], marker=arrow, color=colour, ms=5, clip_on=False)
    axes.plot(
        [middle], [line], marker="D" if apart else "o", ms=5.5 if apart else 6.5, mec=colour, mew=1.5,
        mfc=style.PAPER if apart or row.low is None else colour,
    )  # fmt: skip
    text: dict[str, Any] = {"va": "center", "fontsize": 8.5, "textcoords": "offset points"}
    text["xycoords"] = ("axes fraction", "data")
    ink = colour if apart else style.INK
    axes.annotate(style.short(row.variant, 24), (0, line), xytext=(-6, 0), ha="right", color=ink, **text)
    said = f"{formatting.difference(row.overhead, row)} {formatting.interval(row)}"
    axes.annotate(said, (1, line), xytext=(10, 0), **text)
    edge = (1 - axes.get_position().x1) * style.WIDTH * 72 - 12
    count = f"n={row.n}"
    axes.annotate(count, (1, line), xytext=(edge, 0), ha="right", color=style.MUTED, **text)
    if not row.verdict:
        axes.annotate("*", (1, line), xytext=(edge + 1, 0), color=style.MUTED, **text)
