"""Lifecycle: how long each operation takes, what a client notices, what survives what, and what cannot be done."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from harness.analysis.intervals import geometric
from harness.report import formatting, style
from harness.report.chapters.base import Chapter, Drawing
from harness.report.stored_run import Stored
from harness.report.table import Group, Section, Table

RESOURCE = "lifecycle"
LINE, HEAD, AXIS, TOP = 0.21, 0.24, 0.55, 0.3
"""Inches: a mark's line, the line above a metric's marks, an axis with its label, the words above the emulated."""
MANY_DECADES = 500.0
"""From that ratio of the ends on, an axis has ticks at powers of ten alone."""
Key = tuple[str, str]
"""A variant and its accelerator."""


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
    values = stored.values
    mine = values["workload"].str.startswith(f"{RESOURCE}.") & ~values["metric"].map(formatting.is_host_cost).astype(
        bool
    )
    return values[mine]


def _parts(stored: Stored, rows: pd.DataFrame) -> list[tuple[bool, list[Key]]]:
    """The variants in their order, those that are emulated apart."""
    seen = list(rows[["variant", "accelerator"]].drop_duplicates().itertuples(index=False, name=None))
    seen.sort(key=lambda key: formatting.order(key[0], key[1], stored.baseline))
    split = [(apart, [key for key in seen if formatting.emulated(key[1]) == apart]) for apart in (False, True)]
    return [(apart, keys) for apart, keys in split if keys]


def _figure(stored: Stored, workload: str, rows: pd.DataFrame) -> Figure:
    """A part for each axis: under each metric a line per variant."""
    metrics = sorted(rows["metric"].unique(), key=lambda name: "downtime" in name)
    parts = [(apart, _lines(rows, metrics, keys)) for apart, keys in _parts(stored, rows)]
    heights = [sum(LINE if key else HEAD for _, key in lines) for _, lines in parts]
    height = 0.65 + sum(heights) + sum(AXIS + (TOP if apart else 0.0) for apart, _ in parts)
    figure = Figure(figsize=(style.WIDTH, height))
    note = f"geometric means of blocks; whisker: {100 * stored.confidence:g} % interval; diamonds: a client outside"
    style.head(figure, f"{style.short(workload, 50)}: seconds of each operation, and of downtime", note)
    left = (0.3 + 0.075 * max(len(key[0]) for _, lines in parts for _, key in lines if key)) / style.WIDTH
    at = height - 0.65
    for (apart, lines), tall in zip(parts, heights, strict=True):
        if apart:
            where = (at - 0.14) / height
            figure.text(0.012, where, style.APART, color=style.EMULATED, fontweight="bold", va="center")
            at -= TOP
        at -= tall
        axes = figure.add_axes((left, at / height, 0.74 - left, tall / height))
        _marks(axes, rows, lines, tall, stored.confidence)
        at -= AXIS
    return figure


def _lines(rows: pd.DataFrame, metrics: list[str], keys: list[Key]) -> list[tuple[str, Key | None]]:
    """A metric's heading (without a variant), then the variants that have it."""
    known = set(rows[["metric", "variant", "accelerator"]].itertuples(index=False, name=None))
    lines: list[tuple[str, Key | None]] = []
    for metric in metrics:
        if having := [key for key in keys if (metric, *key) in known]:
            lines += [(metric, None), *((metric, key) for key in having)]
    return lines


