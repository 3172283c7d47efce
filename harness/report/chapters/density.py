"""Density: ready latency, memory and CPU left over by the number of instances, and what ended each filling."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from harness.report import number_format, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import listed, number, table
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped
from harness.report.variants import OfSubject

GIB, MIB = 2**30, 2**20
COLUMNS = ("variant", "instances", "ended by", "memory each", "first batch to ready", "last batch", "removed in")
PANELS = ("seconds to ready", "memory taken, GiB", "the probe's speed, % of alone")
DASHES = ("solid", (0, (5, 2)), (0, (1, 1)), (0, (5, 1, 1, 1)))
"""For variants of one family, which have one colour."""
ROW, ABOVE, BELOW, LEGEND = 1.9, 0.65, 0.6, 0.6
"""Inches: a row of panels, the head above all, the axis below each row, its legend above it."""
MARKED = 40
"""Points of a line, beyond which they are not marked one by one."""
FEW = 100
"""Times between an axis's ends, up to which 2 and 5 have ticks of their own too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """So many instances ready, the seconds that the last batch's median took, bytes taken, the probe's rate."""

    count: int
    ready: float | None = None
    used: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve(OfSubject):
    """One filling of the host with a variant; `teardown` in seconds, None where it was cut short."""

    workload: str
    limit: str
    words: str
    teardown: float | None
    points: tuple[Point, ...] = field(default_factory=tuple)


class Density(Chapter):
    """The density workloads' part of a report."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """One picture for each workload."""
        for workload, own in _by_workload(stored):
            alt = "; ".join(f"{one.variant}: {one.points[-1].count} instances, ended by {one.limit}" for one in own)
            yield Drawing(topic=workload, alt=f"{workload}: {alt}", figure=_draw(workload, own))

    def tables(self, stored: Stored) -> Iterator[Table]:
        """What each variant came to, by workload."""
        for workload, own in _by_workload(stored):
            numeric = {*COLUMNS} - {"variant", "ended by"}
            title = f"{workload}: instances and what each costs"
            yield grouped(title, COLUMNS, _lines(stored, own), numeric=numeric)

    def notes(self, stored: Stored) -> Iterator[str]:
        """How it was counted, and the limits in words."""
        ended = {f"{one.variant} ({one.words})": None for one in curves(stored) if one.words}
        if not ended:
            return
        yield f"What ended each filling: {'; '.join(ended)}."
        yield (
            "The rule is the same for all: a batch is launched at once, and the next follows when all of it is ready. "
            "Instances are idle, have no network and share the shape's CPUs. Memory is the decrease of the host's "
            "available memory since the first launch; memory each is the slope of that curve. The probe is one more "
            "instance, which works."
        )


def curves(stored: Stored) -> list[Curve]:
    """Every filling that was recorded and reached one instance, in the report's order of variants."""
    known = {one.variant: one for one in stored.subjects.values() if one.accelerator}
    found = []
    for one in stored.observed("density"):
        limit = one.get("limit")
        points = tuple(point for item in listed(one.get("points")) if (point := _point(item)))
        variant = str(one.get("variant"))
        if one.get("what") != "density" or one.get("discarded") or not isinstance(limit, dict) or variant not in known:
            continue
        if points and points[-1].count:
            found.append(
                Curve(
                    workload=str(one.get("workload")),
                    subject=known[variant],
                    limit=str(limit.get("kind")),
                    words=str(limit.get("words")),
                    teardown=_number(one.get("teardown")),
                    points=points,
                )
            )
    return sorted(found, key=lambda one: stored.order(one.variant))


def _by_workload(stored: Stored) -> Iterator[tuple[str, list[Curve]]]:
    ordered = sorted(curves(stored), key=lambda one: one.workload)
    for workload, own in groupby(ordered, key=lambda one: one.workload):
        yield workload, list(own)


def _point(item: Any) -> Point | None:
    """A recorded point; None for what is none. A manifest is foreign input."""
    if not isinstance(item, list) or len(item) != 5 or type(item[0]) is not int or item[0] < 0:
        return None
    rates = (_number(value) for name, value in table(item[4]).items() if "per_second" in name)
    return Point(count=item[0], ready=_number(item[1]), used=_number(item[3]), rate=next(rates, None))


def _number(value: object) -> float | None:
    return number(value) or None


def _lines(stored: Stored, curves: Sequence[Curve]) -> Iterator[Line]:
    for variant, found in groupby(curves, key=lambda one: one.variant):
        own = list(found)
        last = [one.points[-1].ready for one in own]
        first = [next((point.ready for point in one.points if point.ready), None) for one in own]
        cells = (
            variant,
            _count(own),
            ", ".join(dict.fromkeys(one.limit for one in own)),
            _mib(stored, own[0]),
            *(number_format.humane(_middle(times), "s") for times in (first, last, [one.teardown for one in own])),
        )
        yield Line(cells, own[0].emulated)


