"""Dot-and-whisker plots of overheads: one line per variant, its figure and n beside it, on a log-ratio axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.overhead import Overhead
from harness.report import number_format, overhead_axis, panels, style, variants

LINE = 0.235
"""Inches per line of text."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Overheads that share an axis."""

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


def forest(title: str, rows: Sequence[Overhead], confidence: float, quantity: str = "overhead") -> Figure | None:
    """A figure of the rows on the log scale, or None where nothing can be drawn; `quantity` is what the axis shows."""
    drawn = [
        Rows(part) for part in variants.parts(row for row in rows if row.overhead is not None and row.scale == "log")
    ]
    if not drawn:
        return None
    note = f"against {rows[0].baseline}; right of 0 costs more; {100 * confidence:g} % intervals over n blocks"
    note += "" if all(row.verdict for part in drawn for row in part.rows) else "; * over a tenth of the blocks missing"
    left = panels.margin((row.variant for part in drawn for row in part.rows), 0.35, 0.078)
    stacked = [panels.of(part.rows[0].emulated, part.lines * LINE, above=0.30, below=0.62) for part in drawn]
    figure, places = panels.stack(title, note, stacked, head=0.62, left=left, right=0.70)
    for part, axes in zip(drawn, places, strict=True):
        _draw(axes, part, quantity)
    return figure


def _draw(axes: Axes, part: Rows, quantity: str) -> None:
    low, high = overhead_axis.span(part.rows)
    axes.set_ylim(part.lines - 0.5, -0.5)
    ticks = overhead_axis.draw(axes, low, high, quantity)
    line = 0
    for (workload, metric), rows in part.groups.items():
        words = f" {metric}, {number_format.direction_words(rows[0].direction)}"
        known = rows[0].baseline_value is not None
        base = f";  {rows[0].baseline} {number_format.humane(rows[0].baseline_value, rows[0].unit)}" if known else ""
        edge = axes.get_position().x0 * style.WIDTH * 72 - 6
        head = style.short(f"{workload} ·{words}{base}", 92)
        axes.annotate(head, (0, line), xytext=(-edge, -1), fontweight="bold", fontsize=8.5, **panels.ACROSS)
        for tick in ticks:
            where = math.log1p(tick)
            strong: dict[str, Any] = {"color": style.INK, "lw": 1.0} if tick == 0 else {"color": style.GRID, "lw": 0.7}
            axes.plot([where, where], [line + 0.5, line + len(rows) + 0.5], zorder=0, **strong)
        for number, row in enumerate(rows, line + 1):
            _row(axes, row, number, (low, high))
        line += len(rows) + 1


def _row(axes: Axes, row: Overhead, line: int, span: tuple[float, float]) -> None:
    colour = style.colour(row.runtime, row.accelerator)
    apart = row.emulated
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
    panels.name(axes, row.variant, line, emulated=apart, fontsize=8.5)
    panels.beside(axes, number_format.overhead(row), line, 10, fontsize=8.5)
    edge = (1 - axes.get_position().x1) * style.WIDTH * 72 - 12
    panels.beside(axes, f"n = {row.n}", line, edge, ha="right", color=style.MUTED, fontsize=8.5)
    if not row.verdict:
        panels.beside(axes, "*", line, edge + 1, color=style.MUTED, fontsize=8.5)
