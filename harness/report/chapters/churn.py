"""Short-lived jobs: how many a minute, and how long each takes, by variant."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from harness.analysis.intervals import Estimate
from harness.report import number_format, panels, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import listed, number, numbers
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped
from harness.report.variants import Subject

RATE = "rate"
LINE = 0.36
COLUMNS = ("workload", "variant", "median", "95th percentile", "longest", "jobs")
Rate = tuple[Subject, Estimate]
"""A variant with its jobs per minute."""


class Churn(Chapter):
    """The chapter of the resource `churn`."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """Jobs per minute of each variant, a panel for each workload; emulated guests in panels of their own."""
        if found := list(_rates(stored)):
            words = "; ".join(
                f"{workload}, {variants.label(who.variant, who.emulated)}: "
                f"{number_format.estimated(one, 'job/min')} n = {one.n}"
                for workload, part in found
                for who, one in part
            )
            yield Drawing(topic="rate", alt=words, figure=_figure(stored, found))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Percentiles of a job's time over the jobs of all blocks."""
        yield grouped("A job's time", COLUMNS, _latencies(stored), numeric=COLUMNS[2:], once=True)

    def notes(self, stored: Stored) -> Iterator[str]:
        """What a job is, and what else is in the figures."""
        if not any(_rates(stored)):
            return
        yield (
            "A job starts with the request, gets an instance of its own with the run's shape, runs a static program "
            "that prints one line, and ends when its instance is removed. Percentiles are over the jobs of all blocks. "
            "They are descriptive and have no interval."
        )
        there: dict[tuple[str, str], list[float]] = {}
        for one in stored.observed("churn"):
            key = str(one.get("workload")), str(one.get("variant"))
            shares = [sum(_seconds(one)) / elapsed for elapsed in numbers(one, "elapsed") if elapsed > 0]
            there.setdefault(key, []).extend(shares)
        known = [f"{' on '.join(key)} {np.median(shares):.2f}" for key, shares in sorted(there.items()) if shares]
        if known:
            yield (
                "The rate is concurrent jobs ÷ mean time of a job, without the harness's own time between two jobs. "
                f"Concurrent jobs, on average: {'; '.join(known)}."
            )


def _rates(stored: Stored) -> Iterator[tuple[str, list[Rate]]]:
    """By workload the variants in their order with their rates, those of emulated guests behind all others."""
    values = stored.of_resource("churn")
    values = values[values["metric"] == RATE]
    for part in variants.parts(variants.subjects(values, stored.baseline)):
        for workload, rows in values.groupby("workload", sort=False):
            found = [(who, one) for who in part if (one := stored.geometric(who.of(rows))) is not None]
            if found:
                yield str(workload), found


def _figure(stored: Stored, found: Sequence[tuple[str, list[Rate]]]) -> Figure:
    note = f"further right is better; {100 * stored.confidence:g} % intervals over n blocks; logarithmic axes"
    left = panels.margin(who.variant for _, part in found for who, _ in part)
    drawn = [_place(workload, part) for workload, part in found]
    title = "churn: short-lived jobs per minute"
    figure, places = panels.stack(title, note, drawn, head=0.62, left=left, right=0.60, foot=0.1)
    ends: dict[bool, list[float]] = {}
    for _, part in found:
        for who, one in part:
            known = [end for end in (one.low, one.high, one.value) if end is not None and end > 0]
            ends.setdefault(who.emulated, []).extend(known)
    for (_, part), axes in zip(found, places, strict=True):
        _draw(axes, part, ends[part[0][0].emulated])
    return figure


def _place(workload: str, part: Sequence[Rate]) -> panels.Panel:
    emulated = part[0][0].emulated
    title = f"{style.short(workload, 40)}{': ' + style.APART if emulated else ''}"
    return panels.Panel(height=len(part) * LINE, above=0.2, below=0.42, title=title, title_at=0.08, emulated=emulated)


def _draw(axes: Axes, part: Sequence[Rate], ends: Sequence[float]) -> None:
    for line, (who, one) in enumerate(part):
        colour = style.colour(who.runtime, who.accelerator)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [line, line], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot([one.value], [line], marker="D" if who.emulated else "o", ms=7, color=colour)
        panels.name(axes, who.variant, line, emulated=who.emulated)
        panels.beside(axes, number_format.with_n(one, "job/min"), line, fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(min(ends) / 1.3, max(ends) * 1.3)
    axes.set_ylim(len(part) - 0.5, -0.5)
    panels.bare(axes)
    # A span of less than a decade has ticks too
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_locator(NullLocator())


def _latencies(stored: Stored) -> Iterator[Line]:
    pooled: dict[tuple[str, str], list[float]] = {}
    for one in stored.observed("churn"):
        if seconds := _seconds(one):
            pooled.setdefault((str(one.get("workload")), str(one.get("variant"))), []).extend(seconds)
    for workload, variant in sorted(pooled, key=lambda key: (key[0], stored.order(key[1]))):
        taken = pooled[workload, variant]
        cells = [float(np.median(taken)), float(np.quantile(taken, 0.95, method="inverted_cdf")), max(taken)]
        said = [number_format.humane(value, "s") for value in cells]
        yield Line((workload, variant, *said, str(len(taken))), stored.emulated(variant))


def _seconds(one: dict[str, Any]) -> list[float]:
    """The recorded times of jobs. A manifest is foreign input."""
    found = (number(value) or 0.0 for value in listed(one.get("seconds")))
    return [seconds for seconds in found if 0 < seconds < 1e9]
