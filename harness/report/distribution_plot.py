"""Distributions: every block value and iteration as its deviation from the variant's own median, as strip plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.report import number_format, panels, style, variants

LINE = 0.27
POINTS = ["workload", "metric", "variant", "accelerator"]


def spread(title: str, values: pd.DataFrame, iterations: pd.DataFrame, baseline: str) -> Figure | None:
    """One panel per workload and metric. Both frames are of the same metrics; None where there is no value.

    Deviations and not values, so that variants twenty times apart show their noise on one axis.
    """
    groups = [(key, rows) for key, rows in values.groupby(["workload", "metric"], sort=False) if len(rows)]
    if not groups:
        return None
    note = "deviation from the variant's own median; filled: block values, darker is later; grey: iterations"
    left = panels.margin(map(str, values["variant"].unique()), each=0.078)
    figure, places = panels.stack(
        title, note, [_place(rows) for _, rows in groups], head=0.68, left=left, right=0.78, foot=0.2
    )
    points = {key: own.tolist() for key, own in iterations.groupby(POINTS, sort=False)["value"]}
    for (_, rows), axes in zip(groups, places, strict=True):
        _panel(axes, rows, points, baseline)
    return figure


def _place(rows: pd.DataFrame) -> panels.Panel:
    lines = len(rows[["variant", "accelerator"]].drop_duplicates())
    title = style.short(" · ".join(rows[["workload", "metric"]].iloc[0]), 80)
    return panels.Panel(height=lines * LINE, above=0.3, below=0.36, title=title, title_at=0.15, size=8.5)


def _panel(axes: Axes, rows: pd.DataFrame, points: Mapping[Any, list[float]], baseline: str) -> None:
    """One workload's metric; `points` are the iterations' values by POINTS."""
    seen = variants.subjects(rows, baseline)
    panel = (rows["workload"].iloc[0], rows["metric"].iloc[0])
    reach = 2.0
    for line, who in enumerate(seen):
        own = who.of(rows).sort_values("block")
        middle = float(own["value"].median())
        dots = _deviation(own["value"].tolist(), middle)
        small = _deviation(points.get((*panel, who.variant, who.accelerator), []), middle)
        axes.plot(small, _jitter(line, len(small)), ls="", marker="o", ms=2.2, color=style.MUTED, alpha=0.45, mew=0)
        marker, colour = "D" if who.emulated else "o", style.colour(who.runtime, who.accelerator)
        for number, dot in enumerate(dots):
            strength = 0.35 + 0.65 * (number + 1) / len(dots)
            axes.plot([dot], [line], ls="", marker=marker, ms=6, color=colour, alpha=strength, mew=0)
        reach = max([reach, *(abs(dot) for dot in [*dots, *small])])
        panels.name(axes, who.variant, line, emulated=who.emulated, fontsize=8.5)
        said = f"{number_format.humane(middle, str(own['unit'].iloc[0]))}  n = {len(own)}"
        panels.beside(axes, said, line, 10, fontsize=8.5)
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_ylim(len(seen) - 0.4, -0.6)
    axes.axvline(0, color=style.MUTED, lw=0.8, zorder=0)
    axes.xaxis.set_major_formatter(lambda value, _: number_format.minus(f"{value:+g} %") if value else "0")
    axes.tick_params(labelsize=8)
    panels.bare(axes, grid=0.6)


def _deviation(values: Sequence[float], middle: float) -> list[float]:
    """Percent from `middle`; zero where `middle` is zero."""
    return [100 * (float(value) / middle - 1) if middle else 0.0 for value in values]


def _jitter(line: int, count: int) -> Sequence[float]:
    """Fixed small offsets, so that a picture is the same every time."""
    return list(line + np.resize(np.array([-0.16, 0.12, -0.06, 0.18]), count)) if count else []
