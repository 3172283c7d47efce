"""Applications: the percentiles of request latency, one line per variant."""

import re
from collections.abc import Iterator, Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from harness.report import number_format, style, variants
from harness.report.chapters.base import Chapter, Drawing
from harness.report.stored_run import Stored
from harness.report.variants import Subject

PERCENTILE = re.compile(r"(?P<what>.+)-p(?P<percent>[0-9]{1,2}(?:\.[0-9]+)?)")
DASHES = ("-", "--", ":", "-.")
ROW, ABOVE, BELOW = 2.5, 0.62, 0.55
"""Inches: a row of panels, the head, and what the lowest axis needs."""


class App(Chapter):
    """Latency percentiles of every application that has more than one."""

    def drawings(self, stored: Stored) -> Iterator[Drawing]:
        """One picture per workload."""
        known = percentiles(stored)
        for workload, own in known.groupby("workload", sort=False):
            counts = own.groupby("what")["percent"].nunique()
            rows = own[own["what"].isin(counts[counts > 1].index)]
            if len(rows):
                yield Drawing(topic=f"{workload}-latency", alt=_words(str(workload), rows), figure=_draw(rows, stored))


def percentiles(stored: Stored) -> pd.DataFrame:
    """The geometric mean of each percentile's block values, in seconds, by workload, request, percent and variant."""
    values = stored.of_resource("app")
    values, found = values[values["unit"] == "s"], []
    keys = ["workload", "metric", "variant", "runtime", "accelerator"]
    for (workload, metric, variant, runtime, accelerator), rows in values.groupby(keys, sort=False):
        named = PERCENTILE.fullmatch(str(metric))
        middle = stored.geometric(rows)
        if named and middle:
            what, percent = named["what"], float(named["percent"])
            found.append((workload, what, percent, variant, runtime, accelerator, middle.value, middle.n))
    columns = ["workload", "what", "percent", "variant", "runtime", "accelerator", "seconds", "n"]
    return pd.DataFrame(found, columns=columns)


def _draw(rows: pd.DataFrame, stored: Stored) -> Figure:
    """A row of panels for each kind of request: the variants, and emulated guests apart on an axis of their own."""
    kinds = list(dict.fromkeys(rows["what"]))
    sides = variants.parts(variants.subjects(rows, stored.baseline))
    figure = Figure(figsize=(style.WIDTH, ABOVE + len(kinds) * ROW))
    height = figure.get_figheight()
    note = "geometric mean of each percentile over the blocks; lower is better; logarithmic"
    style.head(figure, f"{rows['workload'].iloc[0]}: request latency", note)
    for line, kind in enumerate(kinds):
        for column, side in enumerate(sides):
            bottom = 1 - (ABOVE + (line + 1) * ROW - BELOW) / height
            axes = figure.add_axes((0.085 + 0.5 * column, bottom, 0.25, (ROW - BELOW - 0.3) / height))
            _panel(axes, rows[rows["what"] == kind], str(kind), side)
    return figure


def _panel(axes: Axes, rows: pd.DataFrame, kind: str, side: Sequence[Subject]) -> None:
    drawn = [(who, own.sort_values("percent")) for who in side if len(own := who.of(rows))]
    percents = sorted({percent for _, own in drawn for percent in own["percent"]})
    axes.set_xlim(-0.15, len(percents) - 0.85)
    axes.set_xticks(range(len(percents)), [f"p{percent:g}" for percent in percents])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=style.GRID, lw=0.6)
    axes.spines[["right", "top"]].set_visible(False)
    emulated = side[0].emulated
    title = f"{kind}: emulated, does not apply to KVM" if emulated else kind
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold", color=style.ink(emulated))
    for (who, own), dash in zip(drawn, cycle(DASHES)):
        tint = style.colour(who.runtime, who.accelerator)
        label = f"{style.short(who.variant, 20)} (n = {own['n'].min()})"
        places = [percents.index(percent) for percent in own["percent"]]
        axes.plot(places, own["seconds"], color=tint, ls=dash, marker="o", ms=4, lw=1.6, label=label)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), fontsize=7.5, frameon=False, handlelength=2.2)


def _words(workload: str, rows: pd.DataFrame) -> str:
    parts = []
    for (what, variant), own in rows.groupby(["what", "variant"], sort=False):
        pairs = zip(own["percent"].tolist(), own["seconds"].tolist(), strict=True)
        steps = ", ".join(f"p{percent:g} {number_format.humane(seconds, 's')}" for percent, seconds in pairs)
        named = variants.label(str(variant), bool(own["accelerator"].isin(variants.EMULATED).any()))
        parts.append(f"{what} on {named}: {steps}")
    return f"{workload}: {'; '.join(parts)}"
