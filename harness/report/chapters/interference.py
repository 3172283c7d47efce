"""Interference: the slowdown of each victim beside each aggressor, as heat maps and a table."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from harness.analysis.intervals import Estimate
from harness.model import aggressor_of
from harness.report import style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.foreign_input import listed, number
from harness.report.stored_run import Stored
from harness.report.table import Line, Table, grouped

RESOURCE = "interference"
CELL = 0.52
"""Inches of height."""
HOTTEST = 4.0
"""A slowdown of this and more has the strongest colour; 1 has none."""
PALEST, STRONGEST = "#eef3f8", "#cf5c26"
DARK_INK = "#1b1f23"
"""On the cells' own colours, which are the same on light and on dark pages."""
PLACEMENTS = {
    "shared": "on the same CPUs as the victim",
    "apart": "on CPUs of its own",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One victim beside one aggressor: the slowdown over the blocks; `emulated` where either of them is."""

    workload: str
    victim: str
    aggressor: str
    slowdown: Estimate
    emulated: bool


class Interference(Chapter):
    """Heat maps, a table and notes."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """One map for each workload."""
        for workload, found in _by_workload(pairs(stored)).items():
            words = "; ".join(f"{one.victim} beside {one.aggressor}: {slowdown_text(one)}" for one in found)
            figure = heat_map(workload, found, stored.confidence)
            yield Drawing(topic=workload, alt=f"{workload}, slowdown: {words}", figure=figure)

    def tables(self, stored: Stored) -> Iterator[Table]:
        """Slowdowns with their intervals; pairs with an emulated guest are groups of their own."""
        columns = ("victim", "aggressor", f"slowdown [{100 * stored.confidence:g} %]", "n")
        lines = (
            Line((one.victim, one.aggressor, slowdown_text(one), str(one.slowdown.n)), one.emulated, one.workload)
            for one in pairs(stored)
        )
        apart = "with an emulated guest (tcg)"
        yield grouped("Slowdown beside an aggressor", columns, lines, numeric=columns[2:], apart=apart)

    def notes(self, stored: Stored) -> Iterator[str]:
        """Where aggressors ran, that they were at work, and what a slowdown is."""
        seen = [one for one in stored.observed(RESOURCE) if one.get("what") == "aggressor"]
        if not seen:
            return
        yield (
            "A slowdown is the victim's figure beside an aggressor relative to its figure alone, right before or "
            "after, in the same instance; 1 is none. In every window that counts the aggressor was at work: its "
            "command ran until it was ended, and the host counted its CPU time."
        )
        for workload in dict.fromkeys(str(one.get("workload")) for one in seen):
            own = [one for one in seen if one.get("workload") == workload]
            places = {PLACEMENTS.get(str(one.get("placement")), "?") for one in own}
            cpus = ", ".join(sorted({str(one.get("cpus")) for one in own}))
            yield f"{workload}: the aggressor ran {' or '.join(sorted(places))} (CPU {cpus}). {_shares(own)}"


def pairs(stored: Stored) -> list[Pair]:
    """Every victim and aggressor with a figure, in the run's order of workloads, emulated ones last."""
    rows = stored.of_resource(RESOURCE)
    found = []
    for (workload, metric, victim), own in rows.groupby(["workload", "metric", "variant"], sort=False):
        other = aggressor_of(str(stored.metric(str(workload), str(metric)).get("source", "")))
        result = stored.geometric(own)
        if other and result:
            emulated = any(stored.emulated(one) or "/tcg" in one for one in (str(victim), other))
            pair = Pair(workload=str(workload), victim=str(victim), aggressor=other, slowdown=result, emulated=emulated)
            found.append(pair)
    workloads = list(dict.fromkeys(one.workload for one in found))
    return sorted(
        found, key=lambda one: (workloads.index(one.workload), _rank(one.victim, stored), _rank(one.aggressor, stored))
    )


def heat_map(workload: str, found: list[Pair], confidence: float) -> Figure:
    """Victims as rows, aggressors as columns; a pair with an emulated guest is hatched and not on the scale."""
    victims, others = (
        list(dict.fromkeys(names)) for names in zip(*((p.victim, p.aggressor) for p in found), strict=True)
    )
    height = 0.95 + CELL * len(victims) + 0.15
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"slowdown beside an aggressor [{100 * confidence:g} %]; 1 is none, hatched: with an emulated guest (tcg)"
    style.head(figure, workload, note)
    left = (0.45 + 0.078 * max(len(style.short(name, 24)) for name in victims)) / style.WIDTH
    axes = figure.add_axes((left, 0.15 / height, 0.97 - left, CELL * len(victims) / height))
    for one in found:
        _cell(axes, one, others.index(one.aggressor), victims.index(one.victim))
    axes.set_xlim(0, len(others))
    axes.set_ylim(len(victims), 0)
    axes.xaxis.tick_top()
    axes.set_xticks([n + 0.5 for n in range(len(others))], [f"beside {style.short(name, 24)}" for name in others])
    axes.set_yticks([n + 0.5 for n in range(len(victims))], [style.short(name, 24) for name in victims])
    axes.tick_params(length=0, labelsize=8.5, labelcolor=style.INK)
    axes.spines[:].set_visible(False)
    return figure


def slowdown_text(one: Pair) -> str:
    """The figure and its interval, as factors."""
    low, high = one.slowdown.low, one.slowdown.high
    ends = "no interval" if low is None or high is None else f"{_factor(low)}, {_factor(high)}"
    return f"{_factor(one.slowdown.value)}× [{ends}]"


def _cell(axes: Axes, one: Pair, column: int, row: int) -> None:
    scale = LinearSegmentedColormap.from_list("slowdown", [PALEST, STRONGEST])
    share = min(max(math.log(one.slowdown.value) / math.log(HOTTEST), 0.0), 1.0)
    face = "none" if one.emulated else scale(share)
    edge = style.EMULATED if one.emulated else "none"
    box = Rectangle(
        (column + 0.02, row + 0.04), 0.96, 0.92, facecolor=face, edgecolor=edge, hatch="///" if one.emulated else None,
        lw=0,
    )  # fmt: skip
    axes.add_patch(box)
    ink = style.INK if one.emulated else DARK_INK
    figure, _, ends = slowdown_text(one).partition(" ")
    back = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.5} if one.emulated else None
    text = f"{figure}\n{ends} n = {one.slowdown.n}"
    axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=8.5, color=ink, bbox=back)


def _shares(seen: list[dict[str, object]]) -> str:
    """The CPU time that each aggressor used, as a share of one CPU."""
    found: dict[str, list[float]] = {}
    for one in seen:
        shares = (number(share) for share in listed(one.get("shares")))
        found.setdefault(str(one.get("aggressor")), []).extend(share for share in shares if share is not None)
    words = [f"{name} {100 * median(shares):.0f} %" for name, shares in found.items() if shares]
    return f"CPU time of the aggressor, as a share of one CPU (median): {', '.join(words)}." if words else ""


def _by_workload(found: list[Pair]) -> dict[str, list[Pair]]:
    return {name: [one for one in found if one.workload == name] for name in dict.fromkeys(p.workload for p in found)}


def _rank(variant: str, stored: Stored) -> tuple[int, str]:
    return variants.order(variant, "tcg" if "/tcg" in variant else "", stored.baseline)


def _factor(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
