"""Lifecycle: the time of each operation, the downtime for a client, what survives, and what is unsupported."""

from collections import Counter
from collections.abc import Iterator

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from harness.report import number_format, panels, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import table
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped
from harness.report.variants import Subject

RESOURCE = "lifecycle"
LINE, HEAD, AXIS, TOP = 0.21, 0.24, 0.55, 0.3
"""Inches: a mark's line, the line above a metric's marks, an axis with its label, the words above the emulated."""
MANY_DECADES = 500.0
"""From that ratio of the ends on, an axis has ticks at powers of ten alone."""


class Lifecycle(Chapter):
    """The chapter."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """One picture for each workload."""
        for workload, rows in _values(stored).groupby("workload", sort=False):
            timed = rows[rows["unit"] == "s"]
            if not timed.empty:
                alt = f"{workload}: seconds of each operation and of downtime, per variant, on a logarithmic axis"
                yield Drawing(topic=str(workload), alt=alt, figure=_figure(stored, str(workload), timed))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """What survives what; every figure as it is."""
        yield _survival(stored)
        yield _times(stored)

    def notes(self, stored: Stored) -> Iterator[str]:
        """What does each operation, and what is unsupported."""
        yield from _ways(stored)
        yield from _lacking(stored)


def _values(stored: Stored) -> pd.DataFrame:
    """Block values of the resource's own metrics."""
    values = stored.of_resource(RESOURCE)
    return values[~values["metric"].map(number_format.is_host_cost).astype(bool)]


def _figure(stored: Stored, workload: str, rows: pd.DataFrame) -> Figure:
    """A part for each axis: under each metric a line per variant."""
    metrics = sorted(rows["metric"].unique(), key=lambda name: "downtime" in name)
    parts = variants.parts(variants.subjects(rows, stored.baseline))
    lines = [_lines(rows, metrics, part) for part in parts]
    heights = [sum(LINE if who else HEAD for _, who in own) for own in lines]
    drawn = [
        panels.of(part[0].emulated, tall, above=TOP, below=AXIS, title_at=0.14)
        for part, tall in zip(parts, heights, strict=True)
    ]
    note = (
        f"geometric means of blocks; whisker: {100 * stored.confidence:g} % interval; diamonds: downtime for a client"
    )
    title = f"{style.short(workload, 50)}: seconds of each operation and of downtime"
    left = panels.margin((who.variant for part in parts for who in part), 0.3, 0.075)
    figure, places = panels.stack(title, note, drawn, head=0.65, left=left, right=0.72)
    for axes, own, tall in zip(places, lines, heights, strict=True):
        _marks(axes, stored, rows, own, tall)
    return figure


def _lines(rows: pd.DataFrame, metrics: list[str], part: list[Subject]) -> list[tuple[str, Subject | None]]:
    """A metric's heading (without a variant), then the variants that have it."""
    lines: list[tuple[str, Subject | None]] = []
    for metric in metrics:
        own = rows[rows["metric"] == metric]
        if having := [who for who in part if len(who.of(own))]:
            lines += [(metric, None), *((metric, who) for who in having)]
    return lines


def _marks(
    axes: Axes, stored: Stored, rows: pd.DataFrame, lines: list[tuple[str, Subject | None]], tall: float
) -> None:
    at = tall
    for metric, who in lines:
        at -= LINE if who else HEAD
        if who is None:
            where = at + HEAD / 2 - 0.03
            axes.annotate(metric, (0, where), xytext=(4, 0), fontweight="bold", fontsize=8.5, **panels.ACROSS)
            continue
        found = stored.geometric(who.of(rows[rows["metric"] == metric]))
        middle, where = (found.value if found else float("nan")), at + LINE / 2
        colour = style.colour(who.runtime, who.accelerator)
        if found and found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [where, where], color=colour, lw=1.3, marker="|", ms=5)
        marker = "D" if "downtime" in metric else "o"
        axes.plot([middle], [where], color=colour, marker=marker, ms=5, mfc="none" if marker == "D" else colour)
        panels.name(axes, who.variant, where, emulated=who.emulated, fontsize=8.5)
        panels.beside(axes, number_format.with_n(found, "s"), where, fontsize=7.5)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.3, high * 1.3)
    few = high / low > MANY_DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, tall)
    panels.bare(axes)
    axes.minorticks_off()
    axes.set_xlabel("seconds (logarithmic axis)", color=style.MUTED)


def _survival(stored: Stored) -> Table:
    """By step and variant, what was there afterwards in every iteration, what in none or only some."""
    found: dict[tuple[str, str], Counter[str]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for one in stored.observed(RESOURCE):
        for step, things in table(one.get("steps")).items():
            key = step, str(one.get("variant"))
            times[key] += 1
            for thing, survived in table(things).items():
                found.setdefault(key, Counter())[thing] += survived is True
    lines = (
        Line((*key, *_sorted_out(found[key], times[key]), str(times[key])), stored.emulated(key[1]))
        for key in sorted(found, key=lambda key: (key[0], stored.order(key[1])))
    )
    columns = ("after", "variant", "survives", "is lost", "times")
    return grouped("What survives each operation", columns, lines, numeric=["times"])


def _sorted_out(things: Counter[str], times: int) -> tuple[str, str]:
    there = [name for name, count in things.items() if count == times]
    gone = [name if not count else f"{name} ({count} of {times})" for name, count in things.items() if count < times]
    return ", ".join(there) or "–", ", ".join(gone) or "–"


def _times(stored: Stored) -> Table:
    """Every metric as it is, since many have no counterpart in the baseline."""
    lines = (
        Line((f"{workload} · {metric}", who.variant, said, str(len(own))), who.emulated)
        for (workload, metric), rows in _values(stored).groupby(["workload", "metric"], sort=False)
        for who in variants.subjects(rows, stored.baseline)
        for own in [who.of(rows)]
        for said in [number_format.estimated(stored.geometric(own), str(own["unit"].iloc[0]))]
    )
    columns = ("metric", "variant", f"value [{100 * stored.confidence:g} %]", "n")
    return grouped("Every operation", columns, lines, numeric=columns[2:])


def _ways(stored: Stored) -> Iterator[str]:
    """By workload, what did it in which variants."""
    ways: dict[str, dict[str, list[str]]] = {}
    for one in stored.observed(RESOURCE):
        words = "; ".join(map(str, table(one.get("how")).values()))
        if words:
            variants = ways.setdefault(str(one["workload"]), {}).setdefault(words, [])
            if (variant := str(one.get("variant"))) not in variants:
                variants.append(variant)
    for workload, found in sorted(ways.items()):
        said = "; ".join(f"{', '.join(sorted(variants))}: {words}" for words, variants in sorted(found.items()))
        yield f"{workload} uses: {said}."


def _lacking(stored: Stored) -> Iterator[str]:
    """What cannot be done where, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for one in stored.observed(RESOURCE):
        if one.get("what") == "unsupported":
            variants = reasons.setdefault((str(one["workload"]), str(one.get("reason"))), [])
            if (variant := str(one.get("variant"))) not in variants:
                variants.append(variant)
    for (workload, reason), variants in sorted(reasons.items()):
        yield f"{workload} cannot be measured on {', '.join(sorted(variants))}: {reason}."
