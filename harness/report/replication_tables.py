"""Published figures beside this run's: a table and a plot for each comparison that the run repeats."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.intervals import geometric
from harness.analysis.overhead import Overhead
from harness.definitions.replications import SHARE, Published, Replication, load_replications
from harness.definitions.workloads import load_workloads
from harness.model import Workload
from harness.paths import data
from harness.report import axis, formatting, style
from harness.report.stored_run import Stored
from harness.report.table import Group, Section, Table

LINE = 0.27
"""Inches per line of the plot."""
COLUMNS = ("variant", "published", "here", "published overhead", "overhead here", "n", "remarks")
GUEST = "no guest on hardware virtualization in this run; an emulated one stands for none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One published figure and what this run has beside it; `here` is its overhead against the row's `against`."""

    row: Published
    variant: str
    direction: str
    here: Overhead | None

    @property
    def published(self) -> float | None:
        """The published overhead, signed so that positive costs the user; None without a ratio."""
        ratio = self.row.ratio(self.variant)
        if ratio is None:
            return None
        return (1 / ratio if self.direction == "higher" else ratio) - 1


def shown(stored: Stored) -> list[Replication]:
    """The comparisons that the run repeats: its suite is of that name, or it planned every workload that one needs.

    Raises TareError (bad input) for a wrong file.
    """
    planned = set(stored.mapping("workloads"))
    return [
        one
        for one in load_replications(data("workloads"), _workloads())
        if one.name == stored.fact("suite") or {row.workload for row in one.repeated} <= planned
    ]


def table(stored: Stored, one: Replication) -> Table:
    """A row for each published figure, under what was compared."""
    level = f"{100 * stored.confidence:g} %"
    columns = (*COLUMNS[:2], f"here [{level}]", COLUMNS[3], f"overhead here [{level}]", *COLUMNS[5:])
    sections = tuple(
        Section(
            title=f"{row.what} · {row.workload}:{row.metric}",
            rows=tuple(_cells(stored, pair) for pair in _pairs(stored, row)),
        )
        for row in one.repeated
    )
    group = Group(title="", sections=sections)
    return Table(title=one.title, columns=columns, numeric=frozenset(columns[1:6]), groups=(group,))


def notes(one: Replication) -> list[str]:
    """Where the figures are from, in what the repetition differs, and what is not repeated and why."""
    found = [f"Published figures: {one.source}, {one.address}. They are of other machines: ratios compare, sizes less."]
    found += [f"{row.what}: {row.differs}." for row in one.repeated if row.differs]
    return found + [f"{row.what}: not repeated here: {row.why}." for row in one.rows if row.why]


def drawing(stored: Stored, one: Replication) -> Figure | None:
    """Published overheads as open diamonds beside this run's with their intervals; None without a pair of both."""
    pairs = [pair for row in one.repeated for pair in _pairs(stored, row)]
    drawn = [pair for pair in pairs if pair.here and pair.here.overhead is not None and pair.published is not None]
    if not drawn:
        return None
    above, below = 0.62, 0.62
    height = above + len(drawn) * LINE + below
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"overhead; right of 0 costs the user; ◇ published, ● here with its {100 * stored.confidence:g} % interval"
    style.head(figure, f"published beside here: {one.name}", note)
    axes = figure.add_axes((0.43, below / height, 0.37, len(drawn) * LINE / height))
    _draw(axes, drawn)
    return figure


def alt(stored: Stored, one: Replication) -> str:
    """The plot in words."""
    pairs = [pair for row in one.repeated for pair in _pairs(stored, row)]
    return "; ".join(
        f"{pair.row.what}, {pair.variant}: published {formatting.percent(pair.published)}, "
        f"here {formatting.difference(pair.here.overhead, pair.here)} {formatting.interval(pair.here)}"
        for pair in pairs
        if pair.here and pair.published is not None
    )


