"""Published figures beside this run's: a table and a plot for each comparison that the run repeats."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.analysis.overhead import Overhead
from harness.definitions.replications import SHARE, Published, Replication, load_replications
from harness.definitions.workloads import load_workloads
from harness.model import Workload
from harness.paths import data
from harness.report import number_format, overhead_axis, panels, style, variants
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped

LINE = 0.27
"""Inches per line of the plot."""
GUEST = "no guest ran on hardware virtualization in this run; emulated guests do not count"


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
    measured = (f"measured [{level}]", "published overhead", f"measured overhead [{level}]")
    columns = ("variant", "published", *measured, "n", "remarks")
    lines = (
        Line(_cells(stored, pair), section=f"{row.what} · {row.workload}:{row.metric}")
        for row in one.repeated
        for pair in _pairs(stored, row)
    )
    return grouped(one.title, columns, lines, numeric=columns[1:6])


def notes(one: Replication) -> list[str]:
    """Where the figures are from, in what the repetition differs, and what is not repeated and why."""
    found = [
        f"Published figures: {one.source}, {one.address}. They come from other machines: compare "
        "ratios rather than absolute values."
    ]
    found += [f"{row.what}: {row.differs}." for row in one.repeated if row.differs]
    return found + [f"{row.what}: not repeated: {row.why}." for row in one.rows if row.why]


def drawing(stored: Stored, one: Replication) -> Figure | None:
    """Published overheads as open diamonds beside this run's with their intervals; None without a pair of both."""
    drawn = [pair for pair in _both(stored, one) if pair.here and pair.here.overhead is not None]
    if not drawn:
        return None
    level = f"{100 * stored.confidence:g} %"
    note = f"overhead; right of 0 costs more; ◇ published, ● measured with its {level} interval"
    panel = panels.Panel(height=len(drawn) * LINE, below=0.62)
    title = f"published and measured: {one.name}"
    figure, (axes,) = panels.stack(title, note, [panel], head=0.62, left=0.43, right=0.80)
    _draw(axes, drawn)
    return figure


def alt(stored: Stored, one: Replication) -> str:
    """The plot in words."""
    return "; ".join(
        f"{pair.row.what}, {pair.variant}: published {number_format.percent(pair.published)}, "
        f"measured {number_format.overhead(pair.here)}"
        for pair in _both(stored, one)
        if pair.here
    )


def _both(stored: Stored, one: Replication) -> list[Beside]:
    """The pairs with a published overhead and one of this run."""
    pairs = [pair for row in one.repeated for pair in _pairs(stored, row)]
    return [pair for pair in pairs if pair.here and pair.published is not None]


def _pairs(stored: Stored, row: Published) -> Iterator[Beside]:
    if not row.workload:
        return
    direction = next(one.direction for one in _workloads()[row.workload].metrics if one.name == row.metric)
    found = {
        one.variant: one
        for one in stored.against(row.against or stored.baseline, row.workload)
        if one.metric == row.metric and not one.emulated
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
        & ~values["accelerator"].isin(variants.EMULATED)
    ]
    size = stored.geometric(own)
    measured = here is not None and here.overhead is not None and bool(row.against)
    return (
        pair.variant,
        number_format.humane(row.published[pair.variant], row.unit) if absolute else f"{row.published[pair.variant]:g}",
        number_format.estimated(size, row.unit) if absolute else "–",
        number_format.percent(pair.published) if row.against else "–",
        number_format.overhead(here) if here and measured else "–",
        str(size.n if size else 0),
        _remark(stored, pair, size is not None),
    )


def _remark(stored: Stored, pair: Beside, measured: bool) -> str:
    if measured:
        return "; ".join(flag for flag in pair.here.flags) if pair.here else ""
    guests = pair.variant.startswith(("libvirt/kvm", "qemu/microvm-kvm", "firecracker"))
    hardware = stored.samples["accelerator"].isin(variants.HARDWARE_GUEST).any()
    return GUEST if guests and not hardware else "not in this run"


def _draw(axes: Axes, drawn: list[Beside]) -> None:
    rows = [pair.here for pair in drawn if pair.here]
    low, high = overhead_axis.span(rows)
    published = [math.log1p(pair.published or 0.0) for pair in drawn]
    room = 0.06 * (high - low)
    low, high = min(low, min(published) - room), max(high, max(published) + room)
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    overhead_axis.draw(axes, low, high, apart=0.16)
    axes.axvline(0, color=style.GRID, lw=1, zorder=0)
    for line, (pair, here, at) in enumerate(zip(drawn, rows, published, strict=True)):
        colour = style.colour(here.runtime, here.accelerator)
        if here.low is not None and here.high is not None:
            ends = [min(max(math.log1p(end), low), high) for end in (here.low, here.high)]
            axes.plot(ends, [line, line], color=colour, lw=1.8, solid_capstyle="butt")
        axes.plot([math.log1p(here.overhead or 0.0)], [line], marker="o", ms=6.5, color=colour)
        axes.plot([at], [line], marker="D", ms=6, mec=style.INK, mfc="none", mew=1.2, ls="none")
        label = f"{style.short(pair.row.what, 32)} · {style.short(pair.variant, 18)}"
        axes.annotate(label, (0, line), xytext=(-6, 0), ha="right", fontsize=8.5, **panels.ACROSS)
        said = f"{number_format.percent(pair.published)} ◇  {number_format.difference(here.overhead, here)} ●"
        panels.beside(axes, said, line, fontsize=8.5)
