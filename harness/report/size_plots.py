"""Sizes as bars: several methods beside each other for each variant, with intervals; and sizes before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.analysis.intervals import Estimate
from harness.report import number_format, panels, style, variants
from harness.report.variants import OfSubject

MB = 10**6
BAR, GAP = 0.17, 0.16
"""Inches per bar, and between variants."""
ABOVE, BELOW = 0.95, 0.55
SHADES = ("#1f4e82", "#5b93c7", "#a9c4e0", "#6f7782")
"""One per method in its order: one hue, and grey for what is the whole host's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(OfSubject):
    """One variant: its sizes in bytes by method, or by moment; what could not be measured is not there."""

    sizes: Mapping[str, Estimate]
    words: str = ""


def bars(title: str, note: str, rows: Sequence[Row], methods: Mapping[str, str]) -> Figure | None:
    """A bar for each method of each variant on an axis in MB; emulated guests on one of their own. `methods` has
    the description of each, at most four. None where nothing can be drawn."""
    parts = variants.parts(row for row in rows if row.sizes)
    if not parts:
        return None
    heights = [sum(len(row.sizes) * BAR + GAP for row in part) for part in parts]
    figure, places = _sheet(title, note, parts, heights)
    patches = [Patch(fc=shade, label=words) for shade, words in zip(SHADES, methods.values(), strict=False)]
    _legend(figure, patches)
    for part, axes in zip(parts, places, strict=True):
        at, ends = 0.0, [0.0]
        for row in part:
            panels.name(axes, row.variant, at + (len(row.sizes) - 1) * BAR / 2, emulated=row.emulated)
            for name, shade in zip(methods, SHADES, strict=False):
                if (size := row.sizes.get(name)) is not None:
                    ends += _bar(axes, at, size, shade, row.emulated)
                    at += BAR
            at += GAP
        _finish(axes, at - GAP / 2 - BAR / 2, min(ends), max(ends))
    return figure


def moves(title: str, note: str, rows: Sequence[Row], moments: Mapping[str, str]) -> Figure | None:
    """For each variant the three sizes idle, held and freed as marks on one line in MB."""
    parts = variants.parts(row for row in rows if row.sizes.keys() >= moments.keys())
    if not parts:
        return None
    figure, places = _sheet(title, note, parts, [len(part) * 0.34 for part in parts])
    marks: list[dict[str, Any]] = [
        {"marker": "|", "ms": 11, "mew": 2.2},
        {"marker": "o", "ms": 7},
        {"marker": "D", "ms": 6, "mfc": style.PAPER, "mew": 1.6},
    ]
    lines = [_mark(mark, words) for mark, words in zip(marks, moments.values(), strict=True)]
    _legend(figure, lines)
    for part, axes in zip(parts, places, strict=True):
        highest = 0.0
        for number, row in enumerate(part):
            colour = style.colour(row.subject.runtime, row.subject.accelerator)
            values = [row.sizes[name].value / MB for name in moments]
            axes.plot([min(values), max(values)], [number * 0.34] * 2, color=style.GRID, lw=3, zorder=1)
            for mark, value in zip(marks, values, strict=True):
                axes.plot([value], [number * 0.34], color=colour, zorder=2, ls="", **mark)
            panels.name(axes, row.variant, number * 0.34, emulated=row.emulated)
            panels.beside(axes, row.words, number * 0.34, fontsize=7.5)
            highest = max(highest, *values)
        _finish(axes, len(part) * 0.34 - 0.17, 0.0, highest)
    return figure


def _mark(mark: Mapping[str, Any], words: str) -> Line2D:
    return Line2D([], [], color=style.MUTED, ls="", label=words, **mark)


def _sheet(title: str, note: str, parts: list[list[Row]], heights: list[float]) -> tuple[Figure, list[Axes]]:
    drawn = [panels.of(part[0].emulated, tall, below=BELOW) for part, tall in zip(parts, heights, strict=True)]
    left = panels.margin(row.variant for part in parts for row in part)
    return panels.stack(title, note, drawn, head=ABOVE, left=left, right=0.70)


def _legend(figure: Figure, handles: Sequence[Any]) -> None:
    where = (0.0, 1 - 0.55 / figure.get_figheight())
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=where, ncols=len(handles), frameon=False, handlelength=1.2,
        columnspacing=1.4,
    )  # fmt: skip


def _bar(axes: Axes, at: float, size: Estimate, shade: str, hatched: bool) -> list[float]:
    """Draw one; returns how far it reaches, in MB."""
    hatch, edge = ("////", style.PAPER) if hatched else (None, shade)
    value = size.value / MB
    axes.barh(at, value, height=BAR * 0.86, color=shade, hatch=hatch, ec=edge, lw=0.4)
    ends = [value]
    if size.low is not None and size.high is not None:
        ends += [size.low / MB, size.high / MB]
        axes.plot(ends[1:], [at, at], color=style.INK, lw=1.2, marker="|", ms=5)
    panels.beside(axes, number_format.with_n(size, "bytes"), at, fontsize=7.5)
    return ends


def _finish(axes: Axes, bottom: float, low: float, high: float) -> None:
    axes.set_ylim(bottom, -BAR)
    axes.set_xlim(1.04 * low, 1.04 * high or 1)
    axes.set_xlabel("MB for one instance", color=style.MUTED)
    panels.bare(axes)