def _pairs(stored: Stored, row: Published) -> Iterator[Beside]:
    if not row.workload:
        return
    direction = next(one.direction for one in _workloads()[row.workload].metrics if one.name == row.metric)
    found = {
        one.variant: one
        for one in stored.against(row.against or stored.baseline, row.workload)
        if one.metric == row.metric and not formatting.emulated(one.accelerator)
    }
    for variant in row.published:
        yield Beside(row=row, variant=variant, direction=direction, here=found.get(variant))


@cache
def _workloads() -> Mapping[str, Workload]:
    return load_workloads(data("workloads"))


def _cells(stored: Stored, pair: Beside) -> tuple[str, ...]:
    row, here = pair.row, pair.here
    absolute = row.unit != SHARE
    values = stored.values
    own = values[
        (values["workload"] == row.workload)
        & (values["metric"] == row.metric)
        & (values["variant"] == pair.variant)
        & ~values["accelerator"].isin(formatting.EMULATED)
    ]
    size = geometric(own["value"].astype(float).tolist(), stored.confidence) if len(own) else None
    measured = here is not None and here.overhead is not None and bool(row.against)
    return (
        pair.variant,
        formatting.humane(row.published[pair.variant], row.unit) if absolute else f"{row.published[pair.variant]:g}",
        formatting.estimated(size, row.unit) if absolute else "–",
        formatting.percent(pair.published) if row.against else "–",
        f"{formatting.difference(here.overhead, here)} {formatting.interval(here)}" if here and measured else "–",
        str(size.n if size else 0),
        _remark(stored, pair, size is not None),
    )


def _remark(stored: Stored, pair: Beside, measured: bool) -> str:
    if measured:
        return "; ".join(flag for flag in pair.here.flags) if pair.here else ""
    guests = pair.variant.startswith(("libvirt/kvm", "qemu/microvm-kvm", "firecracker"))
    hardware = stored.samples["accelerator"].isin(formatting.HARDWARE_GUEST).any()
    return GUEST if guests and not hardware else "not in this run"


def _draw(axes: Axes, drawn: list[Beside]) -> None:
    rows = [pair.here for pair in drawn if pair.here]
    low, high = axis.span(rows)
    published = [math.log1p(pair.published or 0.0) for pair in drawn]
    room = 0.06 * (high - low)
    low, high = min(low, min(published) - room), max(high, max(published) + room)
    axes.set_xlim(low, high)
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    ticks: list[float] = []
    for tick in axis.ticks(low, high):
        # Half as wide as the axis that they are made for.
        if not ticks or tick == 0 or math.log1p(tick) - math.log1p(ticks[-1]) >= 0.16 * (high - low):
            ticks.append(tick)
    factors = math.expm1(high) > formatting.FACTOR_FROM
    axes.set_xticks([math.log1p(tick) for tick in ticks], [axis.label(tick, factors) for tick in ticks])
    axes.set_xlabel("overhead (log-ratio axis)", color=style.MUTED)
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_yticks([])
    axes.axvline(0, color=style.GRID, lw=1, zorder=0)
    for line, (pair, here, at) in enumerate(zip(drawn, rows, published, strict=True)):
        colour = style.colour(here.runtime, here.accelerator)
        if here.low is not None and here.high is not None:
            ends = [min(max(math.log1p(end), low), high) for end in (here.low, here.high)]
            axes.plot(ends, [line, line], color=colour, lw=1.8, solid_capstyle="butt")
        axes.plot([math.log1p(here.overhead or 0.0)], [line], marker="o", ms=6.5, color=colour)
        axes.plot([at], [line], marker="D", ms=6, mec=style.INK, mfc="none", mew=1.2, ls="none")
        label = f"{style.short(pair.row.what, 32)} · {style.short(pair.variant, 18)}"
        place: dict[str, Any] = {"va": "center", "fontsize": 8.5, "textcoords": "offset points"}
        place["xycoords"] = ("axes fraction", "data")
        axes.annotate(label, (0, line), xytext=(-6, 0), ha="right", **place)
        said = f"{formatting.percent(pair.published)} ◇  {formatting.difference(here.overhead, here)} ●"
        axes.annotate(said, (1, line), xytext=(8, 0), **place)