def _marks(axes: Axes, rows: pd.DataFrame, lines: list[tuple[str, Key | None]], tall: float, confidence: float) -> None:
    text: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "center"}
    at = tall
    for metric, key in lines:
        at -= LINE if key else HEAD
        if key is None:
            axes.annotate(metric, (0, at + HEAD / 2 - 0.03), xytext=(4, 0), fontweight="bold", fontsize=8.5, **text)
            continue
        own = rows[(rows["metric"] == metric) & (rows["variant"] == key[0]) & (rows["accelerator"] == key[1])]
        found = geometric(own["value"].astype(float).tolist(), confidence)
        middle, where = (found.value if found else float("nan")), at + LINE / 2
        colour = style.colour(str(own["runtime"].iloc[0]), key[1])
        if found and found.low is not None and found.high is not None:
            axes.plot([found.low, found.high], [where, where], color=colour, lw=1.3, marker="|", ms=5)
        marker = "D" if "downtime" in metric else "o"
        axes.plot([middle], [where], color=colour, marker=marker, ms=5, mfc="none" if marker == "D" else colour)
        axes.annotate(key[0], (0, where), xytext=(-6, 0), ha="right", fontsize=8.5, **text)
        said = f"{formatting.estimated(found, 's')}  n={found.n if found else 0}"
        axes.annotate(said, (1, where), xytext=(8, 0), fontsize=7.5, **text)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low / 1.3, high * 1.3)
    few = high / low > MANY_DECADES
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if few else (1.0, 2.0, 5.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(0, tall)
    axes.set_yticks([])
    axes.grid(axis="x", color=style.GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    axes.set_xlabel("seconds (logarithmic axis)", color=style.MUTED)
    axes.spines[["left", "right", "top"]].set_visible(False)


def _survival(stored: Stored) -> Table:
    """By step and variant, what was there afterwards in every iteration, what in none or only some."""
    found: dict[tuple[str, str], Counter[str]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for one in stored.observed(RESOURCE):
        steps = one.get("steps")
        for step, things in steps.items() if isinstance(steps, dict) else ():
            key = str(step), str(one.get("variant"))
            times[key] += 1
            for thing, survived in things.items() if isinstance(things, dict) else ():
                found.setdefault(key, Counter())[str(thing)] += survived is True
    columns = ("after", "variant", "is there as it was", "is not", "times")
    groups = []
    for apart in (False, True):
        rows = [
            (step, variant, *_sorted_out(found[step, variant], times[step, variant]), str(times[step, variant]))
            for step, variant in sorted(found, key=lambda key: (key[0], _order(stored, key[1])))
            if _emulated(stored, variant) == apart
        ]
        title = "emulated (tcg)" if apart else ""
        groups.append(Group(title=title, sections=(Section(title="", rows=tuple(rows)),), emulated=apart))
    kept = tuple(group for group in groups if group.sections[0].rows)
    return Table(title="What survives what", columns=columns, numeric=frozenset({"times"}), groups=kept)


def _sorted_out(things: Counter[str], times: int) -> tuple[str, str]:
    there = [name for name, count in things.items() if count == times]
    gone = [name if not count else f"{name} ({count} of {times})" for name, count in things.items() if count < times]
    return ", ".join(there) or "–", ", ".join(gone) or "–"


def _times(stored: Stored) -> Table:
    """Every metric as it is, since many have no counterpart in the baseline."""
    values = _values(stored)
    groups = []
    for apart, keys in _parts(stored, values):
        rows = []
        for workload, metric in values[["workload", "metric"]].drop_duplicates().itertuples(index=False, name=None):
            for variant, accelerator in keys:
                own = values[
                    (values["workload"] == workload)
                    & (values["metric"] == metric)
                    & (values["variant"] == variant)
                    & (values["accelerator"] == accelerator)
                ]
                if not own.empty:
                    found = geometric(own["value"].astype(float).tolist(), stored.confidence)
                    said = formatting.estimated(found, str(own["unit"].iloc[0]))
                    rows.append((f"{workload} · {metric}", variant, said, str(len(own))))
        title = "emulated (tcg)" if apart else ""
        groups.append(Group(title=title, sections=(Section(title="", rows=tuple(rows)),), emulated=apart))
    columns = ("metric", "variant", f"value [{100 * stored.confidence:g} %]", "n")
    return Table(title="Every operation", columns=columns, numeric=frozenset(columns[2:]), groups=tuple(groups))


def _ways(stored: Stored) -> Iterator[str]:
    """By workload, what did it in which variants."""
    ways: dict[str, dict[str, list[str]]] = {}
    for one in stored.observed(RESOURCE):
        how = one.get("how")
        words = "; ".join(f"{word}" for word in how.values()) if isinstance(how, dict) else ""
        if words:
            variants = ways.setdefault(str(one["workload"]), {}).setdefault(words, [])
            if (variant := str(one.get("variant"))) not in variants:
                variants.append(variant)
    for workload, found in sorted(ways.items()):
        said = "; ".join(f"{', '.join(sorted(variants))}: {words}" for words, variants in sorted(found.items()))
        yield f"{workload} is done by: {said}."


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


def _accelerators(stored: Stored) -> Mapping[str, str]:
    rows = stored.samples[["variant", "accelerator"]].drop_duplicates()
    return dict(rows.itertuples(index=False, name=None))


def _emulated(stored: Stored, variant: str) -> bool:
    return formatting.emulated(_accelerators(stored).get(variant, ""))


def _order(stored: Stored, variant: str) -> tuple[int, str]:
    return formatting.order(variant, _accelerators(stored).get(variant, ""), stored.baseline)