def _count(own: Sequence[Curve]) -> str:
    """The count, over several fillings their median with the least and the most; at least so many where nothing of the
    host's ended it."""
    counts = [one.points[-1].count for one in own]
    text = f"{median(counts):,.0f}" + (f" ({min(counts):,}–{max(counts):,})" if min(counts) < max(counts) else "")
    return f"≥ {text}" if any(one.limit in ("most", "time", "interrupted") for one in own) else text


def _mib(stored: Stored, one: Curve) -> str:
    values = stored.values
    chosen = values[
        (values["workload"] == one.workload)
        & (values["variant"] == one.variant)
        & (values["metric"] == "memory-per-instance")
    ]["value"]
    return f"{number_format.digits(float(chosen.median()) / MIB)} MiB" if len(chosen) else "–"


def _middle(values: Sequence[float | None]) -> float | None:
    there = [one for one in values if one is not None]
    return median(there) if there else None


def _draw(workload: str, own: Sequence[Curve]) -> Figure:
    """A row of three panels for what the host's own processors ran, one for emulated guests."""
    rows = variants.parts(own)
    height = ABOVE + len(rows) * (LEGEND + ROW + BELOW)
    figure = Figure(figsize=(style.WIDTH, height))
    note = "by the number of ready instances; axes logarithmic, except the probe's speed"
    style.head(figure, f"{style.short(workload, 50)}: filling the host with instances", note)
    at = height - ABOVE + 0.1
    for part in rows:
        if part[0].emulated:
            figure.text(0.012, at / height, style.APART, color=style.EMULATED, fontweight="bold", va="center")
        at -= LEGEND + ROW
        looks = _looks(part)
        panels = [
            figure.add_axes(((0.55 + column * 2.75) / style.WIDTH, at / height, 2.15 / style.WIDTH, ROW / height))
            for column in range(len(PANELS))
        ]
        for column, axes in enumerate(panels):
            _panel(axes, column, part, looks)
        handles, labels = panels[0].get_legend_handles_labels()
        unique = dict(zip(labels, handles, strict=True))
        figure.legend(
            unique.values(),
            unique.keys(),
            loc="center left",
            bbox_to_anchor=(0.0, (at + ROW + 0.37) / height),
            ncols=4,
            frameon=False,
        )
        at -= BELOW
    return figure


def _looks(part: Sequence[Curve]) -> Mapping[str, dict[str, Any]]:
    """By variant, its family's colour, and a dash of its own within the family."""
    looks: dict[str, dict[str, Any]] = {}
    for one in part:
        colour = style.colour(one.subject.runtime, one.subject.accelerator)
        if one.variant not in looks:
            same = sum(look["color"] == colour for look in looks.values())
            looks[one.variant] = {"color": colour, "ls": DASHES[same % len(DASHES)]}
    return looks


def _panel(axes: Axes, number: int, part: Sequence[Curve], looks: Mapping[str, dict[str, Any]]) -> None:
    for one in part:
        pairs = [(count, value) for count, value in _pairs(one, number) if value is not None]
        counts, values = [count for count, _ in pairs], [value for _, value in pairs]
        label = style.short(one.variant, 28)
        mark = "o" if len(counts) <= MARKED else ""
        axes.plot(counts, values, label=label, lw=1.3, marker=mark, ms=2.5, alpha=0.85, **looks[one.variant])
    axes.set_xscale("log")
    if number < 2:
        axes.set_yscale("log")
        _ticks(axes.yaxis, axes.get_ylim())
    else:
        axes.set_ylim(0, None)
    _ticks(axes.xaxis, axes.get_xlim())
    axes.set_title(PANELS[number], fontsize=9, color=style.INK, loc="left")
    axes.set_xlabel("instances", color=style.MUTED)
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.grid(color=style.GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.spines[["right", "top"]].set_visible(False)


def _ticks(axis: Axis, ends: tuple[float, float]) -> None:
    """A logarithmic axis's ticks in plain numbers, the more of them the shorter it is."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if ends[1] < FEW * ends[0] else (1,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _pairs(one: Curve, number: int) -> Iterator[tuple[int, float | None]]:
    """Counts from one up with a panel's value; of the probe, per cent of what it did before there were others."""
    alone = next((point.rate for point in one.points if point.count == 0), None)
    for point in one.points:
        if point.count:
            relative = 100 * point.rate / alone if point.rate and alone else None
            yield point.count, (point.ready, point.used / GIB if point.used else None, relative)[number]
